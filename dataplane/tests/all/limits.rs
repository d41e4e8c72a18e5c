//! Limits: thresholds, services without destinations, a full table.

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::Dest;
use sched::Edit;
use sched::Kind;

use crate::rig::*;

/// The same sequence as in Linux: `fo`, and `-x 4` for the heavier of two destinations.
#[test]
fn thresholds_have_the_kernels_hysteresis() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Fo);
    let b = rig.dest(service, 12, 80, Method::Masquerade, 1);
    let a = rig.dest(service, 11, 80, Method::Masquerade, 9);
    rig.change_dest(a, |info| info.upper = 4);
    let picks: Vec<_> = (0..6).map(|n| rig.syn_to(5000 + n, 80)).collect();
    assert_eq!(picks, [11, 11, 11, 11, 12, 12]);
    rig.reply(11, 80, 5000, RST);
    assert_eq!((rig.load(a), rig.syn_to(5006, 80)), ((3, 1, 0), 12), "a closed connection still counts");
    rig.wait(11);
    assert_eq!((rig.load(a), rig.syn_to(5007, 80)), ((3, 0, 0), 12), "3 of 4 are not below three quarters");
    rig.reply(11, 80, 5001, RST);
    rig.wait(11);
    assert_eq!((rig.load(a), rig.syn_to(5008, 80)), ((2, 0, 0), 11));
    assert_eq!(rig.load(b), (4, 0, 0));
}

#[test]
fn a_lower_threshold_replaces_three_quarters() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let a = rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.change_dest(a, |info| (info.upper, info.lower) = (4, 2));
    for cport in 5000..5004 {
        assert_eq!(rig.syn_to(cport, 80), 11);
    }
    for (cport, left, next) in [(5000, 3, 0), (5001, 2, 0), (5002, 1, 11)] {
        rig.reply(11, 80, cport, RST);
        rig.wait(11);
        rig.tcp(5003, 80, ACK);
        assert_eq!((rig.load(a).0, rig.syn_to(5100 + cport, 80)), (left, next));
    }
}

#[test]
fn a_threshold_does_not_affect_existing_connections() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let a = rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.change_dest(a, |info| info.upper = 1);
    assert_eq!((rig.syn_to(5000, 80), rig.syn_to(5001, 80)), (11, 0));
    rig.tcp(5000, 80, ACK).one();
}

#[test]
fn a_threshold_removed_or_raised_by_an_edit_lets_connections_in_at_once() {
    for upper in [0, 3] {
        let mut rig = Rig::new();
        let service = rig.service(TCP, 80, Kind::Rr);
        let a = rig.dest(service, 11, 80, Method::Masquerade, 1);
        rig.change_dest(a, |info| info.upper = 2);
        assert_eq!([5000, 5001, 5002].map(|cport| rig.syn_to(cport, 80)), [11, 11, 0]);
        // `ipvsadm -e … -x UPPER` changes the destination's facts, and the scheduler gets an edit.
        let dest = Dest { id: a, addr: rip(11).into(), port: 80, weight: 1, last_weight: 1 };
        let info = *rig.snapshot().dest(a).unwrap();
        rig.master().set_dest(a, dataplane::snapshot::dest::DestInfo { upper, ..info });
        rig.master().set_dests(service, vec![dest], Edit::updated(&[dest], &dest)).unwrap();
        rig.publish();
        assert_eq!(rig.syn_to(5003, 80), 11, "-x {upper}");
        assert_eq!(rig.syn_to(5004, 80), if upper == 0 { 11 } else { 0 });
    }
}

#[test]
fn without_a_destination_the_client_is_told_by_the_vip() {
    let mut rig = Rig::new();
    rig.service(TCP, 80, Kind::Rr);
    rig.service(UDP, 53, Kind::Wlc);
    let sent = tcp_ttl(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"", 9);
    let out = rig.put(WAN, &sent);
    let (port, frame) = out.one();
    let seen = read(frame);
    assert_eq!((port, seen.dst_mac, seen.src_mac), (WAN, GATEWAY.0, MACS[0].0));
    assert_eq!((seen.src.0, seen.dst.0, seen.protocol, seen.ttl, seen.tos), (VIP, CLIENT, 1, 64, 0xc0));
    assert_eq!(seen.payload[..2], [3, 3]);
    assert_eq!(seen.payload[8..], sent[14..], "the quote is the packet as it came");
    assert_eq!(dataplane::wire::checksum::compute(&seen.payload), [0, 0]);
    assert_eq!(rig.udp(5000, 53).seen().payload[..2], [3, 3]);
    assert_eq!((rig.drops(DropReason::NoDestination), rig.connections()), (2, 0));
    rig.assert_accounted();
}

#[test]
fn such_errors_are_rate_limited_by_client() {
    let mut rig = Rig::new();
    rig.service(TCP, 80, Kind::Rr);
    let told = (0..20).filter(|n| !rig.tcp(5000 + n, 80, SYN).sent.is_empty()).count();
    assert_eq!((told, rig.stats.icmp_suppressed.get(), rig.stats.icmp_sent.get()), (6, 14, 6));
    let other = tcp(MACS[0], (std::net::Ipv4Addr::new(192, 168, 9, 9), 5000), (VIP, 80), SYN, b"");
    rig.put(WAN, &other).one();
    rig.wait(1);
    rig.tcp(5000, 80, SYN).one();
    rig.tcp(5000, 80, SYN).nothing();
    assert_eq!(rig.drops(DropReason::NoDestination), 23);
    rig.assert_accounted();
}

#[test]
fn a_port_0_service_without_persistence_serves_nobody() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 0, Kind::Rr);
    rig.dest(service, 11, 0, Method::Masquerade, 1);
    assert_eq!(rig.tcp(5000, 80, SYN).seen().payload[..2], [3, 3]);
}

#[test]
fn a_full_table_drops_counts_and_recovers() {
    for method in [Method::Masquerade, Method::DirectRoute, Method::FullNat] {
        let mut rig = Rig::with_capacity(50);
        let service = rig.service(TCP, 80, Kind::Rr);
        let dest = rig.dest(service, 11, 80, method, 1);
        for cport in 5000..5050 {
            rig.talk(cport, 80);
        }
        for cport in 5050..5060 {
            rig.tcp(cport, 80, SYN).nothing();
        }
        assert_eq!((rig.drops(DropReason::TableFull), rig.connections(), rig.load(dest).0), (10, 50, 50));
        rig.wait(600);
        rig.tcp(5000, 80, ACK).one();
        rig.wait(310);
        assert_eq!((rig.connections(), rig.load(dest)), (1, (1, 0, 0)));
        for cport in 6000..6049 {
            assert_eq!(rig.syn_to(cport, 80), 11);
        }
        rig.assert_accounted();
    }
}

#[test]
fn only_half_open_connections_make_room() {
    for method in [Method::Masquerade, Method::DirectRoute, Method::FullNat] {
        let mut rig = Rig::with_capacity(50);
        let service = rig.service(TCP, 80, Kind::Wlc);
        let dest = rig.dest(service, 11, 80, method, 1);
        for cport in 5000..5025 {
            rig.talk(cport, 80);
        }
        for cport in 5025..5250 {
            assert_eq!(rig.syn_to(cport, 80), 11);
        }
        assert_eq!((rig.connections(), rig.load(dest)), (50, (50, 0, 0)));
        assert_eq!((rig.stats.displaced.get(), rig.stats.half_open.get()), (200, 25));
        for cport in 5000..5025 {
            rig.tcp(cport, 80, ACK).one();
        }
        rig.wait(61);
        assert_eq!((rig.connections(), rig.stats.half_open.get()), (25, 0));
        rig.assert_accounted();
    }
}

#[test]
fn a_persistent_connection_that_finds_no_room_leaves_its_template() {
    let mut rig = Rig::with_capacity(3);
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| spec.persistence = persistence(20));
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    for n in 0..2 {
        assert_eq!(rig.talk(5000 + n, 80), 11);
    }
    let picks: Vec<_> = (2..4).map(|n| rig.syn_to(5000 + n, 80)).collect();
    assert_eq!((picks, rig.load(dest)), (vec![0, 0], (2, 0, 1)));
    rig.wait(1000);
    assert_eq!((rig.connections(), rig.load(dest)), (0, (0, 0, 0)));
    rig.assert_accounted();
}

#[test]
fn a_second_connection_with_the_same_reply_is_dropped_until_the_first_is_over() {
    let mut rig = Rig::new();
    for port in [80, 81] {
        let service = rig.service(TCP, port, Kind::Rr);
        rig.dest(service, 11, 8080, Method::Masquerade, 1);
    }
    assert_eq!((rig.syn_to(5000, 80), rig.syn_to(5000, 81)), (11, 0));
    assert_eq!(rig.drops(DropReason::ReplyTaken), 1);
    rig.tcp(5000, 80, ACK);
    rig.reply(11, 8080, 5000, FIN | ACK);
    rig.tcp(5000, 80, FIN | ACK);
    assert_eq!(rig.tcp(5000, 81, SYN).seen().dst, (rip(11), 8080));
    assert_eq!(rig.reply(11, 8080, 5000, SYN | ACK).seen().src, (VIP, 81));
    assert_eq!(rig.connections(), 1);
    rig.assert_accounted();
}

#[test]
fn the_ack_of_a_handshake_that_made_room_does_not_go_to_linux() {
    for method in [Method::Masquerade, Method::DirectRoute, Method::FullNat] {
        let mut rig = Rig::with_capacity(10);
        let service = rig.service(TCP, 80, Kind::Wlc);
        rig.dest(service, 11, 80, method, 1);
        rig.tcp(4000, 80, ACK).to_host();
        for cport in 5000..5020 {
            assert_eq!(rig.syn_to(cport, 80), 11);
            rig.wait(1);
        }
        for flags in [ACK, FIN | ACK, RST] {
            rig.tcp(5000, 80, flags).nothing();
        }
        assert_eq!((rig.stats.displaced.get(), rig.drops(DropReason::Stray)), (10, 3));
        rig.tcp(5019, 80, ACK).one();
        // Packets to other ports go to Linux.
        rig.tcp(5000, 22, ACK).to_host();
        // The client tries again.
        assert_eq!(rig.syn_to(5000, 80), 11);
        rig.tcp(5000, 80, ACK).one();
        rig.wait(61);
        rig.tcp(5001, 80, ACK).to_host();
        rig.assert_accounted();
    }
}

#[test]
fn tcp_clients_still_get_resets_after_datagrams_made_room() {
    let mut rig = Rig::with_capacity(10);
    for (protocol, port) in [(TCP, 80), (UDP, 53)] {
        let service = rig.service(protocol, port, Kind::Wlc);
        rig.dest(service, 11, port, Method::Masquerade, 1);
    }
    for cport in 5000..5020 {
        rig.udp(cport, 53).one();
        rig.wait(1);
    }
    assert_eq!(rig.stats.displaced.get(), 10);
    rig.tcp(5000, 80, ACK).to_host();
    assert_eq!(rig.drops(DropReason::Stray), 0);
    rig.assert_accounted();
}
