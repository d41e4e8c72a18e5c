//! A director in memory: two ports, routes, services written in a line, frames built and read by an
//! independent library. Every test states what it expects to leave and what it expects to be
//! counted.
#![allow(unreachable_pub, reason = "shared by test binaries")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test rig fails by panicking")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::conn::entry::Flags;
use dataplane::conn::tcp::TcpState;
use dataplane::epoch::Publisher;
use dataplane::epoch::Workers;
use dataplane::io::Frame;
use dataplane::io::PacketIo;
use dataplane::io::PortId;
use dataplane::mem::MemFrame;
use dataplane::mem::MemIo;
use dataplane::secret::Secrets;
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
use dataplane::snapshot::service::Persistence;
use dataplane::snapshot::service::ServiceId;
use dataplane::snapshot::service::ServiceKey;
use dataplane::snapshot::tunables::Tunables;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::verdict::DropReason;
use dataplane::wire::ether::Mac;
use dataplane::worker::Worker;
use dataplane::worker::flows;
use dataplane::worker::report;
use dataplane::worker::report::ConnView;
use dataplane::worker::report::PAGE;
use dataplane::worker::report::Page;
use dataplane::worker::report::Report;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Kind;
use sched::MhSize;

/// The clients' side.
pub const WAN: PortId = PortId::new(0);
/// The real servers' side.
pub const LAN: PortId = PortId::new(1);
/// The director's MAC on each side.
pub const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
/// MAC of the gateway on the clients' side.
pub const GATEWAY: Mac = Mac([2, 0, 0, 0, 0, 9]);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub const LIP: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 200);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 2);
pub const DIP: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
pub const WIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

pub const SYN: u8 = 2;
pub const ACK: u8 = 16;
pub const FIN: u8 = 1;
pub const RST: u8 = 4;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// Address of real server `n`.
pub fn rip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, n)
}

/// MAC of real server `n`.
pub fn rmac(n: u8) -> Mac {
    Mac([2, 0, 0, 1, 0, n])
}

pub struct Rig {
    pub worker: Worker<MemIo>,
    pub master: Master,
    pub publisher: Publisher<Snapshot>,
    pub stats: Arc<WorkerStats>,
    pub now: Ticks,
    listing: report::ReportReader,
    dests: Vec<(ServiceId, Vec<Dest>)>,
    specs: Vec<ServiceSpec>,
    next_dest: u32,
}

impl Rig {
    pub fn new() -> Self {
        Self::with_capacity(4096)
    }

    pub fn with_capacity(capacity: u32) -> Self {
        let (workers, mut tokens) = Workers::new(1);
        let mut master = Master::new(workers, MhSize::default());
        let port = |i: usize, addr| PortFacts {
            mac: MACS[i],
            mtu: 1500,
            addr: Some(addr),
            verify_checksum: true,
            ..PortFacts::default()
        };
        master.paths_mut().ports = Arc::new([port(0, WIP), port(1, DIP)]);
        // Adjacency 0: the gateway; n: real server n.
        *master.paths_mut().adjacencies.entry(0) = adjacency(WAN, GATEWAY, 1500);
        for n in 1..=100 {
            *master.paths_mut().adjacencies.entry(usize::from(n)) = adjacency(LAN, rmac(n), 1500);
        }
        let near = (1..=100).map(|n| ((LAN, rip(n)), u32::from(n))).collect();
        master.paths_mut().neighbours = Arc::new(near);
        let a = |s: &str| s.parse::<Ipv4Addr>().unwrap();
        master.paths_mut().routes = Arc::new(Routes::new(&[
            (a("0.0.0.0"), a("9.255.255.255"), RouteTarget::Gateway(0)),
            (a("10.0.0.1"), a("10.0.0.1"), RouteTarget::Own),
            (a("10.0.0.100"), a("10.0.0.100"), RouteTarget::Own),
            (a("10.0.0.255"), a("10.0.0.255"), RouteTarget::Broadcast),
            (a("10.0.1.2"), a("10.0.1.254"), RouteTarget::OnLink { port: LAN, mtu: 1500 }),
            (a("10.0.2.0"), a("223.255.255.255"), RouteTarget::Gateway(0)),
        ]));
        master.set_local(0, LIP);
        let (publisher, mut readers) = Publisher::new(master.release(0), 1);
        let stats = Arc::new(WorkerStats::new(256));
        let now = Ticks::from_secs(1000);
        let flows =
            flows::Flows::new(capacity, Secrets::repeatable(42), stats.clone(), tokens.remove(0), now);
        let (reporter, listing) = report::channel();
        let worker = Worker::new(MemIo::new(2), readers.remove(0), flows).with_reporter(reporter);
        let (dests, specs) = (Vec::new(), Vec::new());
        let mut rig = Self { worker, master, publisher, stats, now, listing, dests, specs, next_dest: 0 };
        // Off the timer wheel's slot boundaries, where a director almost never is.
        rig.wait_ticks(7);
        rig
    }

    /// The connection table, as control reads it.
    pub fn list(&mut self) -> Vec<ConnView> {
        self.listing.ask.push(Page { from: 0, slots: PAGE }).unwrap();
        let mut all = Vec::new();
        loop {
            self.worker.poll(self.now);
            while let Ok(answer) = self.listing.answers.pop() {
                match answer {
                    Report::Conn(view) => all.push(view),
                    Report::End(None) => return all,
                    Report::End(Some(from)) => self.listing.ask.push(Page { from, slots: PAGE }).unwrap(),
                }
            }
        }
    }

    /// The client's connection from `cport`, if there is one.
    pub fn conn(&mut self, cport: u16) -> Option<ConnView> {
        let flow = |view: &ConnView| !view.flags.has(Flags::TEMPLATE) && view.client.1 == cport;
        self.list().into_iter().find(flow)
    }

    /// The templates, oldest slot first.
    pub fn templates(&mut self) -> Vec<ConnView> {
        self.list().into_iter().filter(|view| view.flags.has(Flags::TEMPLATE)).collect()
    }

    /// State and remaining seconds of the connection from `cport`.
    pub fn state(&mut self, cport: u16) -> (&'static str, u32) {
        let view = self.conn(cport).expect("a connection");
        (TcpState::from_raw(view.state).name(), view.expires_in / Ticks::PER_SECOND)
    }

    /// (active, inactive, persistent) of a destination.
    pub fn load(&self, dest: DestId) -> (u32, u32, u32) {
        let stats = self.stats.dest(dest).unwrap();
        (stats.active.get(), stats.inactive.get(), stats.persistent.get())
    }

    /// Packets (in, out) of a destination.
    pub fn packets(&self, dest: DestId) -> (u64, u64) {
        let stats = self.stats.dest(dest).unwrap();
        (stats.in_pkts.get(), stats.out_pkts.get())
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.stats.drops(reason).get()
    }

    /// Changes tunables and publishes.
    pub fn tune(&mut self, change: impl FnOnce(&mut Tunables)) {
        change(self.master.tunables_mut());
        self.publish();
    }

    /// A TCP packet from real server `n` to the client.
    pub fn reply(&mut self, n: u8, sport: u16, cport: u16, flags: u8) -> Out {
        let frame = tcp(MACS[1], (rip(n), sport), (CLIENT, cport), flags, b"");
        self.put(LAN, &frame)
    }

    pub fn publish(&mut self) {
        let snapshot = self.master.release(0);
        self.publisher.publish(snapshot);
        self.publisher.reclaim();
    }

    /// A service on `VIP:port`.
    pub fn service(&mut self, protocol: u8, port: u16, kind: Kind) -> ServiceId {
        self.service_with(protocol, port, kind, |_| ())
    }

    pub fn service_with(
        &mut self,
        protocol: u8,
        port: u16,
        kind: Kind,
        change: impl FnOnce(&mut ServiceSpec),
    ) -> ServiceId {
        let id = ServiceId::new(self.specs.len() as u32);
        let mut spec = ServiceSpec {
            id,
            key: ServiceKey::Address { protocol, addr: VIP, port },
            kind,
            flags: sched::Flags::from_bits(0),
            persistence: None,
            one_packet: false,
            locals: vec![0],
        };
        change(&mut spec);
        self.master.set_service(&spec, Vec::new()).unwrap();
        self.specs.push(spec);
        self.dests.push((id, Vec::new()));
        self.publish();
        id
    }

    /// Real server `n` for a service, put at the front of its list as Linux does.
    pub fn dest(&mut self, service: ServiceId, n: u8, port: u16, method: Method, weight: i32) -> DestId {
        let id = DestId::new(self.next_dest);
        self.next_dest += 1;
        self.dest_as(id, service, n, port, method, weight);
        id
    }

    pub fn dest_as(&mut self, id: DestId, service: ServiceId, n: u8, port: u16, method: Method, weight: i32) {
        let dest = Dest { id, addr: rip(n).into(), port, weight, last_weight: weight };
        let list = &mut self.dests[service.index()].1;
        let edit = Edit::added(list, &dest);
        list.insert(0, dest);
        let list = list.clone();
        self.master.set_dest(
            id,
            DestInfo {
                available: true,
                method,
                weight,
                addr: rip(n),
                port,
                service,
                hop: u32::from(n),
                tunnel_source: DIP,
                ..DestInfo::default()
            },
        );
        self.master.set_dests(service, list, edit).unwrap();
        self.publish();
    }

    pub fn weight(&mut self, service: ServiceId, id: DestId, weight: i32) {
        let list = &mut self.dests[service.index()].1;
        let old = list.clone();
        let dest = list.iter_mut().find(|dest| dest.id == id).unwrap();
        dest.weight = weight;
        if weight != 0 {
            dest.last_weight = weight;
        }
        let edit = Edit::updated(&old, dest);
        let list = list.clone();
        let info = DestInfo { weight, ..*self.master.snapshot().dest(id).unwrap() };
        self.master.set_dest(id, info);
        self.master.set_dests(service, list, edit).unwrap();
        self.publish();
    }

    pub fn change_dest(&mut self, id: DestId, change: impl FnOnce(&mut DestInfo)) {
        let mut info = *self.master.snapshot().dest(id).unwrap();
        change(&mut info);
        self.master.set_dest(id, info);
        self.publish();
    }

    pub fn delete(&mut self, service: ServiceId, id: DestId) {
        let list = &mut self.dests[service.index()].1;
        let edit = Edit::deleted(list, id);
        list.retain(|dest| dest.id != id);
        let list = list.clone();
        let info = DestInfo { available: false, ..*self.master.snapshot().dest(id).unwrap() };
        self.master.set_dest(id, info);
        self.master.set_dests(service, list, edit).unwrap();
        self.publish();
    }
}

#[allow(dead_code, reason = "of `tests/allocations` alone")]
impl Rig {
    /// Another director over `io`, with the same rules and marks and a table of its own.
    pub fn over<Io: PacketIo>(&mut self, io: Io, capacity: u32) -> (Publisher<Snapshot>, Worker<Io>) {
        let (_, publisher, worker) = self.another(io, capacity);
        (publisher, worker)
    }

    /// As [`Self::over`], and from here on the rig's changes reach that director.
    pub fn move_over<Io: PacketIo>(&mut self, io: Io, capacity: u32) -> Worker<Io> {
        let (master, publisher, worker) = self.another(io, capacity);
        (self.master, self.publisher) = (master, publisher);
        worker
    }

    fn another<Io: PacketIo>(&mut self, io: Io, capacity: u32) -> (Master, Publisher<Snapshot>, Worker<Io>) {
        let (workers, mut tokens) = Workers::new(1);
        let mut master = Master::new(workers, MhSize::default());
        *master.paths_mut() = self.master.paths_mut().clone();
        master.set_local(0, LIP);
        self.replant(&mut master);
        master.set_marks(self.master.snapshot().marks.clone());
        let (publisher, mut readers) = Publisher::new(master.release(0), 1);
        let stats = Arc::new(WorkerStats::new(256));
        let flows = flows::Flows::new(capacity, Secrets::repeatable(7), stats, tokens.remove(0), self.now);
        (master, publisher, Worker::new(io, readers.remove(0), flows))
    }

    fn replant(&self, master: &mut Master) {
        for (spec, (id, dests)) in self.specs.iter().zip(&self.dests) {
            master.set_service(spec, dests.clone()).unwrap();
            for dest in dests {
                let mut info = *self.master.snapshot().dest(dest.id).unwrap();
                info.service = *id;
                master.set_dest(dest.id, info);
            }
        }
    }
}

impl Rig {
    /// Lets time pass, polling often enough that everything due is done.
    pub fn wait(&mut self, seconds: u32) {
        self.wait_ticks(seconds * Ticks::PER_SECOND);
    }

    pub fn wait_ticks(&mut self, ticks: u32) {
        for tick in 1..=ticks {
            self.now = self.now.plus(1);
            if tick % 10 == 0 || tick == ticks {
                while self.worker.poll(self.now) != 0 {}
            }
        }
    }

    /// Puts a frame in at `port`, polls, and gives what came out: (port, bytes), and the host's
    /// share.
    pub fn put(&mut self, port: PortId, frame: &[u8]) -> Out {
        let io = self.worker.io_mut();
        io.rx[port.index()].push_back(MemFrame::new(frame));
        self.worker.poll(self.now);
        self.out()
    }

    /// Puts all frames in at `port` before one poll, and gives what came out.
    pub fn burst(&mut self, port: PortId, frames: &[Vec<u8>]) -> Out {
        let frames = frames.iter().map(|frame| MemFrame::new(frame));
        self.worker.io_mut().rx[port.index()].extend(frames);
        self.worker.poll(self.now);
        self.out()
    }

    pub fn out(&mut self) -> Out {
        let io = self.worker.io_mut();
        let mut sent = Vec::new();
        for (n, queue) in io.tx.iter_mut().enumerate() {
            sent.extend(queue.drain(..).map(|f| (PortId::new(n as u16), f.bytes().to_vec())));
        }
        let host =
            io.host.drain(..).map(|item| (item.port, item.request, item.frame.bytes().to_vec())).collect();
        Out { sent, host }
    }

    /// A TCP packet from the client to `VIP:port`.
    pub fn tcp(&mut self, cport: u16, port: u16, flags: u8) -> Out {
        let frame = tcp(MACS[0], (CLIENT, cport), (VIP, port), flags, b"");
        self.put(WAN, &frame)
    }

    /// A UDP datagram from the client to `VIP:port`.
    pub fn udp(&mut self, cport: u16, port: u16) -> Out {
        let frame = udp(MACS[0], (CLIENT, cport), (VIP, port), b"query");
        self.put(WAN, &frame)
    }

    /// Which real server a fresh connection from `cport` reaches, by MAC; 0 when none.
    pub fn syn_to(&mut self, cport: u16, port: u16) -> u8 {
        let out = self.tcp(cport, port, SYN);
        out.sent.first().filter(|(port, _)| *port == LAN).map_or(0, |(_, frame)| frame[5])
    }

    /// A connection from `cport` that comes to more than a handshake; which real server it reaches.
    pub fn talk(&mut self, cport: u16, port: u16) -> u8 {
        let server = self.syn_to(cport, port);
        for _ in 0..2 {
            self.tcp(cport, port, ACK).one();
        }
        server
    }

    pub fn connections(&self) -> u32 {
        self.stats.connections.get()
    }

    /// All that came in has ended in exactly one count.
    pub fn assert_accounted(&self) {
        let s = &self.stats;
        let came = s.received.get() + s.from_host.get() + s.icmp_sent.get();
        let went = s.transmitted.get() + s.host.get() + s.resolve.get() + s.dropped();
        assert_eq!(came, went, "frames that came and frames that went");
        let (made, ended) = (s.created.get(), s.ended.get());
        assert_eq!(made - ended, u64::from(s.connections.get()), "connections made, ended and there");
        assert!(s.expired.get() + s.displaced.get() <= ended);
    }
}

/// What came out of a poll.
#[derive(Debug)]
pub struct Out {
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub host: Vec<(PortId, dataplane::io::HostRequest, Vec<u8>)>,
}

impl Out {
    /// The one frame that was sent.
    pub fn one(&self) -> (PortId, &[u8]) {
        assert_eq!((self.sent.len(), self.host.len()), (1, 0), "{self:?}");
        (self.sent[0].0, &self.sent[0].1)
    }

    /// The one frame that was sent, read.
    pub fn seen(&self) -> Seen {
        read(self.one().1)
    }

    pub fn nothing(&self) {
        assert!(self.sent.is_empty() && self.host.is_empty(), "{self:?}");
    }

    pub fn to_host(&self) {
        assert_eq!((self.sent.len(), self.host.len()), (0, 1), "{self:?}");
    }
}

pub fn adjacency(port: PortId, mac: Mac, mtu: u16) -> Adjacency {
    let mut header = [0; 14];
    header[..6].copy_from_slice(&mac.0);
    header[6..12].copy_from_slice(&MACS[port.index()].0);
    header[12..].copy_from_slice(&[8, 0]);
    Adjacency { header, reach: Reach::Port(port), mtu, next_hop: None }
}

pub fn persistence(timeout: u32) -> Option<Persistence> {
    Some(Persistence { timeout, netmask: Ipv4Addr::BROADCAST })
}

/// A TCP frame, built by an independent library.
pub fn tcp(mac: Mac, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_ttl(mac, from, to, flags, payload, 64)
}

pub fn tcp_ttl(
    mac: Mac,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    flags: u8,
    payload: &[u8],
    ttl: u8,
) -> Vec<u8> {
    let mut step = etherparse::PacketBuilder::ethernet2([2, 9, 9, 9, 9, 9], mac.0)
        .ipv4(from.0.octets(), to.0.octets(), ttl)
        .tcp(from.1, to.1, 1000, 4096);
    if flags & SYN != 0 {
        step = step.syn();
    }
    if flags & ACK != 0 {
        step = step.ack(77);
    }
    if flags & FIN != 0 {
        step = step.fin();
    }
    if flags & RST != 0 {
        step = step.rst();
    }
    let mut out = Vec::new();
    step.write(&mut out, payload).unwrap();
    out
}

pub fn udp(mac: Mac, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let step = etherparse::PacketBuilder::ethernet2([2, 9, 9, 9, 9, 9], mac.0)
        .ipv4(from.0.octets(), to.0.octets(), 64)
        .udp(from.1, to.1);
    let mut out = Vec::new();
    step.write(&mut out, payload).unwrap();
    out
}

/// A frame as an independent library reads it, with both checksums judged by full recomputation.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub dst_mac: [u8; 6],
    pub src_mac: [u8; 6],
    pub src: (Ipv4Addr, u16),
    pub dst: (Ipv4Addr, u16),
    pub ttl: u8,
    pub tos: u8,
    pub df: bool,
    pub protocol: u8,
    pub payload: Vec<u8>,
}

/// Reads a TCP or UDP frame; panics when any checksum is wrong.
pub fn read(frame: &[u8]) -> Seen {
    let packet = etherparse::SlicedPacket::from_ethernet(frame).expect("a whole packet");
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 checksum");
    let Some(etherparse::LinkSlice::Ethernet2(ether)) = &packet.link else { panic!("not Ethernet") };
    let (ports, payload) = match &packet.transport {
        Some(etherparse::TransportSlice::Tcp(tcp)) => {
            let sum = tcp.calc_checksum_ipv4(header.source, header.destination).unwrap();
            assert_eq!(tcp.checksum(), sum, "TCP checksum");
            ((tcp.source_port(), tcp.destination_port()), tcp.payload().to_vec())
        }
        Some(etherparse::TransportSlice::Udp(udp)) => {
            if udp.checksum() != 0 {
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), sum, "UDP checksum");
            }
            ((udp.source_port(), udp.destination_port()), udp.payload().to_vec())
        }
        _ => ((0, 0), ip.payload().payload.to_vec()),
    };
    Seen {
        dst_mac: ether.destination(),
        src_mac: ether.source(),
        src: (header.source.into(), ports.0),
        dst: (header.destination.into(), ports.1),
        ttl: header.time_to_live,
        tos: header.dscp.value() << 2 | header.ecn.value(),
        df: header.dont_fragment,
        protocol: header.protocol.0,
        payload,
    }
}

/// Recomputes the IPv4 header checksum of an untagged frame.
pub fn fix_ip(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = dataplane::wire::checksum::compute(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum);
}
