//! The director that is measured: services, their real servers, two ports, no network.

use core::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::epoch::Publisher;
use dataplane::epoch::Workers;
use dataplane::io::PortId;
use dataplane::local::PORTS as LOCAL_PORTS;
use dataplane::snapshot::Snapshot;
use dataplane::snapshot::dest::DestInfo;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::master::Master;
use dataplane::snapshot::master::ServiceSpec;
use dataplane::snapshot::route::Adjacency;
use dataplane::snapshot::route::PortFacts;
use dataplane::snapshot::route::Reach;
use dataplane::snapshot::route::RouteTarget;
use dataplane::snapshot::route::Routes;
use dataplane::snapshot::service::ServiceId;
use dataplane::snapshot::service::ServiceKey;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::wire::ether;
use dataplane::wire::ether::Mac;
use dataplane::wire::l4;
use dataplane::worker::Worker;
use dataplane::worker::flows::Flows;
use dataplane::worker::report;
use dataplane::worker::report::ReportReader;
use sched::Dest;
use sched::DestId;
use sched::Kind;
use sched::MhSize;

use crate::bench::error::BenchError;
use crate::bench::frame::Record;
use crate::bench::io::BenchIo;
use crate::bench::io::LAN;
use crate::bench::io::WAN;

/// The director's MACs, by port.
pub(super) const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
/// When director time starts; any moment does.
pub(super) const START: Ticks = Ticks::from_secs(1000);

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The first service's port; the others' are above it.
const SERVICE_PORT: u16 = 80;
/// Ports of one VIP that are services.
const SERVICES_OF_A_VIP: u32 = 100;
const SERVER_PORT: u16 = 8080;
/// Holds a full frame with an outer header in front.
const MTU: u16 = 1600;
/// Client ports used of each client address.
const CLIENT_PORTS: u32 = 50_000;
/// Adjacency of the clients' gateway; real server n has n + 1.
const GATEWAY: u32 = 0;

/// A director with its control side, which must outlive it.
pub(super) struct Director {
    pub(super) worker: Worker<BenchIo>,
    pub(super) stats: Arc<WorkerStats>,
    _publisher: Publisher<Snapshot>,
    _reports: ReportReader,
}

/// What a director is to hold.
pub(super) struct Size {
    pub(super) method: Method,
    pub(super) kind: Kind,
    pub(super) services: u32,
    /// Of each service.
    pub(super) destinations: u32,
    /// Slots of the connection table.
    pub(super) capacity: u32,
}

impl Director {
    /// A director over `io`.
    pub(super) fn new(io: BenchIo, size: &Size) -> Result<Self, BenchError> {
        let (workers, tokens) = Workers::new(1);
        let mut master = Master::new(workers, MhSize::default());
        let servers = size.services * size.destinations;
        set_paths(&mut master, servers);
        let locals = set_locals(&mut master, size);
        for nth in 0..size.services {
            let (addr, port) = service(nth);
            let spec = ServiceSpec {
                id: ServiceId::new(nth),
                key: ServiceKey::Address { protocol: l4::TCP, addr, port },
                kind: size.kind,
                flags: sched::Flags::from_bits(0),
                persistence: None,
                one_packet: false,
                locals: locals.clone(),
            };
            let dests = set_dests(&mut master, size, nth);
            master.set_service(&spec, dests)?;
        }
        let (publisher, readers) = Publisher::new(master.release(0), 1);
        let stats = Arc::new(WorkerStats::new(servers as usize));
        let (reporter, reports) = report::channel();
        let (Some(token), Some(reader)) = (tokens.into_iter().next(), readers.into_iter().next()) else {
            return Err(BenchError::NoCpu);
        };
        let flows = Flows::new(size.capacity, 0x5eed, stats.clone(), token, START);
        let worker = Worker::new(io, reader, flows).with_reporter(reporter);
        Ok(Self { worker, stats, _publisher: publisher, _reports: reports })
    }

    /// Memory of the table and its timers, for each connection that it has room for.
    pub(super) fn bytes_per_connection(&self) -> f64 {
        let flows = self.worker.flows();
        flows.memory_bytes() as f64 / f64::from(flows.capacity().max(1))
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

fn service(nth: u32) -> (Ipv4Addr, u16) {
    let addr = Ipv4Addr::from_bits(u32::from(VIP) + nth / SERVICES_OF_A_VIP);
    (addr, SERVICE_PORT + (nth % SERVICES_OF_A_VIP) as u16)
}

fn server(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + n)
}

fn set_paths(master: &mut Master, servers: u32) {
    let paths = master.paths_mut();
    let port = |mac| PortFacts { mac, mtu: MTU, addr: None, verify_checksum: false };
    paths.ports = Arc::new(MACS.map(port));
    *paths.adjacencies.entry(GATEWAY as usize) = adjacency(WAN, 0xff_ffff);
    for n in 0..servers {
        *paths.adjacencies.entry(n as usize + 1) = adjacency(LAN, n);
    }
    let everywhere = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, RouteTarget::Gateway(GATEWAY));
    paths.routes = Arc::new(Routes::new(&[everywhere]));
}

fn adjacency(port: PortId, station: u32) -> Adjacency {
    let [_, a, b, c] = station.to_be_bytes();
    let mut header = [0; ether::ETHER_LEN];
    header[..6].copy_from_slice(&[2, 0, 1, a, b, c]);
    header[6..12].copy_from_slice(&MACS[port.index()].0);
    header[12..].copy_from_slice(&ether::IPV4.to_be_bytes());
    Adjacency { header, reach: Reach::Port(port), mtu: MTU, next_hop: None }
}

/// As many local addresses as the table's connections want ports, and one to spare.
fn set_locals(master: &mut Master, size: &Size) -> Vec<u32> {
    if size.method != Method::FullNat {
        return Vec::new();
    }
    let count = size.capacity / LOCAL_PORTS + 2;
    for slot in 0..count {
        let addr = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + slot);
        master.set_local(slot, addr);
    }
    (0..count).collect()
}

fn set_dests(master: &mut Master, size: &Size, nth: u32) -> Vec<Dest> {
    let mut dests = Vec::new();
    let first = nth * size.destinations;
    // New destinations come first in the list.
    for n in (first..first + size.destinations).rev() {
        let id = DestId::new(n);
        let info = DestInfo {
            available: true,
            method: size.method,
            weight: 1,
            addr: server(n),
            port: if size.method.is_translated() { SERVER_PORT } else { service(nth).1 },
            service: ServiceId::new(nth),
            hop: n + 1,
            tunnel_source: Ipv4Addr::new(10, 255, 255, 254),
            ..DestInfo::default()
        };
        master.set_dest(id, info);
        dests.push(Dest { id, addr: server(n).into(), port: info.port, weight: 1, last_weight: 1 });
    }
    dests
}
