//! FULLNAT's local ports. Each serves one connection of each real server's port. The last free one
//! is found. If none is free, a connection that never led to anything gives its port.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::net::Ipv4Addr;

use dataplane::local::PORTS;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::ServiceId;
use dataplane::verdict::DropReason;
use sched::Kind;

use crate::rig::*;

const LIP2: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 201);

/// Leaves a local address this many ports, from 1024 on.
fn leave(rig: &Rig, slot: usize, ports: u16) {
    let local = rig.snapshot().locals.get(slot).unwrap().clone().unwrap();
    local.leave_to_linux(Some(1024 + ports..=65_535));
    assert_eq!(local.ports(), u32::from(ports));
}

fn failures(rig: &Rig, slot: usize) -> u64 {
    rig.snapshot().locals.get(slot).unwrap().as_ref().unwrap().exhausted()
}

fn in_use(rig: &Rig, slot: usize) -> u64 {
    rig.snapshot().locals.get(slot).unwrap().as_ref().unwrap().in_use()
}

fn service(rig: &mut Rig, protocol: u8, port: u16, servers: &[u8]) -> ServiceId {
    let locals = rig.snapshot().locals.iter().filter(|(_, local)| local.is_some()).count() as u32;
    let service = rig.service_with(protocol, port, Kind::Rr, |spec| spec.locals = (0..locals).collect());
    for server in servers {
        rig.dest(service, *server, port, Method::FullNat, 1);
    }
    service
}

/// A client for each number.
fn client(n: u32) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from_bits(0xc0a8_0000 + n / 40_000), 2000 + (n % 40_000) as u16)
}

/// Sends a client's packet. Returns the local address and port and the real server, if it reaches
/// one.
fn send(rig: &mut Rig, n: u32, port: u16, flags: u8) -> Option<((Ipv4Addr, u16), Ipv4Addr)> {
    let frame = tcp(MACS[0], client(n), (VIP, port), flags, b"");
    let out = rig.put(WAN, &frame);
    let (_, frame) = out.sent.first().filter(|(port, _)| *port == LAN)?;
    let seen = read(frame);
    Some((seen.src, seen.dst.0))
}

/// Makes a connection with more packets than a handshake.
fn talk(rig: &mut Rig, n: u32, port: u16) -> Option<(Ipv4Addr, u16)> {
    let (local, _) = send(rig, n, port, SYN)?;
    for _ in 0..2 {
        assert_eq!(send(rig, n, port, ACK).unwrap().0, local);
    }
    Some(local)
}

#[test]
fn a_port_serves_one_connection_of_each_real_server_port_and_protocol() {
    let mut rig = Rig::new();
    leave(&rig, 0, 100);
    service(&mut rig, TCP, 80, &[11, 12]);
    service(&mut rig, TCP, 81, &[11]);
    let dns = service(&mut rig, UDP, 80, &[11]);
    let mut ends = HashSet::new();
    for n in 0..200 {
        let (local, server) = send(&mut rig, n, 80, SYN).unwrap();
        assert!(local.0 == LIP && ends.insert((TCP, server, 80, local.1)));
        if n < 100 {
            let (local, server) = send(&mut rig, n, 81, SYN).unwrap();
            assert!(ends.insert((TCP, server, 81, local.1)));
            let datagram = udp(MACS[0], client(n), (VIP, 80), b"");
            let seen = rig.put(WAN, &datagram).seen();
            assert!(ends.insert((UDP, seen.dst.0, 80, seen.src.1)), "{dns:?}");
        }
    }
    assert_eq!((rig.connections(), rig.drops(DropReason::NoLocalPort), failures(&rig, 0)), (400, 0, 0));
    assert_eq!((in_use(&rig, 0), rig.stats.displaced.get()), (400, 0));
    rig.wait(400);
    assert_eq!((rig.connections(), in_use(&rig, 0)), (0, 0));
    rig.assert_accounted();
}

#[test]
fn if_all_ports_are_taken_only_half_open_connections_make_room() {
    let mut rig = Rig::new();
    leave(&rig, 0, 100);
    service(&mut rig, TCP, 80, &[11]);
    let standing: Vec<_> = (0..50).map(|n| talk(&mut rig, n, 80).unwrap()).collect();
    for n in 100..400 {
        assert!(send(&mut rig, n, 80, SYN).is_some(), "half-open connection {n}");
    }
    assert_eq!((rig.connections(), rig.stats.displaced.get(), failures(&rig, 0)), (100, 250, 0));
    assert_eq!(in_use(&rig, 0), 100);
    // New clients are served, and replies reach them.
    for n in 400..440 {
        let local = talk(&mut rig, n, 80).unwrap();
        let reply = tcp(MACS[1], (rip(11), 80), local, SYN | ACK, b"");
        assert_eq!(rig.put(LAN, &reply).seen().dst, client(n));
    }
    for (n, local) in standing.into_iter().enumerate() {
        assert_eq!(send(&mut rig, n as u32, 80, ACK).unwrap().0, local, "connection {n} kept its port");
    }
    // No other connection makes room while all have traffic.
    let before = rig.stats.displaced.get();
    let served = (500..600).filter(|n| talk(&mut rig, *n, 80).is_some()).count();
    assert_eq!((served, rig.stats.displaced.get() - before), (10, 10));
    assert_eq!((rig.drops(DropReason::NoLocalPort), failures(&rig, 0)), (90, 90));
    assert_eq!(rig.connections(), 100);
    rig.assert_accounted();
}

#[test]
fn the_last_free_ports_are_found() {
    let mut rig = Rig::with_capacity(PORTS + 100);
    service(&mut rig, TCP, 80, &[11]);
    let mut locals = HashSet::new();
    for n in 0..PORTS {
        assert!(locals.insert(talk(&mut rig, n, 80).unwrap()), "a port was given twice");
    }
    assert_eq!(talk(&mut rig, PORTS, 80), None);
    let mut freed = HashSet::new();
    for n in [1, 30_000, 64_000] {
        let (local, _) = send(&mut rig, n, 80, ACK).unwrap();
        freed.insert(local);
        rig.put(LAN, &tcp(MACS[1], (rip(11), 80), local, RST, b"")).one();
    }
    rig.wait(11);
    assert_eq!(rig.connections(), PORTS - 3);
    // Each second a few clients connect, for 15 seconds.
    let mut found = Vec::new();
    for n in 0..150 {
        rig.wait_ticks(10);
        found.extend(talk(&mut rig, PORTS + 10 + n, 80));
    }
    // Nobody is ended for a newcomer before these are found.
    assert_eq!(found[..3].iter().copied().collect::<HashSet<_>>(), freed);
    assert_eq!((found.len() > 3, rig.connections()), (true, PORTS));
    assert_eq!(rig.stats.displaced_silent.get(), found.len() as u64 - 3);
    rig.assert_accounted();
}

#[test]
fn local_addresses_take_turns_even_if_the_number_of_connections_stays_the_same() {
    let mut rig = Rig::new();
    rig.master().set_local(1, LIP2);
    service(&mut rig, TCP, 80, &[11]);
    let mut shares: BTreeMap<Ipv4Addr, u32> = BTreeMap::new();
    for n in 0..100 {
        let (local, _) = send(&mut rig, n, 80, SYN).unwrap();
        *shares.entry(local.0).or_default() += 1;
        // Each connection ends before the next one begins.
        rig.put(LAN, &tcp(MACS[1], (rip(11), 80), local, RST, b"")).one();
        rig.wait(11);
        assert_eq!(rig.connections(), 0);
    }
    assert_eq!(shares, [(LIP, 50), (LIP2, 50)].into());
}

#[test]
fn a_failure_counts_only_if_no_address_has_a_port() {
    let mut rig = Rig::new();
    rig.master().set_local(1, LIP2);
    leave(&rig, 0, 10);
    leave(&rig, 1, 30);
    service(&mut rig, TCP, 80, &[11]);
    let served = (0..40).filter(|n| talk(&mut rig, *n, 80).is_some()).count();
    assert_eq!((served, failures(&rig, 0), failures(&rig, 1)), (40, 0, 0));
    assert_eq!((in_use(&rig, 0), in_use(&rig, 1)), (10, 30));
    assert!((40..45).all(|n| talk(&mut rig, n, 80).is_none()));
    assert_eq!((failures(&rig, 0), failures(&rig, 1), rig.drops(DropReason::NoLocalPort)), (5, 5, 5));
}

#[test]
fn ports_left_to_linux_are_never_used() {
    let mut rig = Rig::with_capacity(70_000);
    let local = rig.snapshot().locals.get(0).unwrap().clone().unwrap();
    local.leave_to_linux(Some(32_768..=60_999));
    service(&mut rig, TCP, 80, &[11]);
    for n in 0..local.ports() + 1000 {
        let (end, _) = send(&mut rig, n, 80, SYN).unwrap();
        assert!(!(32_768..=60_999).contains(&end.1));
    }
    assert_eq!((rig.connections(), rig.stats.displaced.get()), (local.ports(), 1000));
    local.leave_to_linux(Some(0..=65_535));
    assert_eq!(send(&mut rig, 69_000, 80, SYN), None);
    assert_eq!(rig.drops(DropReason::NoLocalPort), 1);
    rig.assert_accounted();
}

#[test]
fn a_template_outlives_the_ports_of_its_connections() {
    let mut rig = Rig::new();
    leave(&rig, 0, 5);
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| spec.persistence = persistence(300));
    for server in 11..14 {
        rig.dest(service, server, 80, Method::FullNat, 1);
    }
    let first = rig.talk(5000, 80);
    for cport in 5001..5040 {
        assert_eq!(rig.syn_to(cport, 80), first, "the same client goes to the same real server");
    }
    assert_eq!((rig.connections(), rig.stats.displaced.get()), (6, 35));
    assert_eq!(rig.templates().len(), 1);
    rig.tcp(5000, 80, ACK).one();
    rig.assert_accounted();
}

#[test]
fn a_silent_connection_keeps_its_port_while_another_port_is_free() {
    let mut rig = Rig::new();
    leave(&rig, 0, 1000);
    service(&mut rig, TCP, 80, &[11]);
    for n in 0..1000 {
        talk(&mut rig, n, 80).unwrap();
    }
    let (free, _) = send(&mut rig, 500, 80, ACK).unwrap();
    rig.put(LAN, &tcp(MACS[1], (rip(11), 80), free, RST, b"")).one();
    rig.wait(70);
    assert_eq!(rig.connections(), 999);
    assert_eq!(talk(&mut rig, 2000, 80), Some(free));
    assert_eq!((rig.stats.displaced.get(), rig.connections()), (0, 1000));
    // Now no port is free.
    assert!(talk(&mut rig, 2001, 80).is_some());
    assert_eq!((rig.stats.displaced.get(), rig.stats.displaced_silent.get()), (1, 1));
    assert_eq!(rig.connections(), 1000);
    rig.assert_accounted();
}

#[test]
fn clients_still_get_resets_after_a_finished_connection_gave_its_port() {
    let mut rig = Rig::new();
    leave(&rig, 0, 10);
    service(&mut rig, TCP, 80, &[11]);
    for n in 0..10 {
        let local = talk(&mut rig, n, 80).unwrap();
        send(&mut rig, n, 80, FIN | ACK).unwrap();
        rig.put(LAN, &tcp(MACS[1], (rip(11), 80), local, FIN | ACK, b"")).one();
    }
    rig.wait(2);
    assert!(talk(&mut rig, 100, 80).is_some());
    assert_eq!(rig.stats.displaced.get(), 1, "only the connection in TIME_WAIT was displaced");
    rig.tcp(5000, 80, ACK).to_host();
    assert_eq!(rig.drops(DropReason::Stray), 0);
    rig.assert_accounted();
}

/// As in a full table.
#[test]
fn a_port_with_little_traffic_is_given_up_after_ten_seconds() {
    let mut rig = Rig::with_capacity(256);
    leave(&rig, 0, 100);
    service(&mut rig, TCP, 80, &[11]);
    for n in 0..100 {
        assert!(talk(&mut rig, n, 80).is_some(), "{n}");
    }
    assert_eq!(send(&mut rig, 1000, 80, SYN), None, "all have just been heard of");
    rig.wait(11);
    for n in 2000..2010 {
        assert!(talk(&mut rig, n, 80).is_some(), "{n}");
    }
    rig.assert_accounted();
}

/// A full table makes room first; then another port is found for a connection whose port is taken.
#[test]
fn a_taken_port_does_not_keep_newcomers_out_of_a_full_table() {
    let mut rig = Rig::with_capacity(256);
    leave(&rig, 0, 100);
    service(&mut rig, TCP, 80, &[11, 12, 13]);
    for n in 0..230 {
        assert!(talk(&mut rig, n, 80).is_some(), "{n}");
    }
    for n in 230..256 {
        assert!(send(&mut rig, n, 80, SYN).is_some(), "{n}");
    }
    rig.wait(2);
    // Of 300 ports 230 are kept, so the cursors are soon at those that are taken.
    for n in 1000..1300 {
        assert!(send(&mut rig, n, 80, SYN).is_some(), "{n}: {}", rig.drops(DropReason::ReplyTaken));
    }
    assert_eq!((rig.drops(DropReason::ReplyTaken), rig.connections()), (0, 256));
    rig.assert_accounted();
}
