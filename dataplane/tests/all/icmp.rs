//! ICMP errors of others about packets of our connections. The quote must be the packet as the
//! error's receiver sent it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::Ipv4Addr;

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use dataplane::wire::checksum;
use dataplane::wire::ether::Mac;
use sched::Kind;

use crate::rig::*;

/// A router on the path.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 9);

/// An ICMP error (type, code) from `from` to `to` that quotes the first 28 bytes of the IPv4 packet
/// `quoted`.
fn error(mac: Mac, from: Ipv4Addr, to: Ipv4Addr, kind: (u8, u8), quoted: &[u8]) -> Vec<u8> {
    let quoted = &quoted[..28];
    let mut icmp = vec![kind.0, kind.1, 0, 0, 0, 0, 5, 0xdc];
    icmp.extend_from_slice(quoted);
    let field = checksum::compute(&icmp);
    icmp[2..4].copy_from_slice(&field);
    let step =
        etherparse::PacketBuilder::ethernet2([2, 9, 9, 9, 9, 9], mac.0).ip(etherparse::IpHeaders::Ipv4(
            etherparse::Ipv4Header::new(
                icmp.len() as u16,
                64,
                etherparse::IpNumber::ICMP,
                from.octets(),
                to.octets(),
            )
            .unwrap(),
            etherparse::Ipv4Extensions::default(),
        ));
    let mut out = Vec::new();
    step.write(&mut out, etherparse::IpNumber::ICMP, &icmp).unwrap();
    out
}

/// The source and destination of the quoted packet, with ports. Panics if a checksum in the error
/// is wrong.
fn quote(frame: &[u8]) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let seen = read(frame);
    assert_eq!(checksum::sum(&seen.payload), 0xffff, "wrong ICMP checksum");
    let ip = &seen.payload[8..28];
    assert_eq!(checksum::sum(ip), 0xffff, "wrong checksum in the quoted header");
    let addr = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    let port = |at: usize| u16::from_be_bytes([seen.payload[28 + at], seen.payload[28 + at + 1]]);
    ((addr(12), port(0)), (addr(16), port(2)))
}

/// A director with one connection by `method`. Also returns the packet that the real server got,
/// without its Ethernet header.
fn connected(method: Method) -> (Rig, sched::DestId, Vec<u8>) {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let port = if matches!(method, Method::Masquerade | Method::FullNat) { 8080 } else { 80 };
    let dest = rig.dest(service, 11, port, method, 1);
    let forwarded = rig.tcp(5000, 80, SYN).one().1[14..].to_vec();
    (rig, dest, forwarded)
}

#[test]
fn an_error_from_the_servers_side_reaches_the_client_about_its_own_packet() {
    for method in [Method::Masquerade, Method::FullNat] {
        let (mut rig, dest, forwarded) = connected(method);
        let back_to = Ipv4Addr::new(forwarded[12], forwarded[13], forwarded[14], forwarded[15]);
        let out = rig.put(LAN, &error(MACS[1], rip(11), back_to, (3, 4), &forwarded));
        let (port, frame) = out.one();
        let seen = read(frame);
        assert_eq!((port, seen.src.0, seen.dst.0, seen.ttl), (WAN, VIP, CLIENT, 63), "{method:?}");
        assert_eq!(quote(frame), ((CLIENT, 5000), (VIP, 80)), "{method:?}");
        assert_eq!(seen.payload[6..8], [5, 0xdc], "the MTU in the error is unchanged");
        let stats = rig.stats.dest(dest).unwrap();
        assert_eq!((stats.out_pkts.get(), stats.active.get()), (1, 1));
        rig.assert_accounted();
    }
}

#[test]
fn an_error_from_the_clients_side_reaches_the_server_about_its_own_packet() {
    for method in [Method::Masquerade, Method::FullNat] {
        let (mut rig, dest, forwarded) = connected(method);
        let knows = Ipv4Addr::new(forwarded[12], forwarded[13], forwarded[14], forwarded[15]);
        let knows_port = u16::from_be_bytes([forwarded[20], forwarded[21]]);
        let answer = tcp(MACS[1], (rip(11), 8080), (knows, knows_port), SYN | ACK, b"");
        let sent = rig.put(LAN, &answer).one().1[14..].to_vec();
        let out = rig.put(WAN, &error(MACS[0], ROUTER, VIP, (11, 0), &sent));
        let (port, frame) = out.one();
        let seen = read(frame);
        assert_eq!((port, seen.dst.0, seen.dst_mac), (LAN, rip(11), rmac(11).0), "{method:?}");
        let from = if method == Method::FullNat { LIP } else { ROUTER };
        assert_eq!(seen.src.0, from, "with FULLNAT the error comes from the local address");
        assert_eq!(quote(frame), ((rip(11), 8080), (knows, knows_port)), "{method:?}");
        assert_eq!(rig.stats.dest(dest).unwrap().in_pkts.get(), 2);
        rig.assert_accounted();
    }
}

#[test]
fn errors_about_direct_and_tunnelled_replies_follow_the_requests_unchanged() {
    for method in [Method::DirectRoute, Method::Tunnel] {
        let (mut rig, ..) = connected(method);
        let answer = tcp(MACS[1], (VIP, 80), (CLIENT, 5000), SYN | ACK, b"");
        let sent = error(MACS[0], ROUTER, VIP, (3, 4), &answer[14..]);
        let out = rig.put(WAN, &sent);
        let (port, frame) = out.one();
        let seen = read(frame);
        assert_eq!((port, seen.dst_mac), (LAN, rmac(11).0));
        let inner =
            if method == Method::Tunnel { [&frame[..14], &seen.payload].concat() } else { frame.to_vec() };
        assert_eq!((read(&inner).src.0, read(&inner).dst.0, read(&inner).ttl), (ROUTER, VIP, 63));
        assert_eq!(inner[34..], sent[34..], "{method:?}");
    }
}

#[test]
fn errors_about_no_connection_go_to_linux() {
    let (mut rig, _, forwarded) = connected(Method::Masquerade);
    let stranger = tcp(MACS[0], (CLIENT, 5999), (VIP, 80), SYN, b"");
    rig.put(WAN, &error(MACS[0], ROUTER, VIP, (3, 3), &stranger[14..])).to_host();
    // An echo request is no error. An error about a later fragment has no ports.
    rig.put(WAN, &error(MACS[0], ROUTER, VIP, (8, 0), &forwarded)).to_host();
    let mut later = forwarded.clone();
    later[7] = 9;
    rig.put(LAN, &error(MACS[1], rip(11), CLIENT, (3, 4), &later)).to_host();
    rig.assert_accounted();
}

/// The error, cut after `len` bytes of its IP packet.
fn cut(error: &[u8], len: usize) -> Vec<u8> {
    let mut short = error[..14 + len].to_vec();
    short[16..18].copy_from_slice(&(len as u16).to_be_bytes());
    short[36..38].fill(0);
    let sum = checksum::compute(&short[34..]);
    short[36..38].copy_from_slice(&sum);
    fix_ip(&mut short);
    short
}

#[test]
fn an_error_with_a_wrong_checksum_or_half_a_header_is_dropped() {
    let (mut rig, dest, forwarded) = connected(Method::Masquerade);
    let good = error(MACS[1], rip(11), CLIENT, (3, 4), &forwarded);
    let mut wrong = good.clone();
    wrong[40] ^= 1;
    rig.put(LAN, &wrong).nothing();
    rig.put(LAN, &cut(&good, 20 + 7)).nothing();
    assert_eq!(rig.stats.drops(DropReason::BadIcmp).get(), 2);
    assert_eq!(rig.stats.dest(dest).unwrap().out_pkts.get(), 0);
    rig.assert_accounted();
}

/// Linux reads only the ports of the quote (`ip_vs_core.c: ip_vs_out_icmp`,
/// `ip_vs_fill_iph_skb_icmp`).
#[test]
fn a_short_quote_is_forwarded_if_it_has_ports_and_goes_to_linux_if_not() {
    let (mut rig, _, forwarded) = connected(Method::Masquerade);
    let good = error(MACS[1], rip(11), CLIENT, (3, 4), &forwarded);
    for ports in 4..8 {
        let out = rig.put(LAN, &cut(&good, 20 + 8 + 20 + ports));
        assert_eq!(quote(out.one().1), ((CLIENT, 5000), (VIP, 80)), "{ports} bytes of L4");
    }
    for len in [8, 9, 27, 28, 29, 31] {
        let short = cut(&good, 20 + len);
        let out = rig.put(LAN, &short);
        out.to_host();
        assert_eq!(out.host[0].2, short, "{len} bytes of ICMP");
    }
    // This error quotes no IPv4 header.
    let mut odd = cut(&good, 20 + 8 + 28);
    odd[42] = 0x65;
    rig.put(LAN, &cut(&odd, 20 + 8 + 28)).to_host();
    assert_eq!(rig.drops(DropReason::BadIcmp), 0);
    rig.assert_accounted();
}

#[test]
fn an_error_winds_no_timer_and_steps_no_state() {
    let (mut rig, dest, forwarded) = connected(Method::Masquerade);
    rig.wait(50);
    rig.put(PortId::new(1), &error(MACS[1], rip(11), CLIENT, (3, 4), &forwarded)).one();
    assert_eq!(rig.stats.dest(dest).unwrap().active.get(), 1);
    rig.wait(11);
    assert_eq!(rig.connections(), 0, "SYN_RECV still ends after 60 s");
}
