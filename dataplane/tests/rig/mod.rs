//! A director for tests. It has two ports and routes; services are written in one line; an
//! independent library builds and reads frames. A test says which frames must leave and what must
//! be counted.
#![allow(unreachable_pub, reason = "shared by test binaries")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test rig fails by panicking")]

mod frames;
mod rules;

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::conn::entry::Flags;
use dataplane::conn::tcp::TcpState;
use dataplane::epoch::Workers;
use dataplane::io::HostRequest;
use dataplane::io::PacketIo;
use dataplane::io::PortId;
use dataplane::mem::Abilities;
use dataplane::mem::Collected;
use dataplane::mem::MemDirector;
use dataplane::mem::MemIo;
use dataplane::mem::Nic;
use dataplane::mem::Size;
use dataplane::snapshot::Snapshot;
use dataplane::snapshot::master::Master;
use dataplane::snapshot::route::Adjacency;
use dataplane::snapshot::route::PortFacts;
use dataplane::snapshot::route::Reach;
use dataplane::snapshot::route::RouteTarget;
use dataplane::snapshot::route::Routes;
use dataplane::snapshot::rules::Rules;
use dataplane::snapshot::rules::WorkerEnd;
use dataplane::snapshot::service::Persistence;
use dataplane::stats::WorkerStats;
use dataplane::steer::RssKey;
use dataplane::time::Ticks;
use dataplane::verdict::DropReason;
use dataplane::wire::ether::Mac;
use dataplane::worker::Worker;
use dataplane::worker::report::ConnView;
use sched::DestId;
use sched::MhSize;

pub use frames::*;

/// The port on the clients' side.
pub const WAN: PortId = PortId::new(0);
/// The port on the real servers' side.
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

/// A director with its rules. The ports are [`WAN`] and [`LAN`]. The clients' gateway has adjacency
/// 0, and real server n has adjacency n.
pub struct Rig<Io: PacketIo = MemIo> {
    pub director: MemDirector<Rules, Io>,
    /// The counters of the first worker.
    pub stats: Arc<WorkerStats>,
    /// How many services and destinations were made so far.
    services: u32,
    dests: u32,
}

impl Rig {
    pub fn new() -> Self {
        Self::with_capacity(4096)
    }

    pub fn with_capacity(capacity: u32) -> Self {
        Self::with_workers(1, capacity, Abilities::default())
    }

    /// A director with `count` workers behind cards with these abilities.
    pub fn with_workers(count: u16, capacity: u32, abilities: Abilities) -> Self {
        let (rules, ends) = rules_for(count.into());
        let nic = Nic::start(abilities, count, RssKey::SYMMETRIC);
        Self::of(MemDirector::behind(rules, ends, size(capacity), vec![nic; 2]))
    }

    /// A TCP packet from real server `n` to the client.
    pub fn reply(&mut self, n: u8, sport: u16, cport: u16, flags: u8) -> Out {
        let frame = tcp(MACS[1], (rip(n), sport), (CLIENT, cport), flags, b"");
        self.put(LAN, &frame)
    }

    /// Puts a frame into the queue of `port`.
    pub fn inject(&mut self, port: PortId, frame: &[u8]) {
        self.director.inject(port, frame);
    }

    /// Puts a frame in at `port` and polls. Returns the frames that came out.
    pub fn put(&mut self, port: PortId, frame: &[u8]) -> Out {
        self.inject(port, frame);
        self.poll();
        self.out()
    }

    /// Puts all frames in at `port` before one poll. Returns the frames that came out.
    pub fn burst(&mut self, port: PortId, frames: &[Vec<u8>]) -> Out {
        frames.iter().for_each(|frame| self.inject(port, frame));
        self.poll();
        self.out()
    }

    pub fn out(&mut self) -> Out {
        let Collected { sent, host } = self.director.collect();
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

    /// Sends a SYN from `cport`. Returns the number of the real server that it reaches, found by
    /// its MAC; 0 if it reaches none.
    pub fn syn_to(&mut self, cport: u16, port: u16) -> u8 {
        let out = self.tcp(cport, port, SYN);
        out.sent.first().filter(|(port, _)| *port == LAN).map_or(0, |(_, frame)| frame[5])
    }

    /// Makes a connection from `cport` with more packets than a handshake. Returns the number of
    /// its real server.
    pub fn talk(&mut self, cport: u16, port: u16) -> u8 {
        let server = self.syn_to(cport, port);
        for _ in 0..2 {
            self.tcp(cport, port, ACK).one();
        }
        server
    }
}

impl<Io: PacketIo> Rig<Io> {
    /// A rig around this director.
    pub fn of(director: MemDirector<Rules, Io>) -> Self {
        let director = director.with_listings();
        let stats = director.stats().clone();
        let mut rig = Self { director, stats, services: 0, dests: 0 };
        // Move away from a boundary of the wheel's slots. In practice a director is almost never at
        // one.
        rig.pass(7);
        rig
    }

    pub fn master(&mut self) -> &mut Master {
        &mut self.director.rules.master
    }

    /// The rules with all changes, also those that are not published.
    pub fn snapshot(&self) -> &Snapshot {
        self.director.rules.master.snapshot()
    }

    pub fn worker(&mut self) -> &mut Worker<Io> {
        self.director.worker()
    }

    pub fn io(&mut self) -> &mut Io {
        self.director.io()
    }

    pub fn poll(&mut self) -> usize {
        self.director.poll()
    }

    /// Polls until nothing is left to do.
    pub fn settle(&mut self) {
        self.director.settle();
    }

    /// Lets time pass. The worker polls so often that everything due is done.
    pub fn wait(&mut self, seconds: u32) {
        self.wait_ticks(seconds * Ticks::PER_SECOND);
    }

    pub fn wait_ticks(&mut self, ticks: u32) {
        self.director.wait(ticks);
    }

    /// Lets time pass without a poll.
    pub fn pass(&mut self, ticks: u32) {
        self.director.pass(ticks);
    }

    pub fn now(&self) -> Ticks {
        self.director.now()
    }

    /// The connection table, as control reads it.
    pub fn list(&mut self) -> Vec<ConnView> {
        self.director.connections()
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
        let view = self.conn(cport).expect("there is no such connection");
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

    pub fn connections(&self) -> u32 {
        self.stats.connections.get()
    }

    /// Checks that every frame that came in has ended in exactly one count.
    pub fn assert_accounted(&self) {
        self.director.check_accounts().unwrap();
    }
}

/// Room for this many connections.
pub fn size(connections: u32) -> Size {
    Size { connections, seed: 42, ..Size::default() }
}

/// Rules with routes and next hops and without services, for this many workers.
pub fn rules_for(workers: usize) -> (Rules, Vec<WorkerEnd>) {
    let (workers, tokens) = Workers::new(workers);
    let mut master = Master::new(workers, MhSize::default());
    let paths = master.paths_mut();
    let port = |i: usize, addr| PortFacts {
        mac: MACS[i],
        mtu: 1500,
        addr: Some(addr),
        verify_checksum: true,
        ..PortFacts::default()
    };
    paths.ports = Arc::new([port(0, WIP), port(1, DIP)]);
    *paths.adjacencies.entry(0) = adjacency(WAN, GATEWAY, 1500);
    for n in 1..=100 {
        *paths.adjacencies.entry(usize::from(n)) = adjacency(LAN, rmac(n), 1500);
    }
    let near = (1..=100).map(|n| ((LAN, rip(n)), u32::from(n))).collect();
    paths.neighbours = Arc::new(near);
    let a = |s: &str| s.parse::<Ipv4Addr>().unwrap();
    paths.routes = Arc::new(Routes::new(&[
        (a("0.0.0.0"), a("9.255.255.255"), RouteTarget::Gateway(0)),
        (a("10.0.0.1"), a("10.0.0.1"), RouteTarget::Own),
        (a("10.0.0.100"), a("10.0.0.100"), RouteTarget::Own),
        (a("10.0.0.255"), a("10.0.0.255"), RouteTarget::Broadcast),
        (a("10.0.1.2"), a("10.0.1.254"), RouteTarget::OnLink { port: LAN, mtu: 1500 }),
        (a("10.0.2.0"), a("223.255.255.255"), RouteTarget::Gateway(0)),
    ]));
    master.set_local(0, LIP);
    Rules::new(master, tokens)
}

/// The frames that came out of a poll.
#[derive(Debug)]
pub struct Out {
    pub sent: Vec<(PortId, Vec<u8>)>,
    pub host: Vec<(PortId, HostRequest, Vec<u8>)>,
}

impl Out {
    /// The one frame that was sent.
    pub fn one(&self) -> (PortId, &[u8]) {
        assert_eq!((self.sent.len(), self.host.len()), (1, 0), "{self:?}");
        (self.sent[0].0, &self.sent[0].1)
    }

    /// The one frame that was sent, as the library reads it.
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
