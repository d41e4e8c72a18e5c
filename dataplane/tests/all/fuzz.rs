//! Fuzzing: packets of all kinds are changed at random and go through whole polls.
//!
//! The fuzzer does not measure coverage. It finds errors because its packets are nearly right. All
//! packets follow from a seed, `VIPLINE_FUZZ_SEED`, so that a failure can be repeated; the default
//! is 1. `VIPLINE_FUZZ_FRAMES` is their number. `scripts/sanitize` runs many of them under the
//! address sanitizer, with a seed that the commit gives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::wire::checksum;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

const CAPACITY: u32 = 512;
const METHODS: [(u16, Method); 4] =
    [(80, Method::Masquerade), (81, Method::DirectRoute), (82, Method::Tunnel), (83, Method::FullNat)];

/// A random generator, xorshift64*. It gives the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one_of(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// An IPv4 frame with `protocol` and `payload`, to the director's MAC on that side.
fn ipv4(port: PortId, from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = MACS[port.index()].0.to_vec();
    frame.extend([2, 9, 9, 9, 9, 9, 8, 0, 0x45, 0]);
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    frame.extend(from);
    frame.extend(to);
    frame.extend(payload);
    fix_ip(&mut frame);
    frame
}

/// An ICMP error that quotes the packet in `frame`.
fn icmp_error(port: PortId, from: [u8; 4], to: [u8; 4], kind: [u8; 2], frame: &[u8]) -> Vec<u8> {
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0, 5, 0];
    message.extend(&frame[14..]);
    let sum = checksum::compute(&message);
    message[2..4].copy_from_slice(&sum);
    ipv4(port, from, to, 1, &message)
}

/// Valid packets of all kinds.
fn templates() -> Vec<(PortId, Vec<u8>)> {
    let mut all = Vec::new();
    for (port, _) in METHODS {
        for flags in [SYN, ACK, ACK, FIN | ACK, RST] {
            all.push((WAN, tcp(MACS[0], (CLIENT, 5000), (VIP, port), flags, b"data")));
        }
        for client in [CLIENT, LIP] {
            let reply = tcp(MACS[1], (rip(11), port), (client, 5000), SYN | ACK, b"");
            all.push((LAN, reply));
        }
    }
    all.push((WAN, udp(MACS[0], (CLIENT, 6000), (VIP, 53), b"query")));
    all.push((LAN, udp(MACS[1], (rip(11), 53), (CLIENT, 6000), b"answer")));
    let (client, vip, server) = (CLIENT.octets(), VIP.octets(), rip(11).octets());
    let reply = tcp(MACS[0], (VIP, 80), (CLIENT, 5000), ACK, b"the answer");
    let request = tcp(MACS[1], (CLIENT, 5000), (rip(11), 80), ACK, b"the question");
    for kind in [[3, 1], [3, 4], [11, 0], [12, 0], [8, 0], [5, 1]] {
        all.push((WAN, icmp_error(WAN, client, vip, kind, &reply)));
        all.push((LAN, icmp_error(LAN, server, client, kind, &request)));
    }
    let mut fragment = all[0].1.clone();
    fragment[20] = 0x20;
    fix_ip(&mut fragment);
    all.push((WAN, fragment));
    all.push((WAN, ipv4(WAN, client, vip, 4, &reply[14..])));
    all.push((WAN, ipv4(WAN, client, vip, 132, &[0; 40])));
    all.push((WAN, tcp(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, &[7; 1600])));
    let mut tagged = all[0].1.clone();
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    all.push((WAN, tagged));
    let mut arp = vec![0xff; 6];
    arp.extend([2, 9, 9, 9, 9, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend([0; 20]);
    all.push((WAN, arp));
    let mut ipv6 = MACS[0].0.to_vec();
    ipv6.extend([2, 9, 9, 9, 9, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
    ipv6.extend([0x20; 40]);
    all.push((WAN, ipv6));
    all
}

/// Changes a packet: its bytes, its length, or one half of it. Mostly makes the IPv4 header
/// checksum right again.
fn change(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    if random.one_of(3) {
        // Another client, so that connections are made and end.
        frame.get_mut(34..36).into_iter().for_each(|port| port[1] = random.below(256) as u8);
        return;
    }
    for _ in 0..random.below(5) {
        let at = random.below(frame.len());
        frame[at] = match random.below(4) {
            0 => 0,
            1 => 0xff,
            2 => frame[at] ^ (1 << random.below(8)),
            _ => random.below(256) as u8,
        };
    }
    match random.below(12) {
        0 => frame.truncate(random.below(frame.len())),
        1 => frame.resize(frame.len() + random.below(64), 0xaa),
        2 => {
            let at = random.below(frame.len().min(other.len()));
            frame.truncate(at);
            frame.extend(&other[at..]);
        }
        _ => {}
    }
    if !random.one_of(4)
        && frame.get(14).is_some_and(|first| frame.len() >= 14 + usize::from(first & 15) * 4)
        && frame.len() >= 34
        && frame[14] & 15 >= 5
    {
        fix_ip(frame);
    }
}

/// Checks a frame that the director sent: its source MAC, and checksum, length and TTL of its IPv4
/// header.
fn judge(port: PortId, frame: &[u8]) {
    assert_eq!(frame[6..12], MACS[port.index()].0, "wrong source MAC: {frame:02x?}");
    assert_eq!(frame[12..14], [8, 0], "not IPv4: {frame:02x?}");
    let header = 14 + usize::from(frame[14] & 15) * 4;
    assert_eq!(checksum::compute(&frame[14..header]), [0, 0], "wrong header checksum: {frame:02x?}");
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    assert!(total <= frame.len() - 14 && total <= 1500, "wrong length: {frame:02x?}");
    assert!(frame[22] > 0, "TTL 0: {frame:02x?}");
}

/// A change of rules.
fn edit(random: &mut Random, rig: &mut Rig, dests: &[DestId]) {
    let id = dests[random.below(dests.len())];
    let (weight, available) = (random.below(3) as i32, !random.one_of(4));
    rig.change_dest(id, |dest| (dest.weight, dest.available) = (weight, available));
}

#[test]
fn every_frame_is_counted_once_and_sent_frames_are_valid() {
    let (seed, frames) = (number("VIPLINE_FUZZ_SEED", 1), number("VIPLINE_FUZZ_FRAMES", 30_000));
    println!("seed {seed}, {frames} frames");
    let mut rig = Rig::with_capacity(CAPACITY);
    let mut dests = Vec::new();
    for (port, method) in METHODS {
        let service = rig.service_with(TCP, port, Kind::Wlc, |spec| {
            spec.persistence = if port == 82 { persistence(60) } else { None };
        });
        dests.extend([11, 12].map(|n| rig.dest(service, n, port, method, 1)));
    }
    let service = rig.service(UDP, 53, Kind::Rr);
    dests.push(rig.dest(service, 11, 53, Method::Masquerade, 1));

    let templates = templates();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut done = 0;
    while done < frames {
        let ports = [WAN, LAN];
        let port = ports[random.below(2)];
        let burst: Vec<Vec<u8>> = (0..=random.below(40))
            .map(|_| {
                let from_here: Vec<_> = templates.iter().filter(|(at, _)| *at == port).collect();
                let mut frame = from_here[random.below(from_here.len())].1.clone();
                let other = &templates[random.below(templates.len())].1;
                change(&mut random, &mut frame, other);
                frame
            })
            .collect();
        done += burst.len() as u64;
        let out = rig.burst(port, &burst);
        for (port, frame) in &out.sent {
            judge(*port, frame);
        }
        rig.assert_accounted();
        assert!(rig.connections() <= CAPACITY);
        if random.one_of(50) {
            edit(&mut random, &mut rig, &dests);
        }
        if random.one_of(20) {
            let ticks = random.below(2000) as u32;
            rig.wait_ticks(ticks);
        }
    }
    assert!(
        rig.stats.created.get() > frames / 100,
        "too few connections were made: {}",
        rig.stats.created.get()
    );
    assert!(
        rig.stats.transmitted.get() > frames / 10,
        "too few packets were sent: {}",
        rig.stats.transmitted.get()
    );
    // All connections end.
    rig.wait(1000);
    rig.assert_accounted();
    assert_eq!(rig.connections(), 0, "connections that never end");
    for dest in dests {
        assert_eq!(rig.load(dest), (0, 0, 0), "a destination counts connections that have ended");
    }
}
