//! A director with one service and eight real servers, and packets for it.

use core::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::BURST;
use dataplane::epoch::Publisher;
use dataplane::epoch::Workers;
use dataplane::io::Frame;
use dataplane::io::PortId;
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
use dataplane::wire::ether::Mac;
use dataplane::wire::l4;
use dataplane::worker::Worker;
use dataplane::worker::flows::Flows;
use sched::Dest;
use sched::DestId;
use sched::Kind;
use sched::MhSize;

use crate::io::FixedFrame;
use crate::io::FixedIo;

/// TCP flags of packets of standing connections.
pub const ACK: u8 = l4::flag::ACK;
/// TCP flags of packets that open one.
pub const SYN: u8 = l4::flag::SYN;
/// The director's MAC on both ports.
pub const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVERS: u32 = 8;
const NOW: Ticks = Ticks::from_secs(1000);
const WAN: PortId = PortId::new(0);
const LAN: PortId = PortId::new(1);

/// A director in memory.
pub struct Rig {
    worker: Worker<FixedIo>,
    /// What it counted.
    pub stats: Arc<WorkerStats>,
    spare: Vec<FixedFrame>,
    _publisher: Publisher<Snapshot>,
}

impl Rig {
    /// A director that forwards by `method`; nothing when the crates disagree with each other.
    pub fn new(method: Method, capacity: u32) -> Option<Self> {
        let (workers, tokens) = Workers::new(1);
        let mut master = Master::new(workers, MhSize::default());
        let paths = master.paths_mut();
        let port = PortFacts { mac: MAC, mtu: 1600, addr: None, verify_checksum: false };
        paths.ports = Arc::new([port, port]);
        *paths.adjacencies.entry(0) = adjacency(WAN);
        *paths.adjacencies.entry(1) = adjacency(LAN);
        let everywhere = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, RouteTarget::Gateway(0));
        paths.routes = Arc::new(Routes::new(&[everywhere]));
        master.set_local(0, Ipv4Addr::new(172, 16, 0, 1));
        let dests = (0..SERVERS).map(|n| dest(&mut master, method, n)).collect();
        let spec = ServiceSpec {
            id: ServiceId::new(0),
            key: ServiceKey::Address { protocol: l4::TCP, addr: VIP, port: 80 },
            kind: Kind::Rr,
            flags: sched::Flags::from_bits(0),
            persistence: None,
            one_packet: false,
            locals: vec![0],
        };
        master.set_service(&spec, dests).ok()?;
        let (publisher, readers) = Publisher::new(master.release(0), 1);
        let stats = Arc::new(WorkerStats::new(SERVERS as usize));
        let flows = Flows::new(capacity, 42, stats.clone(), tokens.into_iter().next()?, NOW);
        let worker = Worker::new(FixedIo::default(), readers.into_iter().next()?, flows);
        let spare = (0..2 * BURST).map(|_| FixedFrame::empty()).collect();
        Some(Self { worker, stats, spare, _publisher: publisher })
    }

    /// Lays a burst of packets of the clients from `first` on ready to be received.
    pub fn lay(&mut self, first: u32, flags: u8) {
        let io = self.worker.io_mut();
        self.spare.extend(io.sent.iter_mut().flat_map(|burst| burst.drain(..)));
        for n in (first..).take(BURST) {
            let Some(mut frame) = self.spare.pop() else { return };
            frame.fill(&packet(n, flags));
            io.waiting[WAN.index()].push(frame);
        }
    }

    /// Lays the real servers' answers to what was sent to them ready to be received.
    pub fn lay_answers(&mut self) {
        let io = self.worker.io_mut();
        let [waiting, sent] = [&mut io.waiting[LAN.index()], &mut io.sent[LAN.index()]];
        for mut frame in sent.drain(..) {
            turn_round(frame.bytes_mut());
            waiting.push(frame);
        }
    }

    /// One poll.
    pub fn poll(&mut self) -> usize {
        self.worker.poll(NOW)
    }
}

/// A packet of client `n`, without checksums, which nobody looks at.
pub fn packet(n: u32, flags: u8) -> [u8; 60] {
    let mut bytes = [0; 60];
    bytes[..6].copy_from_slice(&MAC.0);
    bytes[12..18].copy_from_slice(&[8, 0, 0x45, 0, 0, 46]);
    bytes[20] = 0x40;
    bytes[22..24].copy_from_slice(&[64, l4::TCP]);
    bytes[26..30].copy_from_slice(&(0x6440_0001 + n / 50_000).to_be_bytes());
    bytes[30..34].copy_from_slice(&VIP.octets());
    bytes[34..36].copy_from_slice(&(1024 + (n % 50_000) as u16).to_be_bytes());
    bytes[36..38].copy_from_slice(&80_u16.to_be_bytes());
    bytes[46] = 0x50;
    bytes[47] = flags;
    bytes
}

fn turn_round(bytes: &mut [u8]) {
    if bytes.len() >= 38 {
        bytes[..6].copy_from_slice(&MAC.0);
        bytes[26..34].rotate_left(4);
        bytes[34..38].rotate_left(2);
    }
}

fn adjacency(port: PortId) -> Adjacency {
    let header = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0];
    Adjacency { header, reach: Reach::Port(port), mtu: 1600, next_hop: None }
}

fn dest(master: &mut Master, method: Method, n: u32) -> Dest {
    let addr = Ipv4Addr::from_bits(0x0a00_0001 + n);
    let (id, port) = (DestId::new(n), if method.is_translated() { 8080 } else { 80 });
    let info = DestInfo {
        available: true,
        method,
        weight: 1,
        addr,
        port,
        service: ServiceId::new(0),
        hop: 1,
        tunnel_source: Ipv4Addr::new(10, 255, 255, 254),
        ..DestInfo::default()
    };
    master.set_dest(id, info);
    Dest { id, addr: addr.into(), port, weight: 1, last_weight: 1 }
}
