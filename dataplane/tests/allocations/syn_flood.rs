//! A flood of SYNs from random addresses, many times as many as the table has slots. Established
//! connections keep their packets, memory stays the same, and new clients are served. When the
//! half-open connections have timed out, the table can be filled with new clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use dataplane::io::Burst;
use dataplane::io::Frame;
use dataplane::io::HostFrame;
use dataplane::io::PacketIo;
use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::time::Ticks;
use dataplane::verdict::DropReason;
use sched::Kind;
use sched::Random;
use sched::XorShift;

use crate::arena::Slot;
use crate::counting;
use crate::rig::*;
use crate::rig_over;

const CAPACITY: u32 = 2000;
/// How many connections exist before the flood.
const STANDING: u16 = 500;
/// How many SYNs of the flood wait at a time.
const FLOODING: usize = 24_000;
/// The flood has this many times as many SYNs as the table has slots.
const TIMES: u64 = 100;

/// Two ports. The test makes their frames. They count sent frames, SYNs and others separately.
struct Ports {
    free: Vec<Slot>,
    /// Waiting frames, each with its port.
    coming: Vec<Slot>,
    from: PortId,
    syns: u64,
    others: u64,
    host: u64,
}

impl Ports {
    fn new() -> Self {
        let (free, coming) = (Slot::arena(2 * FLOODING), Vec::with_capacity(FLOODING));
        Self { free, coming, from: WAN, syns: 0, others: 0, host: 0 }
    }

    fn give_back(&mut self, frames: &mut Burst<Slot>) {
        self.free.extend(frames.drain(..));
    }
}

impl PacketIo for Ports {
    type Frame = Slot;

    fn ports(&self) -> u16 {
        2
    }

    fn receive(&mut self, port: PortId, burst: &mut Burst<Slot>) {
        if port == self.from {
            let waiting = self.coming.len().min(burst.remaining_capacity());
            burst.extend(self.coming.drain(..waiting));
        }
    }

    fn transmit(&mut self, _: PortId, burst: &mut Burst<Slot>) {
        let syns = burst.iter().filter(|frame| flags_of(frame.bytes()) & SYN != 0).count();
        self.syns += syns as u64;
        self.others += (burst.len() - syns) as u64;
        self.give_back(burst);
    }

    fn to_host(&mut self, frame: HostFrame<Slot>) -> Result<(), Slot> {
        self.host += 1;
        self.free.push(frame.frame);
        Ok(())
    }

    fn from_host(&mut self) -> Option<(PortId, Slot)> {
        None
    }

    fn release(&mut self, burst: &mut Burst<Slot>) {
        self.give_back(burst);
    }
}

/// TCP flags of a frame, behind an outer header if there is one.
fn flags_of(frame: &[u8]) -> u8 {
    let outer = if frame[14 + 9] == 4 { 20 } else { 0 };
    frame[outer + 14 + 20 + 13]
}

/// A director, and the frames that it gets.
struct Siege {
    rig: Rig<Ports>,
    syn: Vec<u8>,
    ack: Vec<u8>,
    reply: Vec<u8>,
    random: XorShift,
    /// How many frames come at a time.
    batch: usize,
}

impl Siege {
    /// Puts in a frame made from `template`. `end` replaces the address at offset `at` of the IP
    /// header, and its port.
    fn come(&mut self, template: &[u8], at: usize, end: (Ipv4Addr, u16)) {
        let io = self.rig.io();
        let mut slot = io.free.pop().unwrap();
        slot.fill(template);
        let bytes = slot.bytes_mut();
        bytes[at..at + 4].copy_from_slice(&end.0.octets());
        let port = if at == 26 { 34 } else { 36 };
        bytes[port..port + 2].copy_from_slice(&end.1.to_be_bytes());
        fix_ip(bytes);
        io.coming.push(slot);
        if io.coming.len() == self.batch {
            self.poll();
        }
    }

    fn poll(&mut self) {
        self.rig.poll();
    }

    fn request(&mut self, frame: &[u8], nth: u16) {
        self.rig.io().from = WAN;
        self.come(frame, 26, (CLIENT, 5000 + nth));
    }

    /// Sends a packet of each established connection, with `both` one in each direction. Returns
    /// how many were forwarded.
    fn talk(&mut self, both: bool) -> u64 {
        let sent = self.rig.io().others;
        let (ack, reply) = (core::mem::take(&mut self.ack), core::mem::take(&mut self.reply));
        for nth in 0..STANDING {
            self.request(&ack, nth);
        }
        self.poll();
        for nth in 0..if both { STANDING } else { 0 } {
            self.rig.io().from = LAN;
            self.come(&reply, 30, (CLIENT, 5000 + nth));
        }
        self.poll();
        (self.ack, self.reply) = (ack, reply);
        self.rig.io().others - sent
    }

    /// Sends SYNs from random addresses, more at a time than a poll takes.
    fn flood(&mut self, count: u64) {
        self.batch = FLOODING;
        let syn = core::mem::take(&mut self.syn);
        self.rig.io().from = WAN;
        for _ in 0..count {
            let drawn = self.random.below_inclusive(u64::MAX);
            let [a, b, c, d, e, ..] = drawn.to_be_bytes();
            self.come(&syn, 26, (Ipv4Addr::new(20 + a % 100, b, c, d), 1024 + u16::from(e)));
        }
        while !self.rig.io().coming.is_empty() {
            self.poll();
        }
        self.batch = 32;
        self.syn = syn;
    }

    /// Lets this many seconds pass.
    fn wait(&mut self, seconds: u32) {
        for _ in 0..seconds * 4 {
            self.rig.pass(Ticks::PER_SECOND / 4);
            self.rig.settle();
        }
    }

    /// How many of `count` new clients are served.
    fn newcomers(&mut self, count: u16) -> u64 {
        let (syn, before) = (core::mem::take(&mut self.syn), self.rig.io().syns);
        for nth in 0..count {
            self.request(&syn, 10_000 + nth);
        }
        self.poll();
        self.syn = syn;
        self.rig.io().syns - before
    }
}

fn survives_a_flood(method: Method, kind: Kind) {
    let mut rig = rig_over(Ports::new(), CAPACITY);
    let service = rig.service(TCP, 80, kind);
    let dest = rig.dest(service, 11, 80, method, 1);
    let stats = rig.stats.clone();
    let frame = |flags| tcp(MACS[0], (CLIENT, 1), (VIP, 80), flags, b"");
    let reply = tcp(MACS[1], (rip(11), 80), (CLIENT, 1), ACK, b"");
    let random = XorShift::new(5);
    let mut siege = Siege { rig, syn: frame(SYN), ack: frame(ACK), reply, random, batch: 32 };
    let both = method == Method::Masquerade;
    let each = u64::from(STANDING) * if both { 2 } else { 1 };

    let syn = siege.syn.clone();
    for nth in 0..STANDING {
        siege.request(&syn, nth);
    }
    siege.poll();
    // These connections have more packets than a handshake. Otherwise they would make room in a
    // full table.
    for _ in 0..2 {
        assert_eq!((siege.talk(both), stats.connections.get()), (each, u32::from(STANDING)));
    }
    let memory = siege.rig.worker().flows().memory_bytes();

    let calls = counting::calls(|| {
        for _ in 0..TIMES / 10 {
            siege.flood(u64::from(CAPACITY) * 10);
            siege.rig.pass(1);
            assert_eq!(siege.talk(both), each, "packets of established connections were lost");
            assert!(stats.connections.get() <= CAPACITY);
        }
    });
    assert_eq!(calls, 0, "calls of the allocator");
    assert_eq!(siege.rig.worker().flows().memory_bytes(), memory);
    let (refused, came) = (TIMES * u64::from(CAPACITY), u64::from(STANDING) + TIMES * u64::from(CAPACITY));
    assert!(
        stats.drops(DropReason::SynFlood).get() > refused * 8 / 10,
        "too few SYNs were held back while packets waited"
    );
    assert!(stats.half_open.get() > CAPACITY / 8);
    let sent = siege.rig.io().syns;
    let dropped = stats.drops(DropReason::TableFull).get() + stats.drops(DropReason::SynFlood).get();
    assert!(sent + dropped <= came);

    // SYNs that come one by one are let in, and in a full table they take the place of others.
    for _ in 0..CAPACITY {
        siege.flood(1);
    }
    assert_eq!((stats.connections.get(), stats.half_open.get()), (CAPACITY, CAPACITY - u32::from(STANDING)));
    assert!(stats.displaced.get() > 0);
    assert_eq!(siege.talk(both), each);

    siege.wait(62);
    assert_eq!(stats.connections.get(), u32::from(STANDING), "half-open connections have not timed out");
    let free = CAPACITY as u16 - STANDING;
    assert_eq!(siege.newcomers(free), u64::from(free), "new clients were not served");
    assert_eq!(siege.talk(both), each);
    assert_eq!(stats.dest(dest).unwrap().active.get(), CAPACITY);
    siege.rig.assert_accounted();
    assert_eq!(siege.rig.io().host, 0);
}

#[test]
fn nat_survives_a_flood() {
    survives_a_flood(Method::Masquerade, Kind::Wlc);
}

#[test]
fn direct_routing_survives_a_flood() {
    survives_a_flood(Method::DirectRoute, Kind::Rr);
}

#[test]
fn a_tunnel_survives_a_flood() {
    survives_a_flood(Method::Tunnel, Kind::Sh);
}

#[test]
fn fullnat_survives_a_flood() {
    survives_a_flood(Method::FullNat, Kind::Rr);
}
