//! First packets of connections: other packets in the same burst, and a full table.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::Kind;

use crate::rig::*;

fn syn(cport: u16, port: u16) -> Vec<u8> {
    tcp(MACS[0], (CLIENT, cport), (VIP, port), SYN, b"")
}

/// How many of `count` SYNs each real server gets with `lt`. Real server 1 has the most traffic,
/// real server 2 none, and the others have something between.
fn shares_of_lt(count: u8, together: bool) -> Vec<u64> {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Lt);
    let dests: Vec<_> = (1..=count).map(|n| rig.dest(service, n, 80, Method::Masquerade, 1)).collect();
    for cport in 0..u16::from(count) {
        rig.syn_to(4000 + cport, 80);
    }
    for (n, dest) in dests.iter().enumerate() {
        rig.stats.set_traffic(*dest, [2000, 0, 1000][n.min(2)]);
    }
    rig.stats.tick_rates();
    rig.wait(1);
    let before: Vec<_> = dests.iter().map(|dest| rig.stats.dest(*dest).unwrap().conns.get()).collect();
    let frames: Vec<_> = (0..6).map(|n| syn(5000 + n, 80)).collect();
    if together {
        rig.burst(WAN, &frames);
    } else {
        frames.iter().for_each(|frame| drop(rig.put(WAN, frame)));
    }
    let conns = dests.iter().map(|dest| rig.stats.dest(*dest).unwrap().conns.get());
    conns.zip(before).map(|(after, before)| after - before).collect()
}

/// `lt` counts connections that were made since the last tick as average ones. That must include
/// those of the same burst.
#[test]
fn lt_counts_connections_of_the_same_burst() {
    assert_eq!(shares_of_lt(3, true), shares_of_lt(3, false));
}

#[test]
fn lt_counts_connections_of_the_same_burst_with_many_destinations() {
    assert_eq!(shares_of_lt(20, true), shares_of_lt(20, false));
}

/// With many destinations the scheduler keeps scores. Counts that change at the end of a burst must
/// change the scores.
#[test]
fn lt_with_many_destinations_knows_the_connections_of_the_last_burst() {
    let picks = |together: bool| {
        let mut rig = Rig::new();
        let service = rig.service(TCP, 80, Kind::Lt);
        let dests: Vec<_> = (1..=20).map(|n| rig.dest(service, n, 80, Method::Masquerade, 1)).collect();
        // All except two are much busier.
        for dest in &dests {
            rig.stats.set_traffic(*dest, 100_000);
        }
        rig.stats.set_traffic(dests[0], 0);
        rig.stats.set_traffic(dests[1], 1);
        rig.stats.tick_rates();
        rig.wait(1);
        let frames: Vec<_> = (0..2).map(|n| syn(5000 + n, 80)).collect();
        if together {
            rig.burst(WAN, &frames);
        } else {
            frames.iter().for_each(|frame| drop(rig.put(WAN, frame)));
        }
        (0..6).map(|n| rig.syn_to(6000 + n, 80)).collect::<Vec<_>>()
    };
    assert_eq!(picks(true), picks(false));
}

/// If a connection cannot be completed, its destination must not count it.
#[test]
fn a_taken_reply_key_overloads_no_destination() {
    let mut rig = Rig::new();
    let one = rig.service(TCP, 80, Kind::Rr);
    let other = rig.service(TCP, 81, Kind::Rr);
    rig.dest(one, 11, 8000, Method::Masquerade, 1);
    let limited = rig.dest(other, 11, 8000, Method::Masquerade, 1);
    rig.change_dest(limited, |info| info.upper = 4);
    assert_eq!(rig.syn_to(5000, 80), 11);
    for cport in 5001..5004 {
        assert_eq!(rig.syn_to(cport, 81), 11);
    }
    rig.tcp(5000, 81, SYN).nothing();
    assert_eq!(rig.drops(DropReason::ReplyTaken), 1);
    assert_eq!((rig.load(limited), rig.connections()), ((3, 0, 0), 4));
    assert_eq!(rig.stats.dest(limited).unwrap().overloaded.get(), 0, "3 of 4");
    assert_eq!(rig.syn_to(5004, 81), 11, "the fourth of four connections is allowed");
}

/// A service with one real server, and a table that is full of half-open connections.
fn full_of_half_open() -> Rig {
    let mut rig = Rig::with_capacity(50);
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    for cport in 5000..5050 {
        assert_eq!(rig.syn_to(cport, 80), 11);
    }
    rig
}

/// In a table full of half-open connections a new client is served, also if its service is
/// persistent.
#[test]
fn in_a_full_table_a_new_persistent_client_gets_a_template_too() {
    let mut rig = full_of_half_open();
    let sticky = rig.service_with(TCP, 443, Kind::Rr, |spec| spec.persistence = persistence(3600));
    rig.dest(sticky, 12, 443, Method::Masquerade, 1);
    assert_eq!(rig.stats.half_open.get(), 50);
    assert_eq!(rig.syn_to(6000, 443), 12);
}

/// SYNs from random addresses to a persistent service must not fill the table with templates that
/// have no connections.
#[test]
fn a_flood_at_a_persistent_service_does_not_fill_the_table_with_templates() {
    let mut rig = full_of_half_open();
    let sticky = rig.service_with(TCP, 443, Kind::Rr, |spec| spec.persistence = persistence(3600));
    rig.dest(sticky, 12, 443, Method::Masquerade, 1);
    for n in 0..200 {
        let from = Ipv4Addr::from_bits(0x1400_0000 + n);
        rig.put(WAN, &tcp(MACS[0], (from, 1234), (VIP, 443), SYN, b""));
    }
    rig.wait(130);
    let templates = rig.templates().len();
    assert_eq!(rig.syn_to(7000, 80), 11, "two minutes after the flood {templates} of 50 slots are templates");
}

/// No connection may end for a SYN that is refused anyway.
#[test]
fn no_connection_makes_room_for_a_refused_packet() {
    let mut rig = full_of_half_open();
    rig.service(TCP, 81, Kind::Rr);
    for cport in 5000..5040 {
        rig.tcp(cport, 81, SYN);
    }
    assert_eq!((rig.stats.displaced.get(), rig.connections()), (0, 50));
}

/// Linux has no full table, so it always tells clients that a service has no destination.
#[test]
fn clients_are_told_of_no_destination_also_in_a_full_table() {
    let mut rig = full_of_half_open();
    rig.service(TCP, 81, Kind::Rr);
    for cport in 5000..5050 {
        rig.tcp(cport, 80, ACK).one();
    }
    let out = rig.tcp(6000, 81, SYN);
    assert_eq!((out.sent.len(), rig.drops(DropReason::NoDestination)), (1, 1));
}

/// Client and real server are behind the same port, so their packets can be in the same burst. They
/// had a connection before the director was restarted or took over. The client's packet makes the
/// connection again, and the real server's packet belongs to it.
#[test]
fn a_reply_in_the_burst_of_the_first_packet_is_translated() {
    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Rr);
    rig.dest(service, 11, 53, Method::Masquerade, 1);
    let ask = udp(MACS[0], (CLIENT, 6000), (VIP, 53), b"query");
    let answer = udp(MACS[0], (rip(11), 53), (CLIENT, 6000), b"answer");
    let out = rig.burst(WAN, &[ask, answer]);
    assert_eq!((out.sent.len(), out.host.len()), (2, 0));
    let to_client = out.sent.iter().find(|(port, _)| *port == WAN).unwrap();
    assert_eq!(read(&to_client.1).src, (VIP, 53));
}

/// As above, but the client uses its port again while the real server repeats its last packet.
#[test]
fn a_late_reply_in_the_burst_that_uses_a_port_again_is_translated() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.tcp(5000, 80, SYN).one();
    rig.reply(11, 80, 5000, SYN | ACK).one();
    rig.tcp(5000, 80, ACK).one();
    rig.reply(11, 80, 5000, FIN | ACK).one();
    rig.tcp(5000, 80, FIN | ACK).one();
    let again = syn(5000, 80);
    let late = tcp(MACS[0], (rip(11), 80), (CLIENT, 5000), FIN | ACK, b"");
    let out = rig.burst(WAN, &[again, late]);
    assert_eq!((out.sent.len(), out.host.len()), (2, 0));
}

/// Many clients come at once, after a director took over. The table has room for all of them, and
/// Linux would serve all.
#[test]
fn all_clients_of_a_storm_are_served_if_the_table_has_room() {
    let mut rig = Rig::with_capacity(4096);
    let service = rig.service(TCP, 80, Kind::Wlc);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    for n in 0..1000 {
        rig.inject(WAN, &syn(5000 + n, 80));
    }
    rig.settle();
    assert_eq!((rig.connections(), rig.drops(DropReason::SynFlood)), (1000, 0));
}

/// A flood at a service by mark is recognised too.
#[test]
fn floods_at_services_by_mark_are_held_back() {
    use dataplane::marks::Marks;
    use dataplane::marks::rule::{Action, Net, Rule, Term};
    use dataplane::snapshot::service::Selector;
    let mut rig = Rig::with_capacity(4096);
    let service = rig.service_with(TCP, 0, Kind::Rr, |spec| spec.key = Selector::Mark(1));
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    let rule = Rule {
        source: None,
        destination: Some(Term { value: Net { addr: VIP, mask: Ipv4Addr::BROADCAST }, negated: false }),
        ingress: None,
        protocol: None,
        ports: Vec::new(),
        action: Action::Set { value: 1, mask: u32::MAX },
    };
    rig.master().set_marks(std::sync::Arc::new(Marks::compile(&[rule]).unwrap()));
    rig.publish();
    for n in 0..20_000 {
        rig.inject(WAN, &syn(5000 + n, 80));
    }
    rig.settle();
    assert!(rig.drops(DropReason::SynFlood) > 0);
}
