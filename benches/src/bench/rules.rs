//! The director that is measured: services, their real servers, two ports, no network.

use core::net::Ipv4Addr;

use dataplane::mem;
use dataplane::mem::MemDirector;
use dataplane::snapshot::dest::Method;
use dataplane::wire::ether::Mac;
use sched::Kind;

use crate::bench::args::FloodKind;
use crate::bench::control::Control;
use crate::bench::control::SPARE;
use crate::bench::error::BenchError;
use crate::bench::frame::Record;
use crate::bench::io::BenchIo;

/// The director's MACs, by port.
pub(super) const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The first service's port; the others' are above it.
const SERVICE_PORT: u16 = 80;
/// Ports of one VIP that are services.
const SERVICES_OF_A_VIP: u32 = 100;
/// Client ports used of each client address.
const CLIENT_PORTS: u32 = 50_000;

/// The director: its rules, and its one worker over packet buffers of DPDK.
pub(super) type Director = MemDirector<Control, BenchIo>;

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

/// A director over `io`.
pub(super) fn director(io: BenchIo, size: &Size) -> Result<Director, BenchError> {
    let (control, ends) = Control::new(size)?;
    let (connections, destinations) = (size.capacity, size.servers() + SPARE);
    let size = mem::Size { connections, destinations, seed: 0x5eed };
    Ok(MemDirector::over(control, ends, size, [io]).with_listings())
}

/// Memory of the table and its timers, for each connection that it has room for.
pub(super) fn bytes_per_connection(director: &mut Director) -> f64 {
    let flows = director.worker().flows();
    flows.memory_bytes() as f64 / f64::from(flows.capacity().max(1))
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
