//! Fragments of balanced packets in both directions, and fragments of similar packets.

use std::net::Ipv4Addr;

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use dataplane::wire::ether::Mac;
use sched::Kind;

use crate::rig::*;

/// A host that is no real server.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// A datagram of 4096 bytes in three fragments, as on a link with MTU 1500.
fn fragments(mac: Mac, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), id: u16) -> Vec<Vec<u8>> {
    let whole = udp(mac, from, to, &[7; 4096]);
    let data = &whole[34..];
    let cut = |(at, part): (usize, &[u8])| {
        let mut frame = [&whole[..34], part].concat();
        let more = if at + part.len() < data.len() { 0x2000 } else { 0 };
        frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        frame[20..22].copy_from_slice(&(more | (at / 8) as u16).to_be_bytes());
        fix_ip(&mut frame);
        frame
    };
    data.chunks(1480).enumerate().map(|(n, part)| cut((n * 1480, part))).collect()
}

/// Puts fragments in one by one. Returns how many went to Linux. None may leave.
fn to_host(rig: &mut Rig, port: PortId, frames: &[Vec<u8>]) -> usize {
    let outs = frames.iter().map(|frame| rig.put(port, frame));
    let count = outs.inspect(|out| assert!(out.sent.is_empty(), "{out:?}")).map(|out| out.host.len()).sum();
    rig.assert_accounted();
    count
}

/// A UDP service with real server 11 and one connection. Also returns the end to which the server
/// answers.
fn director(method: Method) -> (Rig, (Ipv4Addr, u16)) {
    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Rr);
    let port = if method.is_translated() { 5353 } else { 53 };
    rig.dest(service, 11, port, method, 1);
    let out = rig.udp(5000, 53);
    let asker = if method == Method::Tunnel { (CLIENT, 5000) } else { out.seen().src };
    (rig, asker)
}

const TRANSLATED: [Method; 2] = [Method::Masquerade, Method::FullNat];

#[test]
fn a_reply_in_fragments_reaches_neither_the_client_nor_linux() {
    for method in TRANSLATED {
        let (mut rig, asker) = director(method);
        let reply = fragments(MACS[1], (rip(11), 5353), asker, 1);
        assert_eq!((reply.len(), to_host(&mut rig, LAN, &reply)), (3, 0), "{method:?}");
        assert_eq!(rig.drops(DropReason::Fragment), 3);
        // Fragments of another connection, last one first. Their connection cannot be known, but
        // they may be balanced.
        let first = udp(MACS[0], (CLIENT, 5001), (VIP, 53), b"query");
        let Some(asker) = rig.put(WAN, &first).sent.first().map(|(_, bytes)| read(bytes).src) else {
            panic!("not forwarded")
        };
        let backwards: Vec<_> = fragments(MACS[1], (rip(11), 5353), asker, 2).into_iter().rev().collect();
        assert_eq!(to_host(&mut rig, LAN, &backwards), 0, "{method:?}, last one first");
        assert_eq!(rig.drops(DropReason::Fragment), 6);
    }
}

#[test]
fn fragments_that_a_real_server_sends_to_others_go_to_linux() {
    for method in TRANSLATED {
        let (mut rig, _) = director(method);
        for to in [(STRANGER, 53), (CLIENT, 4000), (LIP, 4000)] {
            let own = fragments(MACS[1], (rip(11), 5353), to, 3);
            assert_eq!(to_host(&mut rig, LAN, &own), 3, "{method:?} to {to:?}");
        }
        let others = fragments(MACS[1], (rip(12), 5353), (STRANGER, 53), 3);
        let backwards: Vec<_> = others.into_iter().rev().collect();
        assert_eq!(to_host(&mut rig, LAN, &backwards), 3, "of a host that is no real server");
        assert_eq!(rig.drops(DropReason::Fragment), 0);
    }
}

#[test]
fn fragments_of_replies_that_are_not_rewritten_go_to_linux() {
    for method in [Method::DirectRoute, Method::Tunnel] {
        let (mut rig, _) = director(method);
        let own = fragments(MACS[1], (rip(11), 5353), (STRANGER, 53), 4);
        let backwards: Vec<_> = own.into_iter().rev().collect();
        assert_eq!(to_host(&mut rig, LAN, &backwards), 3, "{method:?}");
    }
}

#[test]
fn a_request_in_fragments_is_dropped_and_one_to_another_port_goes_to_linux() {
    let (mut rig, _) = director(Method::Masquerade);
    assert_eq!(to_host(&mut rig, WAN, &fragments(MACS[0], (CLIENT, 5000), (VIP, 53), 5)), 0);
    assert_eq!(to_host(&mut rig, WAN, &fragments(MACS[0], (CLIENT, 6000), (VIP, 53), 6)), 0);
    assert_eq!(rig.drops(DropReason::Fragment), 6);
    // All fragments to another port of the VIP go to Linux.
    assert_eq!(to_host(&mut rig, WAN, &fragments(MACS[0], (CLIENT, 5000), (VIP, 4500), 7)), 3);
    // If the first fragment was not seen, a later one may belong to the service.
    let last = fragments(MACS[0], (CLIENT, 5000), (VIP, 4500), 8).split_off(2);
    assert_eq!(to_host(&mut rig, WAN, &last), 0);
    assert_eq!(to_host(&mut rig, WAN, &fragments(MACS[0], (CLIENT, 5000), (WIP, 53), 9)), 3);
    assert_eq!((rig.drops(DropReason::Fragment), rig.connections()), (7, 1));
}

#[test]
fn an_identification_is_forgotten_after_30_seconds() {
    let (mut rig, asker) = director(Method::Masquerade);
    let own = fragments(MACS[1], (rip(11), 4000), asker, 10);
    assert_eq!(to_host(&mut rig, LAN, &own[..2]), 2);
    rig.wait(31);
    assert_eq!(to_host(&mut rig, LAN, &own[2..]), 0);
    // Another packet uses the same identification.
    assert_eq!(to_host(&mut rig, LAN, &fragments(MACS[1], (rip(11), 5353), asker, 10)), 0);
    assert_eq!(to_host(&mut rig, LAN, &own), 3);
}

#[test]
fn fragments_of_a_deleted_server_are_dropped_while_it_has_connections() {
    let (mut rig, asker) = director(Method::Masquerade);
    rig.change_dest(sched::DestId::new(0), |info| info.available = false);
    let reply = fragments(MACS[1], (rip(11), 5353), asker, 11);
    assert_eq!(to_host(&mut rig, LAN, &reply), 0);
    rig.master().forget_dest(sched::DestId::new(0));
    rig.publish();
    rig.wait(301);
    assert_eq!(to_host(&mut rig, LAN, &fragments(MACS[1], (rip(11), 5353), asker, 12)[1..]), 2);
}

#[test]
fn a_first_fragment_too_short_for_ports_is_treated_as_a_later_one() {
    let (mut rig, _) = director(Method::Masquerade);
    let mut tiny = fragments(MACS[1], (rip(11), 5353), (STRANGER, 53), 13).swap_remove(0);
    tiny[16..18].copy_from_slice(&23_u16.to_be_bytes());
    fix_ip(&mut tiny);
    assert_eq!(to_host(&mut rig, LAN, &[tiny]), 0);
    assert_eq!(rig.drops(DropReason::Fragment), 1);
}
