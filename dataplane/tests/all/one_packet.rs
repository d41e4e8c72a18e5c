//! One-packet scheduling: each datagram is scheduled by itself and makes no connection.

use dataplane::snapshot::dest::Method;
use sched::Kind;

use crate::rig::*;

#[test]
fn each_datagram_is_scheduled_and_forgotten() {
    let mut rig = Rig::new();
    let service = rig.service_with(UDP, 53, Kind::Rr, |spec| spec.one_packet = true);
    let a = rig.dest(service, 11, 5353, Method::Masquerade, 1);
    rig.dest(service, 12, 5353, Method::Masquerade, 1);
    let seen: Vec<_> = (0..4).map(|_| rig.udp(6000, 53).seen().dst).collect();
    assert_eq!(seen, [12, 11, 12, 11].map(|n| (rip(n), 5353)));
    let stats = rig.stats.dest(a).unwrap();
    assert_eq!((stats.conns.get(), stats.in_pkts.get(), stats.in_bytes.get()), (2, 2, 66));
    assert_eq!((rig.load(a), rig.connections()), ((0, 0, 0), 0));
    // A reply belongs to no connection. Linux routes it unchanged.
    rig.put(LAN, &udp(MACS[1], (rip(11), 5353), (CLIENT, 6000), b"answer")).to_host();
    rig.assert_accounted();
}

#[test]
fn with_persistence_only_the_template_remains() {
    let mut rig = Rig::new();
    let service = rig.service_with(UDP, 53, Kind::Rr, |spec| {
        spec.one_packet = true;
        spec.persistence = persistence(100);
    });
    rig.dest(service, 11, 53, Method::Masquerade, 1);
    let b = rig.dest(service, 12, 53, Method::Masquerade, 1);
    for cport in 6000..6004 {
        assert_eq!(rig.udp(cport, 53).seen().dst.0, rip(12));
        rig.wait(30);
    }
    assert_eq!((rig.load(b), rig.connections()), ((0, 0, 1), 1));
    assert_eq!(rig.stats.dest(b).unwrap().conns.get(), 4);
    assert_eq!(rig.templates()[0].expires_in, 7000, "each datagram refreshes it");
    rig.wait(71);
    assert_eq!((rig.load(b), rig.connections()), ((0, 0, 0), 0));
}

#[test]
fn one_packet_scheduling_does_not_apply_to_tcp() {
    let mut rig = Rig::new();
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| spec.one_packet = true);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.dest(service, 12, 80, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5000, 80), 12);
    assert_eq!(rig.tcp(5000, 80, ACK).seen().dst.0, rip(12));
    assert_eq!(rig.connections(), 1);
}

#[test]
fn a_datagram_with_ttl_1_is_answered_and_counted_once() {
    let mut rig = Rig::new();
    let service = rig.service_with(UDP, 53, Kind::Rr, |spec| spec.one_packet = true);
    let dest = rig.dest(service, 11, 53, Method::DirectRoute, 1);
    let mut frame = udp(MACS[0], (CLIENT, 6000), (VIP, 53), b"query");
    frame[22] = 1;
    fix_ip(&mut frame);
    assert_eq!(rig.put(WAN, &frame).seen().payload[..2], [11, 0]);
    assert_eq!((rig.packets(dest), rig.connections()), ((1, 0), 0));
    rig.assert_accounted();
}
