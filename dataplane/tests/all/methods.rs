//! The four methods: a frame goes in, a frame comes out, and both are counted.

use dataplane::io::Frame;
use dataplane::mem::MemFrame;
use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::Kind;

use crate::rig::*;

#[test]
fn nat_rewrites_the_destination_of_requests_and_the_source_of_replies() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 8080, Method::Masquerade, 1);

    let out = rig.tcp(5000, 80, SYN);
    let (port, frame) = out.one();
    let seen = read(frame);
    assert_eq!((port, seen.dst_mac, seen.src_mac), (LAN, rmac(11).0, MACS[1].0));
    assert_eq!((seen.src, seen.dst, seen.ttl), ((CLIENT, 5000), (rip(11), 8080), 63));

    let back = tcp(MACS[1], (rip(11), 8080), (CLIENT, 5000), SYN | ACK, b"");
    let out = rig.put(LAN, &back);
    let (port, frame) = out.one();
    let seen = read(frame);
    assert_eq!((port, seen.dst_mac, seen.src_mac), (WAN, GATEWAY.0, MACS[0].0));
    assert_eq!((seen.src, seen.dst, seen.ttl), ((VIP, 80), (CLIENT, 5000), 63));

    let stats = rig.stats.dest(dest).unwrap();
    assert_eq!((stats.conns.get(), stats.in_pkts.get(), stats.in_bytes.get()), (1, 1, 40));
    assert_eq!((stats.out_pkts.get(), stats.out_bytes.get()), (1, 40));
    assert_eq!((stats.active.get(), stats.inactive.get()), (1, 0));
    rig.assert_accounted();
}

#[test]
fn dr_changes_only_the_mac_and_the_ttl() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::DirectRoute, 1);
    let sent = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"");
    let out = rig.put(WAN, &sent);
    let (port, frame) = out.one();
    let seen = read(frame);
    assert_eq!((port, seen.dst_mac), (LAN, rmac(11).0));
    assert_eq!((seen.src, seen.dst, seen.ttl), ((CLIENT, 5000), (VIP, 80), 63));
    assert_eq!(frame[34..], sent[34..], "L4 is unchanged");
}

#[test]
fn tun_puts_an_outer_header_in_front() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Tunnel, 1);
    let out = rig.tcp(5000, 80, SYN);
    let (port, frame) = out.one();
    let outer = read(frame);
    assert_eq!((port, outer.dst_mac, outer.protocol), (LAN, rmac(11).0, 4));
    assert_eq!((outer.src.0, outer.dst.0, outer.ttl), (DIP, rip(11), 63));
    let mut inner = frame[..14].to_vec();
    inner.extend_from_slice(&outer.payload);
    let inner = read(&inner);
    assert_eq!((inner.src, inner.dst, inner.ttl), ((CLIENT, 5000), (VIP, 80), 63));
    assert_eq!(outer.df, inner.df);
}

#[test]
fn fullnat_rewrites_both_addresses_in_both_directions() {
    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Rr);
    rig.dest(service, 11, 5353, Method::FullNat, 1);
    let out = rig.udp(6000, 53);
    let seen = read(out.one().1);
    assert_eq!((seen.src.0, seen.dst), (LIP, (rip(11), 5353)));
    assert!(seen.src.1 >= 1024);

    let back = udp(MACS[1], (rip(11), 5353), seen.src, b"answer");
    let out = rig.put(LAN, &back);
    let (port, frame) = out.one();
    let seen = read(frame);
    assert_eq!((port, seen.src, seen.dst), (WAN, (VIP, 53), (CLIENT, 6000)));
    assert_eq!(seen.payload, b"answer");
}

#[test]
fn a_udp_packet_without_a_checksum_gets_none() {
    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Rr);
    rig.dest(service, 11, 5353, Method::Masquerade, 1);
    let mut frame = udp(MACS[0], (CLIENT, 6000), (VIP, 53), b"query");
    frame[40..42].copy_from_slice(&[0, 0]);
    let out = rig.put(WAN, &frame);
    assert_eq!(out.one().1[40..42], [0, 0]);
}

#[test]
fn fullnat_without_a_free_port_drops_and_recovers() {
    let mut rig = Rig::new();
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| spec.locals.clear());
    rig.dest(service, 11, 80, Method::FullNat, 1);
    rig.tcp(5000, 80, SYN).nothing();
    assert_eq!(rig.stats.drops(DropReason::NoLocalPort).get(), 1);
    rig.assert_accounted();
}

#[test]
fn a_ttl_of_one_makes_a_connection_and_an_error() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    let frame = tcp_ttl(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"", 1);
    let out = rig.put(WAN, &frame);
    let (port, sent) = out.one();
    let seen = read(sent);
    assert_eq!((port, seen.src.0, seen.dst.0, seen.protocol), (WAN, VIP, CLIENT, 1));
    assert_eq!((seen.payload[0], seen.payload[1]), (11, 0));
    assert_eq!(seen.payload[8..], frame[14..], "the quote is the packet as it came");
    assert_eq!((rig.connections(), rig.stats.drops(DropReason::TtlExceeded).get()), (1, 1));
    assert_eq!(rig.stats.dest(dest).unwrap().in_pkts.get(), 1);
    rig.assert_accounted();
}

#[test]
fn a_packet_with_df_that_is_too_big_is_answered_with_the_mtu() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Tunnel, 1);
    rig.tcp(5000, 80, SYN).one();
    let mut frame = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, &[7; 1460]);
    frame[20] |= 0x40;
    fix_ip(&mut frame);
    let out = rig.put(WAN, &frame);
    let seen = read(out.one().1);
    assert_eq!((seen.payload[0], seen.payload[1]), (3, 4));
    assert_eq!(u16::from_be_bytes([seen.payload[6], seen.payload[7]]), 1480);
    assert_eq!(seen.payload.len() + 20, 576);
    assert_eq!(seen.payload[8 + 8], 63, "the quote shows the lowered TTL");
    assert_eq!(rig.stats.drops(DropReason::TooBig).get(), 1);
}

#[test]
fn without_headroom_a_tunnelled_packet_is_dropped_and_nothing_else_happens() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Tunnel, 1);
    rig.tcp(5000, 80, SYN);
    rig.tcp(5000, 80, ACK);
    let bytes = tcp_ttl(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, &[7; 200], 2);
    let mut frame = MemFrame::new(&bytes[128..]);
    assert!(frame.grow_front(128), "the frame must give all its headroom");
    frame.bytes_mut().copy_from_slice(&bytes);
    rig.io().rx[WAN.index()].push_back(frame);
    rig.poll();
    rig.out().nothing();
    assert_eq!((rig.drops(DropReason::NoHeadroom), rig.drops(DropReason::TtlExceeded)), (1, 0));
}
