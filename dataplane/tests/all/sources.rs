//! Packets with impossible senders, and source-routed packets. Linux 6.1 did the same with the same
//! packets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::route::Input;
use dataplane::snapshot::route::PortSet;
use dataplane::snapshot::route::RouteTarget;
use dataplane::snapshot::route::Routes;
use dataplane::snapshot::route::RpFilter;
use dataplane::verdict::DropReason;
use sched::Kind;

use crate::rig::*;

const MODES: [RpFilter; 3] = [RpFilter::Off, RpFilter::Strict, RpFilter::Loose];

fn director(method: Method, input: Input) -> Rig {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, if method.is_translated() { 8080 } else { 80 }, method, 1);
    let mut ports = rig.master().paths_mut().ports.to_vec();
    ports.iter_mut().for_each(|port| port.input = input);
    rig.master().paths_mut().ports = ports.into();
    rig.publish();
    rig
}

fn filter(rp_filter: RpFilter) -> Input {
    Input { rp_filter, ..Input::default() }
}

fn a(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Sends a SYN from `src` by `port`. Returns the drop reason if it is not scheduled.
fn syn(rig: &mut Rig, port: PortId, src: Ipv4Addr) -> Option<DropReason> {
    let before = DropReason::ALL.iter().map(|reason| rig.drops(*reason)).collect::<Vec<_>>();
    let out = rig.put(port, &tcp(MACS[port.index()], (src, 5000), (VIP, 80), SYN, b""));
    let dropped = DropReason::ALL.iter().zip(before).find(|(reason, before)| rig.drops(**reason) != *before);
    rig.assert_accounted();
    match dropped {
        Some((reason, _)) => {
            assert_eq!((out.sent.len(), out.host.len()), (0, 0), "{src}");
            Some(*reason)
        }
        None => {
            out.one();
            None
        }
    }
}

#[test]
fn senders_with_own_or_broadcast_addresses_are_dropped() {
    for mode in MODES {
        for port in [WAN, LAN] {
            let mut rig = director(Method::Masquerade, filter(mode));
            for src in [VIP, WIP, a("10.0.0.255"), a("127.0.0.1"), a("255.255.255.255"), a("224.0.0.1")] {
                assert_eq!(syn(&mut rig, port, src), Some(DropReason::Martian), "{mode:?} {src}");
            }
            assert_eq!(rig.connections(), 0);
        }
        let input = Input { accept_local: true, ..filter(RpFilter::Off) };
        let mut rig = director(Method::Masquerade, input);
        assert_eq!(syn(&mut rig, WAN, WIP), None, "accept_local");
        assert_eq!(syn(&mut rig, WAN, a("10.0.0.255")), Some(DropReason::Martian), "accept_local");
    }
}

#[test]
fn a_sender_must_be_behind_its_port_if_rp_filter_asks_for_it() {
    use DropReason::RpFilter as Wrong;
    let known = (CLIENT, rip(50), a("240.0.0.1"));
    // By WAN: a client behind the gateway there, a neighbour of the servers, a sender without a
    // route. Then the client by LAN.
    let expected = [
        (RpFilter::Off, [None, None, None, None]),
        (RpFilter::Strict, [None, Some(Wrong), Some(Wrong), Some(Wrong)]),
        (RpFilter::Loose, [None, None, Some(Wrong), None]),
    ];
    for (mode, verdicts) in expected {
        let mut rig = director(Method::DirectRoute, filter(mode));
        let (client, neighbour, nowhere) = known;
        let found = [
            syn(&mut rig, WAN, client),
            syn(&mut rig, WAN, neighbour),
            syn(&mut rig, WAN, nowhere),
            // Another client, because the first one has a connection now.
            syn(&mut rig, LAN, a("192.168.7.3")),
        ];
        assert_eq!(found, verdicts, "{mode:?}");
    }
}

/// Replies and requests of an established connection come by the wrong port. Linux accepts them
/// unless it is strict.
#[test]
fn packets_of_established_connections_must_come_by_their_port_only_if_linux_is_strict() {
    for method in [Method::Masquerade, Method::FullNat, Method::DirectRoute, Method::Tunnel] {
        for mode in MODES {
            let mut rig = director(method, filter(mode));
            let there = rig.tcp(5000, 80, SYN);
            rig.tcp(5000, 80, ACK).one();
            let strict = mode == RpFilter::Strict;
            let request = |mac: usize, flags| tcp(MACS[mac], (CLIENT, 5000), (VIP, 80), flags, b"data");
            let wrong = [rig.put(LAN, &request(1, ACK)), rig.put(LAN, &request(1, SYN))];
            for out in wrong {
                assert_eq!(out.sent.is_empty(), strict, "{method:?} {mode:?} request");
            }
            rig.put(WAN, &request(0, ACK)).one();
            let mut refused = 2;
            if method.is_translated() {
                let asker = there.seen().src;
                let reply = |mac: usize| tcp(MACS[mac], (rip(11), 8080), asker, ACK, b"answer");
                let spoofed = rig.put(WAN, &reply(0));
                assert_eq!(spoofed.sent.is_empty(), strict, "{method:?} {mode:?} reply");
                assert_eq!(rig.put(LAN, &reply(1)).seen().src, (VIP, 80));
                refused += 1;
            }
            assert_eq!(rig.drops(DropReason::RpFilter), if strict { refused } else { 0 });
            rig.assert_accounted();
        }
    }
}

/// A director whose Linux is strict. Its clients are behind `target`.
fn strict_with_clients_behind(target: RouteTarget) -> Rig {
    let mut rig = director(Method::Masquerade, filter(RpFilter::Strict));
    rig.master().paths_mut().routes = Arc::new(Routes::new(&[
        (rip(1), rip(254), RouteTarget::OnLink { port: LAN, mtu: 1500 }),
        (a("192.168.0.0"), a("192.168.255.255"), target),
    ]));
    rig.publish();
    rig
}

/// The way back of an established connection is asked for again after a change of routes.
#[test]
fn a_route_that_moves_makes_the_next_packet_come_by_the_wrong_port() {
    let mut rig = strict_with_clients_behind(RouteTarget::Gateway(0));
    for flags in [SYN, ACK] {
        rig.tcp(5000, 80, flags).one();
    }
    rig.master().paths_mut().routes = Arc::new(Routes::new(&[
        (rip(1), rip(254), RouteTarget::OnLink { port: LAN, mtu: 1500 }),
        (a("192.168.0.0"), a("192.168.255.255"), RouteTarget::Gateway(50)),
    ]));
    rig.master().rejudge();
    rig.publish();
    for refused in 1..3 {
        rig.tcp(5000, 80, ACK).nothing();
        assert_eq!(rig.drops(DropReason::RpFilter), refused);
    }
    rig.assert_accounted();
}

/// There are two next hops to the same clients. The kernel accepts packets by either port.
#[test]
fn packets_may_come_by_every_port_of_a_route_with_several_next_hops() {
    let mut rig = strict_with_clients_behind(RouteTarget::Spread(0, [WAN, LAN].into_iter().collect()));
    for port in [WAN, LAN, WAN] {
        let from = |flags| tcp(MACS[port.index()], (CLIENT, 5000), (VIP, 80), flags, b"");
        rig.put(port, &from(SYN)).one();
        rig.put(port, &from(ACK)).one();
    }
    assert_eq!((rig.drops(DropReason::RpFilter), rig.connections()), (0, 1));
}

/// One of the next hops must be behind the port, as in
/// `net/ipv4/fib_semantics.c: fib_info_nh_uses_dev`.
#[test]
fn packets_may_not_come_by_a_port_without_a_next_hop() {
    let ports = [WAN].into_iter().collect();
    for target in [RouteTarget::Spread(0, ports), RouteTarget::OnLinks { port: LAN, mtu: 1500, ports }] {
        let mut rig = strict_with_clients_behind(target);
        assert_eq!(syn(&mut rig, LAN, CLIENT), Some(DropReason::RpFilter), "{target:?}");
        assert_eq!(syn(&mut rig, WAN, CLIENT), None, "{target:?}");
    }
}

/// A macvlan is on top of WAN's host interface. For Linux, packets by WAN then come by the macvlan.
#[test]
fn senders_behind_an_interface_on_top_of_a_port_may_come_by_that_port() {
    let mut rig = strict_with_clients_behind(RouteTarget::Host([WAN].into_iter().collect()));
    assert_eq!(syn(&mut rig, LAN, CLIENT), Some(DropReason::RpFilter));
    assert_eq!(syn(&mut rig, WAN, CLIENT), None);
    let mut rig = strict_with_clients_behind(RouteTarget::Host(PortSet::default()));
    assert_eq!(syn(&mut rig, WAN, CLIENT), Some(DropReason::RpFilter));
}

#[test]
fn errors_from_the_wrong_side_are_dropped_if_linux_is_strict() {
    for mode in MODES {
        let mut rig = director(Method::Masquerade, filter(mode));
        let forwarded = rig.tcp(5000, 80, SYN).one().1[14..42].to_vec();
        let mut icmp = vec![3, 1, 0, 0, 0, 0, 0, 0];
        icmp.extend_from_slice(&forwarded);
        let sum = dataplane::wire::checksum::compute(&icmp);
        icmp[2..4].copy_from_slice(&sum);
        let mut frame = tcp(MACS[0], (rip(11), 0), (CLIENT, 0), 0, b"")[..34].to_vec();
        frame[16..18].copy_from_slice(&(20 + icmp.len() as u16).to_be_bytes());
        frame[23] = 1;
        fix_ip(&mut frame);
        frame.extend_from_slice(&icmp);
        let out = rig.put(WAN, &frame);
        assert_eq!(out.sent.is_empty(), mode == RpFilter::Strict, "{mode:?}");
    }
}

/// A SYN with these IP options, padded to whole words.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut frame = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"");
    let mut padded = options.to_vec();
    padded.resize(options.len().next_multiple_of(4), 0);
    frame[14] += (padded.len() / 4) as u8;
    frame.splice(34..34, padded.iter().copied());
    let len = frame.len() as u16 - 14;
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    fix_ip(&mut frame);
    frame
}

#[test]
fn source_routed_packets_are_refused_unless_they_are_accepted() {
    let routes: [&[u8]; 3] =
        [&[131, 7, 8, 10, 0, 0, 9], &[137, 7, 4, 10, 0, 1, 9], &[1, 1, 131, 7, 8, 10, 0, 0, 9]];
    for route in routes {
        let mut rig = director(Method::Masquerade, Input::default());
        rig.put(WAN, &with_options(route)).nothing();
        assert_eq!((rig.drops(DropReason::SourceRoute), rig.connections()), (1, 0));
        let input = Input { accept_source_route: true, ..Input::default() };
        director(Method::Masquerade, input).put(WAN, &with_options(route)).one();
    }
    // Record route, a time stamp, an unknown option, and bytes after the end of the list.
    let harmless: [&[u8]; 4] =
        [&[7, 7, 4, 0, 0, 0, 0], &[68, 8, 5, 0, 0, 0, 0, 0], &[99, 4, 4, 0], &[0, 131, 7, 8]];
    for options in harmless {
        director(Method::Masquerade, Input::default()).put(WAN, &with_options(options)).one();
    }
    for options in [&[7, 40, 4, 0], &[99, 1, 4, 0], &[1, 1, 1, 7]] {
        let mut rig = director(Method::Masquerade, Input::default());
        rig.put(WAN, &with_options(options)).nothing();
        assert_eq!(rig.drops(DropReason::Malformed), 1, "{options:?}");
    }
}
