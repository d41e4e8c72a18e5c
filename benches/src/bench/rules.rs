//! The director that is measured: services, their real servers, two ports, no network.

use core::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::secret::Secrets;
use dataplane::snapshot::dest::Method;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::wire::ether::Mac;
use dataplane::worker::Worker;
use dataplane::worker::flows::Flows;
use dataplane::worker::report;
use dataplane::worker::report::ReportReader;
use sched::Kind;

use crate::bench::args::FloodKind;
use crate::bench::control::Control;
use crate::bench::control::SPARE;
use crate::bench::error::BenchError;
use crate::bench::frame::Record;
use crate::bench::io::BenchIo;

/// The director's MACs, by port.
pub(super) const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
/// When director time starts; any moment does.
pub(super) const START: Ticks = Ticks::from_secs(1000);

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The first service's port; the others' are above it.
const SERVICE_PORT: u16 = 80;
/// Ports of one VIP that are services.
const SERVICES_OF_A_VIP: u32 = 100;
/// Client ports used of each client address.
const CLIENT_PORTS: u32 = 50_000;

/// A director with its control side, which must outlive it.
pub(super) struct Director {
    pub(super) worker: Worker<BenchIo>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) control: Control,
    _reports: ReportReader,
}

/// What a director is to hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) method: Method,
    pub(super) kind: Kind,
    pub(super) services: u32,
    /// Of each service.
    pub(super) destinations: u32,
    /// Slots of the connection table.
    pub(super) capacity: u32,
    /// The flood that it is to stand.
    pub(super) flood: Option<FloodKind>,
}

impl Director {
    /// A director over `io`.
    pub(super) fn new(io: BenchIo, size: &Size) -> Result<Self, BenchError> {
        let (control, reader, token) = Control::new(size)?;
        let stats = Arc::new(WorkerStats::new((size.servers() + SPARE) as usize));
        let (reporter, reports) = report::channel();
        let flows = Flows::new(size.capacity, Secrets::repeatable(0x5eed), stats.clone(), token, START);
        let worker = Worker::new(io, reader, flows).with_reporter(reporter);
        Ok(Self { worker, stats, control, _reports: reports })
    }

    /// Memory of the table and its timers, for each connection that it has room for.
    pub(super) fn bytes_per_connection(&self) -> f64 {
        let flows = self.worker.flows();
        flows.memory_bytes() as f64 / f64::from(flows.capacity().max(1))
    }
}

impl Size {
    /// Real servers of all services together.
    pub(super) const fn servers(&self) -> u32 {
        self.services * self.destinations
    }
}

/// The packets of client connection `n`, when there are so many services.
pub(super) fn client(n: u32, services: u32) -> Record {
    let addr = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(100, 64, 0, 1)) + n / CLIENT_PORTS);
    packet((addr, 1024 + (n % CLIENT_PORTS) as u16), n % services)
}

/// Packets from anywhere to service `nth`.
pub(super) fn packet(from: (Ipv4Addr, u16), nth: u32) -> Record {
    Record::new(from, service(nth))
}

/// Where service `nth` is.
pub(super) fn service(nth: u32) -> (Ipv4Addr, u16) {
    let addr = Ipv4Addr::from_bits(u32::from(VIP) + nth / SERVICES_OF_A_VIP);
    (addr, SERVICE_PORT + (nth % SERVICES_OF_A_VIP) as u16)
}
