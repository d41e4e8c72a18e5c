//! Unusual frames, and next hops that are not ordinary neighbours.

use std::net::Ipv4Addr;

use dataplane::io::HostRequest;
use dataplane::mem::MemFrame;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::route::Adjacency;
use dataplane::snapshot::route::Reach;
use dataplane::verdict::DropReason;
use dataplane::wire::ether::Mac;
use sched::Kind;

use crate::rig::*;

/// One service on port 80 with real server 11 on port 8080, or on port 80 for methods that do not
/// change ports.
fn director(method: Method) -> Rig {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let port = if method.is_translated() { 8080 } else { 80 };
    rig.dest(service, 11, port, method, 1);
    rig
}

const ALL: [Method; 4] = [Method::Masquerade, Method::DirectRoute, Method::Tunnel, Method::FullNat];

#[test]
fn a_next_hop_without_a_mac_is_resolved_and_the_frame_lacks_only_the_mac() {
    for method in ALL {
        let expected = director(method).tcp(5000, 80, SYN).one().1.to_vec();
        let mut rig = director(method);
        let known = *rig.master().paths_mut().adjacencies.entry(11);
        let mut header = known.header;
        header[..6].fill(0);
        let unknown = Adjacency { header, reach: Reach::Resolving(LAN), next_hop: Some(rip(11)), ..known };
        *rig.master().paths_mut().adjacencies.entry(11) = unknown;
        rig.publish();
        let out = rig.tcp(5000, 80, SYN);
        assert!(out.sent.is_empty(), "{method:?}");
        let (port, request, frame) = &out.host[0];
        assert_eq!((*port, *request), (LAN, HostRequest::Resolve { next_hop: rip(11).into() }));
        assert_eq!((&frame[..6], &frame[6..]), ([0; 6].as_slice(), &expected[6..]), "{method:?}");
        // Now Linux knows the MAC. The frame comes back complete and leaves.
        let io = rig.io();
        io.from_host.push_back((LAN, MemFrame::new(&expected)));
        rig.poll();
        assert_eq!(rig.out().one(), (LAN, expected.as_slice()));
        assert_eq!((rig.stats.resolve.get(), rig.stats.from_host.get()), (1, 1));
        rig.assert_accounted();
    }
}

/// The client is on the real servers' link, and Linux has not asked for its MAC yet.
#[test]
fn an_unknown_neighbour_is_resolved_and_found_later() {
    let mut rig = director(Method::Masquerade);
    let client = rip(150);
    let request = tcp(MACS[1], (client, 5000), (VIP, 80), SYN, b"");
    rig.put(LAN, &request).one();
    let reply = tcp(MACS[1], (rip(11), 8080), (client, 5000), SYN | ACK, b"");
    let out = rig.put(LAN, &reply);
    let (port, request, frame) = &out.host[0];
    assert_eq!((*port, *request), (LAN, HostRequest::Resolve { next_hop: client.into() }));
    let seen = read(frame);
    assert_eq!((seen.dst_mac, seen.src_mac, seen.src), ([0; 6], MACS[1].0, (VIP, 80)));
    // Linux found the MAC, and the mirror adds the neighbour. The next reply leaves without Linux.
    *rig.master().paths_mut().adjacencies.entry(150) = adjacency(LAN, rmac(150), 1500);
    let mut near = (*rig.master().paths_mut().neighbours).clone();
    near.insert((LAN, client), 150);
    rig.master().paths_mut().neighbours = std::sync::Arc::new(near);
    rig.publish();
    assert_eq!(rig.put(LAN, &reply).seen().dst_mac, rmac(150).0);
    rig.assert_accounted();
}

#[test]
fn packets_for_a_real_server_on_the_director_go_to_linux_with_the_same_ttl() {
    for method in ALL {
        let mut rig = director(method);
        *rig.master().paths_mut().adjacencies.entry(11) =
            Adjacency { reach: Reach::Host, ..Adjacency::default() };
        rig.publish();
        let sent = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"");
        let out = rig.put(WAN, &sent);
        out.to_host();
        let (port, request, frame) = &out.host[0];
        assert_eq!((*port, *request), (WAN, HostRequest::Deliver));
        let seen = read(frame);
        assert_eq!((seen.ttl, seen.dst_mac), (64, MACS[0].0));
        if method.is_translated() {
            assert_eq!(seen.dst, (rip(11), 8080));
        } else {
            assert_eq!(*frame, sent, "{method:?}");
        }
        assert_eq!(rig.connections(), 1);
        rig.assert_accounted();
    }
}

#[test]
fn without_a_route_the_sender_is_told() {
    for method in ALL {
        let mut rig = director(method);
        *rig.master().paths_mut().adjacencies.entry(11) = Adjacency::default();
        rig.publish();
        let seen = rig.tcp(5000, 80, SYN).seen();
        assert_eq!((seen.src.0, seen.dst.0, &seen.payload[..2]), (VIP, CLIENT, [3, 1].as_slice()));
        assert_eq!((rig.drops(DropReason::NoRoute), rig.connections()), (1, 1));
        rig.assert_accounted();
    }
}

#[test]
fn frames_that_are_not_balanced_go_to_linux_unchanged() {
    let mut rig = director(Method::Masquerade);
    let plain = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = plain.clone();
        change(&mut frame);
        frame
    };
    let tag =
        |tpid: [u8; 2]| with(&|frame: &mut Vec<u8>| drop(frame.splice(12..12, [tpid[0], tpid[1], 0, 7])));
    let kinds = [
        ("802.1Q", tag([0x81, 0])),
        ("802.1ad", tag([0x88, 0xa8])),
        ("ARP", with(&|frame| frame[12..14].copy_from_slice(&[8, 6]))),
        ("IPv6", with(&|frame| frame[12..14].copy_from_slice(&[0x86, 0xdd]))),
        ("broadcast", with(&|frame| frame[..6].fill(0xff))),
        ("multicast", with(&|frame| frame[0] = 1)),
        (
            "GRE",
            with(&|frame| {
                frame[23] = 47;
                fix_ip(frame);
            }),
        ),
    ];
    for (name, frame) in &kinds {
        let out = rig.put(WAN, frame);
        out.to_host();
        assert_eq!(out.host[0].2, *frame, "{name}");
    }
    rig.put(WAN, &with(&|frame| frame[5] ^= 1)).nothing();
    assert_eq!((rig.drops(DropReason::OtherMac), rig.connections()), (1, 0));
    rig.assert_accounted();
}

/// MACs that VRRP or an operator adds to the host interface.
#[test]
fn frames_to_other_macs_of_the_host_interface_are_balanced_or_go_to_linux() {
    const VRRP: Mac = Mac([0, 0, 0x5e, 0, 1, 51]);
    const STRANGER: Mac = Mac([0, 0, 0x5e, 0, 1, 52]);
    for method in ALL {
        let mut rig = director(method);
        rig.put(WAN, &tcp(VRRP, (CLIENT, 5000), (VIP, 80), SYN, b"")).nothing();
        rig.master().paths_mut().more_macs = vec![vec![VRRP], Vec::new()].into();
        rig.publish();
        let out = rig.put(WAN, &tcp(VRRP, (CLIENT, 5000), (VIP, 80), SYN, b""));
        assert_eq!((out.one().0, &out.one().1[..12]), (LAN, [rmac(11).0, MACS[1].0].as_flattened()));
        rig.put(WAN, &tcp(VRRP, (CLIENT, 5000), (VIP, 80), ACK, b"")).one();
        rig.put(WAN, &tcp(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, b"")).one();
        let ssh = tcp(VRRP, (CLIENT, 5000), (WIP, 22), SYN, b"");
        let out = rig.put(WAN, &ssh);
        out.to_host();
        assert_eq!(out.host[0].2, ssh, "the frame to the macvlan is unchanged");
        rig.put(LAN, &tcp(VRRP, (CLIENT, 5000), (VIP, 80), ACK, b"")).nothing();
        rig.put(WAN, &tcp(STRANGER, (CLIENT, 5000), (VIP, 80), ACK, b"")).nothing();
        assert_eq!((rig.drops(DropReason::OtherMac), rig.connections()), (3, 1), "{method:?}");
        rig.assert_accounted();
    }
}

#[test]
fn padding_is_neither_counted_nor_tunnelled() {
    for method in ALL {
        let mut rig = director(method);
        let bare = rig.tcp(5000, 80, SYN).one().1.to_vec();
        let mut padded = tcp(MACS[0], (CLIENT, 5001), (VIP, 80), SYN, b"");
        padded.resize(1514, 0xee);
        let out = rig.put(WAN, &padded);
        let frame = out.one().1;
        read(&frame[..bare.len()]);
        if method == Method::Tunnel {
            assert_eq!(frame.len(), bare.len(), "with its outer header the frame must fit the link");
        }
        let stats = rig.stats.dest(sched::DestId::new(0)).unwrap();
        assert_eq!((stats.in_pkts.get(), stats.in_bytes.get()), (2, 80), "{method:?}");
    }
}

#[test]
fn ip_options_stay_in_the_packet() {
    for method in ALL {
        for words in [1, 3, 10] {
            let mut rig = director(method);
            let mut frame = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"odd");
            let plain = frame[34..].to_vec();
            frame.splice(34..34, std::iter::repeat_n(1, words * 4));
            frame[14] += words as u8;
            let len = (frame.len() - 14) as u16;
            frame[16..18].copy_from_slice(&len.to_be_bytes());
            fix_ip(&mut frame);
            let out = rig.put(WAN, &frame);
            let sent = out.one().1;
            let seen = if method == Method::Tunnel {
                read(&[&sent[..14], read(sent).payload.as_slice()].concat())
            } else {
                read(sent)
            };
            assert_eq!((seen.payload.as_slice(), seen.ttl), (b"odd".as_slice(), 63), "{method:?}");
            assert_eq!(sent[sent.len() - 3..], plain[20..]);
            // An error about the packet quotes the options.
            frame[22] = 1;
            fix_ip(&mut frame);
            let told = rig.put(WAN, &frame).seen();
            assert_eq!((told.payload[0], &told.payload[8..]), (11, &frame[14..]));
        }
    }
}

/// The VIP is its own client, or a client is a real server.
#[test]
fn hairpins_are_forwarded_or_counted_and_never_loop() {
    for method in ALL {
        let mut rig = director(method);
        for (from, mac, port) in
            [((VIP, 80), MACS[0], WAN), ((VIP, 5000), MACS[0], WAN), ((rip(11), 8080), MACS[1], LAN)]
        {
            let frame = tcp(mac, from, (VIP, 80), SYN, b"");
            let out = rig.put(port, &frame);
            assert!(out.sent.len() + out.host.len() <= 1, "{method:?} from {from:?}");
            rig.put(port, &frame);
            let back = tcp(MACS[1], (rip(11), 8080), from, SYN | ACK, b"");
            rig.put(LAN, &back);
        }
        rig.wait(130);
        assert_eq!(rig.connections(), 0, "{method:?}");
        rig.assert_accounted();
    }
}

#[test]
fn a_real_server_can_be_a_client_of_its_own_service_with_fullnat() {
    let mut rig = director(Method::FullNat);
    let request = tcp(MACS[1], (rip(11), 5000), (VIP, 80), SYN, b"");
    let there = rig.put(LAN, &request).seen();
    assert_eq!((there.src.0, there.dst), (LIP, (rip(11), 8080)));
    let reply = tcp(MACS[1], (rip(11), 8080), there.src, SYN | ACK, b"");
    let back = rig.put(LAN, &reply).seen();
    assert_eq!((back.src, back.dst, back.dst_mac), ((VIP, 80), (rip(11), 5000), rmac(11).0));
}

#[test]
fn a_reply_too_big_for_the_client_is_answered_from_the_port_it_came_by() {
    let mut rig = director(Method::Masquerade);
    *rig.master().paths_mut().adjacencies.entry(0) = adjacency(WAN, GATEWAY, 1400);
    rig.publish();
    rig.tcp(5000, 80, SYN).one();
    let mut reply = tcp(MACS[1], (rip(11), 8080), (CLIENT, 5000), ACK, &[7; 1380]);
    reply[20] |= 0x40;
    fix_ip(&mut reply);
    let out = rig.put(LAN, &reply);
    let (port, frame) = out.one();
    let seen = read(frame);
    assert_eq!((port, seen.src.0, seen.dst.0), (LAN, DIP, rip(11)));
    assert_eq!(
        (&seen.payload[..2], &seen.payload[6..8]),
        ([3, 4].as_slice(), 1400_u16.to_be_bytes().as_slice())
    );
    let quoted: Ipv4Addr = <[u8; 4]>::try_from(&seen.payload[24..28]).unwrap().into();
    assert_eq!(quoted, CLIENT, "the quote is the packet as the server sent it");
    rig.assert_accounted();
}

#[test]
fn no_error_is_sent_about_packets_that_must_not_be_answered() {
    let mut rig = Rig::new();
    rig.service(TCP, 80, Kind::Rr);
    // The sender is the director itself. Linux sends itself no errors.
    for src in [VIP, WIP] {
        rig.put(WAN, &tcp(MACS[0], (src, 5000), (VIP, 80), SYN, b"")).nothing();
    }
    assert_eq!((rig.drops(DropReason::Martian), rig.stats.icmp_sent.get()), (2, 0));
    rig.assert_accounted();
}
