//! The packet path neither allocates nor frees: counted over a million packets of mixed work.
//!
//! The allocator counts only what the measuring thread does. Frames live in an arena and go round, as
//! packet buffers do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rig/counting.rs"]
mod counting;
mod rig;

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
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::ServiceKey;
use rig::arena::Slot;
use rig::*;
use sched::Kind;

/// Ports whose frames come from templates and go back to the arena.
struct Loop {
    free: Vec<Slot>,
    templates: Vec<(PortId, Vec<u8>)>,
    next: usize,
    sent: u64,
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
            // Every eighth round of templates is another client: connections come and go.
            let client = (self.next / self.templates.len() / 8) as u16;
            if port == WAN && bytes.len() > 40 && bytes[12..14] == [8, 0] && client % 4 == 3 {
                slot.bytes_mut()[34..36].copy_from_slice(&(10_000 + client).to_be_bytes());
            }
            self.next += 1;
            burst.push(slot);
        }
    }

    fn transmit(&mut self, _: PortId, burst: &mut Burst<Slot>) {
        self.sent += burst.len() as u64;
        self.give_back(burst);
    }

    fn to_host(&mut self, frame: HostFrame<Slot>) -> Result<(), Slot> {
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

/// Requests and replies of every method, newcomers, errors, drops, and what is Linux's.
fn templates() -> Vec<(PortId, Vec<u8>)> {
    let mut all = Vec::new();
    for port in [80, 81, 82, 83] {
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
    all
}

/// Port 83 bears the mark 1, after a look at many other rules.
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

#[test]
fn a_million_packets_allocate_nothing() {
    let mut rig = Rig::new();
    for (port, method) in [(80, Method::Masquerade), (81, Method::DirectRoute), (82, Method::Tunnel)] {
        let service = rig.service(TCP, port, Kind::Wlc);
        rig.dest(service, 11, port, method, 1);
        rig.dest(service, 12, port, method, 0);
    }
    let full = rig.service(UDP, 53, Kind::Rr);
    rig.dest(full, 11, 53, Method::FullNat, 1);
    rig.service(TCP, 99, Kind::Rr);
    // Port 83 is a mark's.
    let marked = rig.service_with(TCP, 0, Kind::Lblcr, |spec| spec.key = ServiceKey::Mark(1));
    let marked = rig.dest(marked, 11, 0, Method::Masquerade, 1);

    let io = Loop { free: Slot::arena(256), templates: templates(), next: 0, sent: 0 };
    rig.master.set_marks(Arc::new(marks()));
    let (_publisher, mut worker) = rig.over(io, 4096);
    let (stats, mut now) = (worker.stats().clone(), rig.now);
    worker.io_mut().free.reserve(256);
    for _ in 0..100 {
        worker.poll(now);
    }

    let calls = counting::calls(|| {
        while stats.received.get() < 1_000_000 {
            now = now.plus(3);
            worker.poll(now);
        }
    });
    assert_eq!(calls, 0, "calls of the allocator");
    assert!(stats.created.get() > 1000 && stats.expired.get() > 1000);
    assert!(stats.icmp_sent.get() > 0 && stats.host.get() > 0 && stats.dropped() > 0);
    let of_mark = stats.dest(marked).map_or(0, |dest| dest.conns.get());
    assert!(of_mark > 100, "the mark's service was used");
    assert!(worker.io_mut().sent > 500_000);
}
