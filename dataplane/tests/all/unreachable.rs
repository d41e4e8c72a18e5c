//! Next hops that do not answer. Linux 6.1 sent the same errors three seconds after a SYN or a
//! datagram.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::Ipv4Addr;

use dataplane::io::HostRequest;
use dataplane::io::PortId;
use dataplane::mem::MemFrame;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::route::Adjacency;
use dataplane::snapshot::route::Reach;
use dataplane::verdict::DropReason;
use dataplane::wire::checksum;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

const ALL: [Method; 4] = [Method::Masquerade, Method::DirectRoute, Method::Tunnel, Method::FullNat];

fn director(protocol: u8, method: Method) -> (Rig, DestId) {
    let mut rig = Rig::new();
    let service = rig.service(protocol, 80, Kind::Rr);
    let dest = rig.dest(service, 11, if method.is_translated() { 8080 } else { 80 }, method, 1);
    (rig, dest)
}

/// From now on the MAC behind an adjacency is not known.
fn silence(rig: &mut Rig, id: usize, port: PortId, next_hop: Ipv4Addr) {
    let known = *rig.master().paths_mut().adjacencies.entry(id);
    *rig.master().paths_mut().adjacencies.entry(id) =
        Adjacency { reach: Reach::Resolving(port), next_hop: Some(next_hop), ..known };
    rig.publish();
}

/// Hands frames that should be resolved back as failed. Returns the frames that leave then.
fn fail(rig: &mut Rig, out: Out) -> Out {
    assert!(out.sent.is_empty(), "{out:?}");
    for (_, request, frame) in out.host {
        assert!(matches!(request, HostRequest::Resolve { .. }));
        rig.io().failed.push_back(MemFrame::new(&frame));
    }
    rig.wait_ticks(10);
    rig.assert_accounted();
    rig.out()
}

/// An error's source, its receiver, its type and code, and the packet that it quotes.
fn error(out: &Out) -> (Ipv4Addr, Ipv4Addr, [u8; 2], Vec<u8>) {
    let seen = out.seen();
    assert_eq!(checksum::sum(&seen.payload), 0xffff, "wrong ICMP checksum");
    let quote = &seen.payload[8..];
    assert_eq!(checksum::sum(&quote[..20]), 0xffff, "wrong checksum in the quoted header");
    (seen.src.0, seen.dst.0, [seen.payload[0], seen.payload[1]], quote.to_vec())
}

/// The packet as its sender sent it, with its TTL one lower.
fn sent_before(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[22] -= 1;
    fix_ip(&mut frame);
    frame[14..].to_vec()
}

#[test]
fn a_client_of_a_dead_server_gets_an_error_about_its_own_packet() {
    for method in ALL {
        for protocol in [TCP, UDP] {
            let (mut rig, dest) = director(protocol, method);
            silence(&mut rig, 11, LAN, rip(11));
            let request = match protocol {
                TCP => tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b""),
                _ => udp(MACS[0], (CLIENT, 5000), (VIP, 80), b"query"),
            };
            let out = rig.put(WAN, &request);
            let out = fail(&mut rig, out);
            // With direct routing nothing was rewritten. The error comes from the director's own
            // address on the client's side.
            let source = if method == Method::DirectRoute { WIP } else { VIP };
            let quote = sent_before(&request);
            assert_eq!(error(&out), (source, CLIENT, [3, 1], quote.clone()), "{method:?} {protocol}");
            assert_eq!((rig.drops(DropReason::NoNeighbour), rig.stats.icmp_sent.get()), (1, 1));
            let stats = rig.stats.dest(dest).unwrap();
            let len = 28 + quote.len() as u64;
            let counted = if method == Method::Tunnel { (2, len + quote.len() as u64) } else { (1, len) };
            assert_eq!((stats.out_pkts.get(), stats.out_bytes.get()), counted, "{method:?}");
        }
    }
}

#[test]
fn clients_of_a_server_that_dies_later_get_errors_at_a_limited_rate() {
    for method in ALL {
        let (mut rig, _) = director(TCP, method);
        rig.tcp(5000, 80, SYN).one();
        rig.tcp(5000, 80, ACK).one();
        silence(&mut rig, 11, LAN, rip(11));
        let data = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, &[7; 900]);
        let frames = vec![data.clone(); 10];
        let out = rig.burst(WAN, &frames);
        let out = fail(&mut rig, out);
        assert_eq!(out.sent.len(), 6, "{method:?}: a burst of six, as for all errors");
        let quote = &read(&out.sent[0].1).payload[8..];
        assert_eq!(quote, &sent_before(&data)[..quote.len()], "{method:?}");
        assert_eq!((rig.drops(DropReason::NoNeighbour), rig.stats.icmp_suppressed.get()), (10, 4));
    }
}

#[test]
fn a_server_whose_client_is_gone_gets_an_error_from_the_vip() {
    for method in [Method::Masquerade, Method::FullNat] {
        let (mut rig, dest) = director(TCP, method);
        let asker = rig.tcp(5000, 80, SYN).seen().src;
        silence(&mut rig, 0, WAN, Ipv4Addr::new(10, 0, 0, 254));
        let reply = tcp(MACS[1], (rip(11), 8080), asker, SYN | ACK, b"");
        let out = rig.put(LAN, &reply);
        let out = fail(&mut rig, out);
        assert_eq!(error(&out), (VIP, rip(11), [3, 1], sent_before(&reply)), "{method:?}");
        assert_eq!(rig.packets(dest), (2, 1));
    }
}

#[test]
fn no_error_is_sent_about_packets_without_a_connection() {
    let (mut rig, _) = director(TCP, Method::Masquerade);
    silence(&mut rig, 11, LAN, rip(11));
    let out = rig.tcp(5000, 80, SYN);
    rig.wait(61);
    assert_eq!(rig.connections(), 0);
    fail(&mut rig, out).nothing();
    // No error is sent about an error or about an invalid frame.
    let icmp = [[0; 14].as_slice(), &[0x45, 0, 0, 28, 0, 0, 0, 0, 63, 1]].concat();
    for frame in [Vec::new(), vec![0; 13], vec![0x45; 34], icmp] {
        rig.io().failed.push_back(MemFrame::new(&frame));
    }
    // The worker takes failed frames ten times a second.
    rig.wait_ticks(10);
    assert_eq!((rig.drops(DropReason::NoNeighbour), rig.stats.icmp_sent.get()), (5, 0));
}

/// Packets that wait for neighbours have a ring of their own. If it is full, ARP and other frames
/// still reach Linux.
#[test]
fn packets_that_wait_for_a_neighbour_take_no_room_from_frames_for_linux() {
    let (mut rig, _) = director(TCP, Method::Masquerade);
    silence(&mut rig, 11, LAN, rip(11));
    rig.io().resolve_room = Some(5);
    rig.io().host_room = Some(3);
    let syns: Vec<_> = (0..20).map(|n| tcp(MACS[0], (CLIENT, 5000 + n), (VIP, 80), SYN, b"")).collect();
    let mut arp = syns[0].clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    syns.iter().chain([&arp]).for_each(|frame| rig.inject(WAN, frame));
    rig.poll();
    let delivered = |out: &Out| out.host.iter().filter(|item| item.1 == HostRequest::Deliver).count();
    let out = rig.out();
    assert_eq!((delivered(&out), out.host.len()), (1, 6));
    assert_eq!((rig.drops(DropReason::ResolveFull), rig.drops(DropReason::HostFull)), (15, 0));
    // The other ring can be full too.
    let frames: Vec<_> = std::iter::repeat_n(arp, 10).chain([syns[0].clone()]).collect();
    let out = rig.burst(WAN, &frames);
    assert_eq!((delivered(&out), out.host.len()), (3, 4));
    assert_eq!(rig.drops(DropReason::HostFull), 7);
    rig.assert_accounted();
}
