//! A patient attacker with little more than 1 Mbit/s, after the table or the local ports have been
//! filled. New clients are still served, and connections with traffic lose nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::Kind;

use crate::rig::*;

/// The packets of the flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    Syn,
    Udp,
    /// Datagrams that real servers answer. Each comes from another forged address.
    Answered,
    /// A SYN, and then an ACK from the same forged address.
    SynAck,
    /// A SYN, and then two ACKs: more than a handshake.
    Pushed,
}

/// Real servers from 11 on.
const SERVERS: u8 = 11;
const WEB: u16 = 80;
const DNS: u16 = 53;
/// How many packets of the flood come in a tick: 3500 a second. 1 Mbit/s would be 1488 packets of
/// the smallest size.
const RATE: u32 = 35;
/// The same for datagrams that are answered, and for handshakes with one more packet: 1 Mbit/s.
const RATE_ANSWERED: u32 = 14;
/// The same while the table is filled.
const FAST: u32 = 200;
const SECONDS: u32 = 60;
const TICKS: u32 = SECONDS * 100;
/// How many new clients come during the flood.
const NEWCOMERS: u32 = 100;
/// Ticks between a client's packet and its reaction to the answer.
const ROUND_TRIP: u32 = 5;

/// A real client.
#[derive(Clone, Copy, Debug)]
struct Client {
    end: (Ipv4Addr, u16),
    udp: bool,
    /// The client's address and port as its real server sees them, once the server has seen a
    /// packet.
    seen: Option<((Ipv4Addr, u16), u8)>,
}

struct Scene {
    rig: Rig,
    method: Method,
    flood: Flood,
    sent: u32,
    /// The flood's packets, without their senders.
    frames: [Vec<u8>; 2],
}

impl Scene {
    fn new(method: Method, flood: Flood, sticky: bool, capacity: u32) -> Self {
        let mut rig = Rig::with_capacity(capacity);
        for (protocol, port) in [(TCP, WEB), (UDP, DNS)] {
            let service = rig.service_with(protocol, port, Kind::Wlc, |spec| {
                spec.persistence = if sticky { persistence(360) } else { None };
            });
            for server in 11..=SERVERS {
                rig.dest(service, server, port, method, 1);
            }
        }
        let from = (Ipv4Addr::UNSPECIFIED, 0);
        let frames = match flood {
            Flood::Udp | Flood::Answered => [udp(MACS[0], from, (VIP, DNS), b""), Vec::new()],
            _ => [SYN, ACK].map(|flags| tcp(MACS[0], from, (VIP, WEB), flags, b"")),
        };
        Self { rig, method, flood, sent: 0, frames }
    }

    /// Sends this many packets of the flood in one poll.
    fn flood(&mut self, packets: u32) {
        for _ in 0..packets {
            let (nth, second) = match self.flood {
                Flood::SynAck => (self.sent / 2, self.sent % 2 == 1),
                Flood::Pushed => (self.sent / 3, !self.sent.is_multiple_of(3)),
                _ => (self.sent, false),
            };
            self.sent += 1;
            // Random addresses and ports. Multiplying by an odd number gives each only once.
            let drawn = nth.wrapping_mul(0x9e37_79b1);
            let mut frame = self.frames[usize::from(second)].clone();
            frame[26..30].copy_from_slice(&(0x2000_0000 | drawn >> 8).to_be_bytes());
            frame[34..36].copy_from_slice(&(1024 + (drawn & 0xff) as u16).to_be_bytes());
            fix_ip(&mut frame);
            self.rig.inject(WAN, &frame);
        }
        while self.rig.io().rx.iter().any(|queue| !queue.is_empty()) {
            self.rig.poll();
        }
        let out = self.rig.out();
        if self.flood == Flood::Answered {
            for (_, frame) in out.sent.iter().filter(|(port, _)| *port == LAN) {
                let [a, b, c, d, .., high, low] = frame[26..36] else { continue };
                let to = (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
                let answer = udp(MACS[1], (rip(frame[5]), DNS), to, b"");
                self.rig.inject(LAN, &answer);
            }
            while self.rig.io().rx.iter().any(|queue| !queue.is_empty()) {
                self.rig.poll();
            }
            self.rig.out();
        }
    }

    /// Sends a client's packet. Returns whether it reaches a real server, which must always be the
    /// same one.
    fn say(&mut self, client: &mut Client, flags: u8) -> bool {
        let frame = if client.udp {
            udp(MACS[0], client.end, (VIP, DNS), b"query")
        } else {
            tcp(MACS[0], client.end, (VIP, WEB), flags, b"")
        };
        let out = self.rig.put(WAN, &frame);
        let Some((_, frame)) = out.sent.first().filter(|(port, _)| *port == LAN) else { return false };
        let seen = (read(frame).src, frame[5]);
        *client.seen.get_or_insert(seen) == seen
    }

    /// Sends a packet of the client's real server. Returns whether it reaches the client. With
    /// direct routing it does not pass the director.
    fn answer(&mut self, client: &Client, flags: u8) -> bool {
        if self.method == Method::DirectRoute {
            return true;
        }
        let Some((to, server)) = client.seen else { return false };
        let frame = if client.udp {
            udp(MACS[1], (rip(server), DNS), to, b"answer")
        } else {
            tcp(MACS[1], (rip(server), WEB), to, flags, b"")
        };
        let out = self.rig.put(LAN, &frame);
        out.sent.iter().any(|(port, frame)| *port == WAN && read(frame).dst == client.end)
    }

    /// Makes a connection with more packets than a handshake.
    fn connect(&mut self, end: (Ipv4Addr, u16), udp: bool) -> Client {
        let mut client = Client { end, udp, seen: None };
        for (flags, reply) in [(SYN, SYN | ACK), (ACK, ACK), (ACK, ACK)] {
            assert!(self.say(&mut client, flags) && self.answer(&client, reply));
        }
        client
    }

    /// Makes connections in every state that carries traffic, `each` of each state.
    fn standing(&mut self, each: u16) -> Vec<Client> {
        let mut all = Vec::new();
        for n in 0..each {
            let end = |kind: u8| (Ipv4Addr::new(192, 168, 7, kind), 5000 + n);
            all.push(self.connect(end(1), false));
            // The client has closed its side, and its real server still sends (CLOSE_WAIT, with
            // direct routing FIN_WAIT).
            let mut done = self.connect(end(2), false);
            assert!(self.say(&mut done, FIN | ACK));
            all.push(done);
            // The real server has closed its side, and the client still sends (FIN_WAIT).
            let other = self.connect(end(3), false);
            assert!(self.answer(&other, FIN | ACK));
            all.push(other);
            all.push(self.connect(end(4), true));
        }
        all
    }

    /// Sends a packet in each direction of all of them. Returns how many were lost.
    fn talk(&mut self, clients: &mut [Client]) -> u32 {
        let mut lost = 0;
        for client in clients {
            lost += u32::from(!self.say(client, ACK)) + u32::from(!self.answer(client, ACK));
        }
        lost
    }
}

/// Sends the packet of a new client that comes `step` round trips after its first one. Returns
/// whether it arrived. The client never tries again.
fn step(scene: &mut Scene, client: &mut Client, step: u32) -> bool {
    match (client.udp, step) {
        (false, 0) => scene.say(client, SYN) && scene.answer(client, SYN | ACK),
        (false, 1) => scene.say(client, ACK) && scene.say(client, ACK) && scene.answer(client, ACK),
        (false, _) => scene.say(client, ACK) && scene.answer(client, ACK),
        (true, _) => scene.say(client, 0) && scene.answer(client, 0),
    }
}

fn besiege(method: Method, flood: Flood, sticky: bool) {
    // With FULLNAT the one local address has fewer ports than the table has slots.
    let (capacity, wanted) = if method == Method::FullNat { (100_000, 150_000) } else { (20_000, 50_000) };
    let mut scene = Scene::new(method, flood, sticky, capacity);
    if flood == Flood::Answered {
        // Some ports are left to Linux, as if Linux had the local address too.
        let local = scene.rig.snapshot().locals.get(0).unwrap().clone().unwrap();
        local.leave_to_linux(Some(32_768..=60_999));
    }
    let mut standing = scene.standing(100);
    let mut lost = 0;
    while scene.sent < wanted {
        scene.rig.pass(1);
        scene.flood(FAST);
        if scene.sent.is_multiple_of(FAST * 100) {
            lost += scene.talk(&mut standing);
        }
    }
    let mut under_way: BTreeMap<u32, (Client, u32)> = BTreeMap::new();
    let mut served = 0;
    for tick in 0..TICKS {
        scene.rig.pass(1);
        scene.flood(match flood {
            Flood::Answered | Flood::Pushed => RATE_ANSWERED,
            _ => RATE,
        });
        if tick % 100 == 0 {
            lost += scene.talk(&mut standing);
        }
        if tick % (TICKS / NEWCOMERS) == 0 {
            let nth = tick / (TICKS / NEWCOMERS);
            let end = (Ipv4Addr::new(192, 168, 8, 1 + (nth / 4) as u8), 7000 + nth as u16);
            under_way.insert(tick, (Client { end, udp: nth % 2 == 1, seen: None }, 0));
        }
        let due: Vec<u32> = under_way.range(..=tick).map(|(at, _)| *at).collect();
        for at in due {
            let Some((mut client, nth)) = under_way.remove(&at) else { continue };
            if !step(&mut scene, &mut client, nth) {
                continue;
            }
            if nth == 4 {
                served += 1;
            } else {
                let mut at = tick + ROUND_TRIP;
                while under_way.contains_key(&at) {
                    at += 1;
                }
                under_way.insert(at, (client, nth + 1));
            }
        }
    }
    let stats = &scene.rig.stats;
    let what = format!("{method:?} {flood:?} sticky {sticky}: {served} served, {lost} lost");
    assert!(served >= NEWCOMERS * 95 / 100, "{what}");
    assert_eq!(lost, 0, "{what}");
    assert!(stats.displaced.get() > 0, "{what}: nothing was filled");
    // Connections with more packets than a handshake stay until they have been silent.
    assert_eq!(stats.displaced_silent.get() != 0, flood == Flood::Pushed, "{what}");
    let drops: u64 =
        [DropReason::TableFull, DropReason::NoLocalPort].map(|why| scene.rig.drops(why)).iter().sum();
    if flood == Flood::Pushed {
        // The table fills within ten seconds. Then SYNs are not let in, and Linux resets the ACKs.
        assert!(drops > 0 && stats.host.get() <= 2 * drops, "{what}, {drops} dropped");
    } else {
        assert!(stats.host.get() == 0, "{what}: Linux answers nothing");
        assert!(drops <= 5, "{what}, {drops} dropped");
    }
    scene.rig.assert_accounted();
}

#[test]
fn nat_outlasts_syns() {
    besiege(Method::Masquerade, Flood::Syn, false);
}

#[test]
fn nat_outlasts_datagrams() {
    besiege(Method::Masquerade, Flood::Udp, false);
}

#[test]
fn nat_outlasts_forged_handshakes() {
    besiege(Method::Masquerade, Flood::SynAck, false);
}

#[test]
fn nat_outlasts_forged_handshakes_that_stick() {
    besiege(Method::Masquerade, Flood::SynAck, true);
}

#[test]
fn direct_routing_outlasts_syns() {
    besiege(Method::DirectRoute, Flood::Syn, false);
}

#[test]
fn direct_routing_outlasts_datagrams() {
    besiege(Method::DirectRoute, Flood::Udp, false);
}

#[test]
fn direct_routing_outlasts_forged_handshakes() {
    besiege(Method::DirectRoute, Flood::SynAck, false);
}

#[test]
fn direct_routing_outlasts_forged_handshakes_that_stick() {
    besiege(Method::DirectRoute, Flood::SynAck, true);
}

/// A connection with little traffic that has been silent for ten seconds makes room for a new
/// client.
#[test]
fn direct_routing_outlasts_forged_handshakes_with_a_packet_more() {
    besiege(Method::DirectRoute, Flood::Pushed, false);
}

#[test]
fn one_local_address_outlasts_syns() {
    besiege(Method::FullNat, Flood::Syn, false);
}

#[test]
fn one_local_address_outlasts_datagrams() {
    besiege(Method::FullNat, Flood::Udp, false);
}

#[test]
fn one_local_address_outlasts_forged_handshakes() {
    besiege(Method::FullNat, Flood::SynAck, false);
}

#[test]
fn one_local_address_outlasts_forged_handshakes_that_stick() {
    besiege(Method::FullNat, Flood::SynAck, true);
}

#[test]
fn nat_outlasts_datagrams_that_are_answered() {
    besiege(Method::Masquerade, Flood::Answered, false);
}

#[test]
fn one_local_address_outlasts_datagrams_that_are_answered() {
    besiege(Method::FullNat, Flood::Answered, false);
}

#[test]
fn nat_outlasts_datagrams_that_are_answered_and_stick() {
    besiege(Method::Masquerade, Flood::Answered, true);
}
