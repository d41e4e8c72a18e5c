//! Timer records: each connection has one, they are due in time, and stale ones do not keep
//! connections out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

/// A director with one real server. Its time is not at a boundary of the wheel's slots, as in
/// practice.
fn rig(capacity: u32, persistent_for: Option<u32>) -> (Rig, DestId) {
    let mut rig = Rig::with_capacity(capacity);
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| {
        spec.persistence = persistent_for.and_then(persistence);
    });
    let dest = rig.dest(service, 11, 80, Method::DirectRoute, 1);
    rig.wait_ticks(7);
    (rig, dest)
}

#[test]
fn a_half_open_connection_has_one_record() {
    let (mut rig, _) = rig(4096, None);
    rig.tcp(5000, 80, SYN);
    let mut looked_at = 0;
    for _ in 0..6100 {
        rig.pass(1);
        looked_at += rig.poll();
    }
    assert_eq!((rig.connections(), looked_at), (0, 1));
}

#[test]
fn closed_connections_of_a_full_table_end_in_time() {
    let (mut rig, _) = rig(64, None);
    for cport in 5000..5064 {
        rig.tcp(cport, 80, SYN);
        rig.tcp(cport, 80, ACK);
    }
    assert_eq!(rig.connections(), 64);
    for cport in 5000..5064 {
        rig.tcp(cport, 80, RST);
    }
    rig.wait(12);
    assert_eq!(rig.connections(), 0, "CLOSE lasts 10 s");
}

#[test]
fn a_template_that_is_used_often_has_one_record() {
    let (mut rig, _) = rig(1024, Some(30));
    for cport in 0..1000 {
        rig.tcp(5000 + cport, 80, SYN);
    }
    assert_eq!((rig.connections(), rig.drops(DropReason::TableFull)), (1001, 0));
}

#[test]
fn short_connections_do_not_fill_the_wheel() {
    let (mut rig, _) = rig(1000, None);
    let mut peak = 0;
    // About fifty connections a second, and each stays ten seconds.
    for n in 0..8000 {
        let client = Ipv4Addr::from_bits(0x1400_0000 + n);
        for flags in [SYN, ACK, RST] {
            rig.put(WAN, &tcp(MACS[0], (client, 1234), (VIP, 80), flags, b""));
        }
        rig.wait_ticks(1 + n % 3);
        peak = peak.max(rig.connections());
    }
    assert!(peak <= 560, "{peak} connections at once");
    assert_eq!(rig.drops(DropReason::TableFull), 0);
}

/// Every poll brings full bursts, so no poll is idle. Connections must end as fast as they are
/// made.
fn full_bursts(ports: usize) {
    let (mut rig, _) = rig(60_000 * ports as u32, None);
    rig.tune(|tunables| tunables.tcp_timeouts = [1000; 11]);
    let mut n = 0_u32;
    let mut peak = 0;
    for _ in 0..6000 {
        rig.pass(1);
        for (port, mac) in [WAN, LAN].into_iter().zip(MACS).take(ports) {
            for _ in 0..32 {
                n += 1;
                let client = (Ipv4Addr::from_bits(0x1400_0000 + n / 60_000), (n % 60_000) as u16 + 1000);
                let frame = tcp(mac, client, (VIP, 80), SYN, b"");
                rig.inject(port, &frame);
            }
        }
        rig.poll();
        rig.out();
        peak = peak.max(rig.connections());
    }
    // The connections of ten seconds, of one slot, and of the polls that it takes to end them.
    let most = 32 * ports as u32 * 1050;
    assert!(peak <= most, "{peak} connections at once, more than {most}");
    assert_eq!(rig.drops(DropReason::TableFull), 0);
}

#[test]
fn connections_end_as_fast_as_full_bursts_of_one_port_make_them() {
    full_bursts(1);
}

#[test]
fn connections_end_as_fast_as_full_bursts_of_two_ports_make_them() {
    full_bursts(2);
}

#[test]
fn a_connection_in_an_old_slot_ends_after_the_clock_has_wrapped() {
    let (mut rig, _) = rig(1, None);
    let start = rig.now();
    rig.tcp(5000, 80, SYN);
    rig.wait(62);
    assert_eq!(rig.connections(), 0);
    // The clock goes to ten seconds after the start, but one wrap (497 days) later. The old
    // record's time is then in the future again.
    let left = (u32::MAX - rig.now().since(start).cast_unsigned()) + 1001;
    for part in [left / 3, left / 3, left - 2 * (left / 3)] {
        rig.pass(part);
        rig.settle();
    }
    rig.tcp(5001, 80, SYN);
    assert_eq!(rig.connections(), 1);
    rig.wait(200);
    assert_eq!(rig.connections(), 0);
}

/// Busy polls begin a batch and take one step each. Idle polls finish it.
#[test]
fn a_batch_that_a_busy_poll_began_ends_in_an_idle_one() {
    for busy in 0..4 {
        let (mut rig, _) = rig(256, None);
        for cport in 5000..5200 {
            rig.tcp(cport, 80, SYN);
        }
        // The connections end after 60 s. No timer is checked until then.
        rig.pass(6100);
        for _ in 0..busy {
            let frame = tcp(MACS[0], (Ipv4Addr::new(20, 0, 0, 1), 4000), (VIP, 81), SYN, b"");
            rig.inject(WAN, &frame);
            rig.poll();
        }
        let left = rig.connections();
        assert!(left > 64, "{left} connections left after {busy} busy polls");
        for _ in 0..8 {
            rig.poll();
        }
        assert_eq!(rig.connections(), 0, "after {busy} busy polls");
    }
}
