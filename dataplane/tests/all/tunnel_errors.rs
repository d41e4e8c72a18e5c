//! ICMP errors about the director's own tunnels. The client gets an error about its own packet.

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use dataplane::wire::checksum;
use sched::Kind;

use crate::rig::*;

/// A router between the director and the real server.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 99);

/// A director with a tunnelled connection, one of its requests, and the outer packet of that
/// request. `df` is the request's DF bit.
fn tunnelled(df: bool) -> (Rig, sched::DestId, Vec<u8>, Vec<u8>) {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, Method::Tunnel, 1);
    rig.tcp(5000, 80, SYN).one();
    let mut request = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, &[7; 1400]);
    request[20] = if df { 0x40 } else { 0 };
    fix_ip(&mut request);
    let outer = rig.put(WAN, &request).one().1[14..].to_vec();
    (rig, dest, request, outer)
}

/// An ICMP error of `kind` (type, code) that quotes `len` bytes of `outer`. `rest` is the second
/// word of the ICMP header.
fn error(kind: [u8; 2], rest: u32, outer: &[u8], len: usize) -> Vec<u8> {
    let mut icmp = [kind.as_slice(), &[0; 2], &rest.to_be_bytes(), &outer[..len]].concat();
    let field = checksum::compute(&icmp);
    icmp[2..4].copy_from_slice(&field);
    let mut frame = udp(MACS[1], (ROUTER, 0), (DIP, 0), &icmp[8..]);
    frame[34..].copy_from_slice(&icmp);
    frame[23] = 1;
    fix_ip(&mut frame);
    frame
}

#[test]
fn frag_needed_gives_the_client_the_mtu_of_the_tunnel() {
    for len in [48, 128, 548] {
        let (mut rig, dest, request, outer) = tunnelled(true);
        let (state, packets) = (rig.state(5000), rig.packets(dest));
        let out = rig.put(LAN, &error([3, 4], 1400, &outer, len));
        let (port, frame) = out.one();
        let seen = read(frame);
        assert_eq!((port, seen.dst_mac, seen.src.0, seen.dst.0), (WAN, GATEWAY.0, VIP, CLIENT));
        assert_eq!((&seen.payload[..2], seen.ttl), ([3, 4].as_slice(), 64));
        assert_eq!(seen.payload[6..8], 1380_u16.to_be_bytes());
        assert_eq!(checksum::sum(&seen.payload), 0xffff);
        let quote = &seen.payload[8..];
        assert_eq!(
            (quote.len(), &quote[12..]),
            (len - 20, &request[26..14 + len - 20]),
            "the quote is the client's own packet"
        );
        assert_eq!((rig.state(5000), rig.packets(dest)), (state, (packets.0, packets.1 + 1)));
        assert_eq!(rig.drops(DropReason::TooBig), 1);
        rig.assert_accounted();
    }
}

#[test]
fn other_errors_are_relayed_with_their_type_and_code() {
    for (kind, reason) in
        [([3, 1], DropReason::NoRoute), ([3, 13], DropReason::NoRoute), ([11, 0], DropReason::TtlExceeded)]
    {
        let (mut rig, _, _, outer) = tunnelled(true);
        let seen = rig.put(LAN, &error(kind, 0, &outer, 100)).seen();
        assert_eq!((seen.src.0, seen.dst.0, &seen.payload[..2]), (VIP, CLIENT, kind.as_slice()));
        assert_eq!(rig.drops(reason), 1);
        rig.assert_accounted();
    }
}

#[test]
fn relayed_errors_are_rate_limited_and_frag_needed_is_not() {
    let (mut rig, _, _, outer) = tunnelled(true);
    let told = |rig: &mut Rig, kind| {
        (0..20).filter(|_| !rig.put(LAN, &error(kind, 1400, &outer, 80)).sent.is_empty()).count()
    };
    assert_eq!((told(&mut rig, [3, 1]), told(&mut rig, [3, 4])), (6, 20));
    rig.assert_accounted();
}

#[test]
fn errors_without_meaning_for_a_client_go_to_linux() {
    let (mut rig, dest, _, outer) = tunnelled(true);
    let packets = rig.packets(dest);
    // Quotes of every length that are too short for the inner ports.
    for len in 20..44 {
        let out = rig.put(LAN, &error([3, 4], 1400, &outer, len));
        assert_eq!(out.host.len(), 1, "{len} bytes");
    }
    let mut elsewhere = outer.clone();
    elsewhere[19] = 77;
    rig.put(LAN, &error([3, 4], 1400, &elsewhere, 100)).to_host();
    let mut stranger = outer.clone();
    stranger[41] ^= 1;
    rig.put(LAN, &error([3, 4], 1400, &stranger, 100)).to_host();
    let mut later = outer.clone();
    later[27] = 5;
    rig.put(LAN, &error([3, 4], 1400, &later, 100)).to_host();
    assert_eq!(rig.packets(dest), packets);

    let (mut rig, _, _, outer) = tunnelled(false);
    rig.put(LAN, &error([3, 4], 1400, &outer, 100)).to_host();
    rig.assert_accounted();
}

#[test]
fn an_error_with_a_wrong_checksum_is_dropped() {
    let (mut rig, dest, _, outer) = tunnelled(true);
    let mut frame = error([3, 4], 1400, &outer, 100);
    frame[100] ^= 1;
    rig.put(LAN, &frame).nothing();
    assert_eq!((rig.drops(DropReason::BadIcmp), rig.packets(dest).1), (1, 0));
    rig.assert_accounted();
}

#[test]
fn errors_with_any_value_in_any_byte_do_no_harm() {
    let (mut rig, _, _, outer) = tunnelled(true);
    let frame = error([3, 4], 1400, &outer, 60);
    for at in 14..frame.len() {
        for value in 0..=255 {
            let mut changed = frame.clone();
            changed[at] = value;
            for mend in [false, true] {
                if mend {
                    changed[36..38].fill(0);
                    let field = checksum::compute(&changed[34..]);
                    changed[36..38].copy_from_slice(&field);
                    fix_ip_if_plain(&mut changed);
                }
                rig.put(LAN, &changed);
            }
        }
        rig.wait(1);
    }
    rig.assert_accounted();
}

/// Recomputes the header checksum, unless the header has options.
fn fix_ip_if_plain(frame: &mut [u8]) {
    if frame[14] == 0x45 {
        fix_ip(frame);
    }
}
