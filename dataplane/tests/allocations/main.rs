//! The packet path neither allocates nor frees. This test counts calls of the allocator over a
//! million packets of mixed work.
//!
//! The allocator counts only the calls of the measuring thread. Frames are in an arena and are used
//! again and again, like packet buffers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arena;
mod counting;
#[allow(dead_code, reason = "the rig of many tests, of which these use a part")]
#[path = "../rig/mod.rs"]
mod rig;
mod syn_flood;

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::io::Burst;
use dataplane::io::Frame;
use dataplane::io::HostFrame;
use dataplane::io::PacketIo;
use dataplane::io::PortId;
use dataplane::marks::Marks;
use dataplane::marks::rule::Action;
use dataplane::marks::rule::Net;
use dataplane::marks::rule::Ports;
use dataplane::marks::rule::Rule;
use dataplane::marks::rule::Side;
use dataplane::marks::rule::Term;
use dataplane::mem::MemDirector;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::Selector;
use sched::Kind;

use crate::arena::Slot;
use crate::rig::*;

/// Ports whose frames are made from templates and go back to the arena.
struct Loop {
    free: Vec<Slot>,
    templates: Vec<(PortId, Vec<u8>)>,
    next: usize,
    sent: u64,
    /// The local port of the FULLNAT connection that was forwarded last.
    local_port: [u8; 2],
    /// How often the worker asked for frames of Linux. Every other time it gets one.
    asked: u64,
}

impl Loop {
    fn give_back(&mut self, frames: &mut Burst<Slot>) {
        self.free.extend(frames.drain(..));
    }
}

impl PacketIo for Loop {
    type Frame = Slot;

    fn ports(&self) -> u16 {
        2
    }

    fn receive(&mut self, port: PortId, burst: &mut Burst<Slot>) {
        for _ in 0..32 {
            let (to, bytes) = &self.templates[self.next % self.templates.len()];
            if *to != port {
                break;
            }
            let Some(mut slot) = self.free.pop() else { return };
            slot.fill(bytes);
            // Every eighth round of templates has another client, so connections are made and end.
            let client = (self.next / self.templates.len() / 8) as u16;
            if port == WAN && bytes.len() > 40 && bytes[12..14] == [8, 0] && client % 4 == 3 {
                slot.bytes_mut()[34..36].copy_from_slice(&(10_000 + client).to_be_bytes());
            }
            if port == LAN && bytes[30..34] == LIP.octets() {
                slot.bytes_mut()[36..38].copy_from_slice(&self.local_port);
            }
            self.next += 1;
            burst.push(slot);
        }
    }

    fn transmit(&mut self, _: PortId, burst: &mut Burst<Slot>) {
        self.sent += burst.len() as u64;
        for frame in burst.iter().map(Frame::bytes) {
            if frame[23] == TCP && frame[26..30] == LIP.octets() {
                self.local_port.copy_from_slice(&frame[34..36]);
            }
        }
        self.give_back(burst);
    }

    fn to_host(&mut self, frame: HostFrame<Slot>) -> Result<(), Slot> {
        self.free.push(frame.frame);
        Ok(())
    }

    fn from_host(&mut self) -> Option<(PortId, Slot)> {
        self.asked += 1;
        let mut slot = if self.asked.is_multiple_of(2) { self.free.pop()? } else { return None };
        slot.fill(&self.templates[0].1);
        Some((WAN, slot))
    }

    fn release(&mut self, burst: &mut Burst<Slot>) {
        self.give_back(burst);
    }
}

/// Requests and replies of every method, new clients, errors, packets to drop, and packets for
/// Linux.
fn templates() -> Vec<(PortId, Vec<u8>)> {
    let mut all = Vec::new();
    for port in [80, 81, 82, 83, 84] {
        for flags in [SYN, ACK, ACK, FIN | ACK] {
            all.push((WAN, tcp(MACS[0], (CLIENT, 5000), (VIP, port), flags, b"data")));
        }
    }
    all.push((WAN, udp(MACS[0], (CLIENT, 6000), (VIP, 53), b"query")));
    all.push((WAN, tcp(MACS[0], (CLIENT, 7000), (VIP, 99), SYN, b"")));
    all.push((WAN, tcp_ttl(MACS[0], (CLIENT, 7001), (VIP, 80), SYN, b"", 1)));
    all.push((WAN, tcp(MACS[0], (CLIENT, 7002), (VIP, 7777), SYN, b"")));
    all.push((WAN, vec![0xff; 60]));
    all.push((WAN, tcp(MACS[0], (CLIENT, 7003), (VIP, 80), SYN, b"")[..30].to_vec()));
    for _ in 0..4 {
        all.push((LAN, tcp(MACS[1], (rip(11), 80), (CLIENT, 5000), ACK, b"data")));
    }
    // To the local port that FULLNAT took.
    for flags in [SYN | ACK, ACK] {
        all.push((LAN, tcp(MACS[1], (rip(11), 84), (LIP, 0), flags, b"data")));
    }
    all
}

/// Packets to port 83 get mark 1. Many other rules come before.
fn marks() -> Marks {
    let rule = |ports: (u16, u16), value| Rule {
        source: None,
        destination: Some(Term { value: Net { addr: VIP, mask: Ipv4Addr::BROADCAST }, negated: false }),
        ingress: None,
        protocol: None,
        ports: vec![Term { value: Ports { side: Side::Destination, ranges: vec![ports] }, negated: false }],
        action: Action::Set { value, mask: u32::MAX },
    };
    let rules = (1000..1500).map(|port| rule((port, port + 5), 9)).chain([rule((83, 83), 1)]);
    Marks::compile(&rules.collect::<Vec<_>>()).unwrap()
}

/// A rig over `io` with room for `capacity` connections.
fn rig_over<Io: PacketIo>(io: Io, capacity: u32) -> Rig<Io> {
    let (rules, ends) = rules_for(1);
    Rig::of(MemDirector::over(rules, ends, size(capacity), [io]))
}

/// The packets come in parts. The rules change between the parts.
const CHANGES: u8 = 20;

#[test]
fn a_million_packets_cause_no_call_of_the_allocator() {
    let mut free = Slot::arena(256);
    free.reserve(256);
    let io = Loop { free, templates: templates(), next: 0, sent: 0, local_port: [0; 2], asked: 0 };
    let mut rig = rig_over(io, 4096);
    for (port, method) in [(80, Method::Masquerade), (81, Method::DirectRoute), (82, Method::Tunnel)] {
        let service = rig.service(TCP, port, Kind::Wlc);
        rig.dest(service, 11, port, method, 1);
        rig.dest(service, 12, port, method, 0);
    }
    let full = rig.service(UDP, 53, Kind::Rr);
    rig.dest(full, 11, 53, Method::FullNat, 1);
    rig.service(TCP, 99, Kind::Rr);
    let full = rig.service(TCP, 84, Kind::Wrr);
    let fullnat = rig.dest(full, 11, 84, Method::FullNat, 1);
    // Port 83 has a service by mark.
    let marked = rig.service_with(TCP, 0, Kind::Lblcr, |spec| spec.key = Selector::Mark(1));
    let marked = rig.dest(marked, 11, 0, Method::Masquerade, 1);
    rig.master().set_marks(Arc::new(marks()));
    rig.publish();
    for _ in 0..100 {
        rig.poll();
    }

    // Control allocates. The worker that follows must not allocate, even if a list outgrows its
    // scheduler's state.
    let (mut added, mut calls) = (None, 0);
    for change in 1..=CHANGES {
        rig.weight(full, fullnat, i32::from(change % 3));
        if let Some(old) = added.replace(rig.dest(full, 20 + change, 84, Method::FullNat, 1))
            && change.is_multiple_of(2)
        {
            rig.delete(full, old);
        }
        calls += counting::calls(|| {
            while rig.stats.received.get() < u64::from(change) * 1_000_000 / u64::from(CHANGES) {
                rig.pass(3);
                rig.poll();
            }
        });
        assert!(rig.director.rules.settled(), "the worker has not taken the newest rules");
        rig.director.rules.reclaim();
        assert_eq!(rig.director.rules.retired(), 0, "old snapshots were not freed");
    }
    assert_eq!(calls, 0, "calls of the allocator");
    let stats = &rig.stats;
    let dest = stats.dest(fullnat).unwrap();
    assert!(
        dest.conns.get() > 100 && dest.out_pkts.get() > 100,
        "too few FULLNAT packets in both directions"
    );
    assert!(stats.from_host.get() > 10_000, "too few frames of Linux");
    assert!(stats.created.get() > 1000 && stats.expired.get() > 1000);
    assert!(stats.icmp_sent.get() > 0 && stats.host.get() > 0 && stats.dropped() > 0);
    let of_mark = stats.dest(marked).map_or(0, |dest| dest.conns.get());
    assert!(of_mark > 100, "the service by mark was hardly used");
    assert!(rig.io().sent > 500_000);
    rig.assert_accounted();
}
