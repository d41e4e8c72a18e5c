//! Services by firewall mark: the packets that they get, their connections and templates, and the
//! schedulers that are useful only if packets of one service go to many addresses.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::io::PortId;
use dataplane::marks::Marks;
use dataplane::marks::rule::Action;
use dataplane::marks::rule::Net;
use dataplane::marks::rule::Ports;
use dataplane::marks::rule::Rule;
use dataplane::marks::rule::Side;
use dataplane::marks::rule::Term;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::Selector;
use dataplane::snapshot::service::ServiceId;
use sched::Kind;

use crate::rig::*;

/// Packets to `addr`/`prefix` get `mark`.
fn to(addr: [u8; 4], prefix: u32, mark: u32) -> Rule {
    let mask = Ipv4Addr::from_bits(u32::MAX << (32 - prefix));
    Rule {
        source: None,
        destination: Some(Term { value: Net { addr: addr.into(), mask }, negated: false }),
        ingress: None,
        protocol: None,
        ports: Vec::new(),
        action: Action::Set { value: mark, mask: u32::MAX },
    }
}

/// The usual rule of LVS guides: these ports of the VIP get one mark.
fn vip_ports(ports: &[u16], mark: u32) -> Rule {
    let ranges = ports.iter().map(|port| (*port, *port)).collect();
    let ports = Term { value: Ports { side: Side::Destination, ranges }, negated: false };
    Rule {
        protocol: Some(Term { value: TCP, negated: false }),
        ports: vec![ports],
        ..to(VIP.octets(), 32, mark)
    }
}

fn set_marks(rig: &mut Rig, rules: &[Rule]) {
    rig.master().set_marks(Arc::new(Marks::compile(rules).unwrap()));
    rig.publish();
}

fn by_mark(rig: &mut Rig, mark: u32, kind: Kind, persistent: Option<u32>) -> ServiceId {
    rig.service_with(TCP, 0, kind, |spec| {
        spec.key = Selector::Mark(mark);
        spec.persistence = persistent.and_then(persistence);
    })
}

/// A rig with one service by mark 1. All packets to 10.9.0.0/16 have this mark.
fn many(kind: Kind) -> (Rig, ServiceId) {
    let mut rig = Rig::new();
    set_marks(&mut rig, &[to([10, 9, 0, 0], 16, 1)]);
    let service = by_mark(&mut rig, 1, kind, None);
    (rig, service)
}

/// The number of the real server that a SYN to `addr`:80 reaches; 0 if it reaches none.
fn syn_via(rig: &mut Rig, cport: u16, addr: [u8; 4]) -> u8 {
    let frame = tcp(MACS[0], (CLIENT, cport), (addr.into(), 80), SYN, b"");
    let out = rig.put(WAN, &frame);
    out.sent.first().filter(|(port, _)| *port == LAN).map_or(0, |(_, frame)| frame[5])
}

#[test]
fn a_client_gets_the_same_server_on_both_ports_of_a_mark() {
    let mut rig = Rig::new();
    set_marks(&mut rig, &[vip_ports(&[80, 443], 666)]);
    let service = by_mark(&mut rig, 666, Kind::Rr, Some(300));
    let a = rig.dest(service, 11, 0, Method::Masquerade, 1);
    let b = rig.dest(service, 12, 0, Method::Masquerade, 1);
    for (cport, port) in [(5000, 80), (5001, 443), (5002, 80), (5003, 443)] {
        assert_eq!(rig.tcp(cport, port, SYN).seen().dst, (rip(12), port));
    }
    rig.tcp(5004, 8080, SYN).to_host();
    let frame = tcp(MACS[0], ([192, 168, 7, 3].into(), 5000), (VIP, 443), SYN, b"");
    assert_eq!(rig.put(WAN, &frame).seen().dst, (rip(11), 443), "another client gets another server");
    assert_eq!((rig.load(a), rig.load(b)), ((1, 0, 1), (4, 0, 1)));

    let templates = rig.templates();
    let one = templates.iter().find(|view| view.client.0 == CLIENT).unwrap();
    assert_eq!(one.protocol, 0);
    assert_eq!((one.client.1, one.virt, one.dest), (0, ([0, 0, 2, 154].into(), 0), (rip(12), 0)));
    assert_eq!((templates.len(), one.expires_in), (2, 30_000));
    let conn = rig.conn(5001).unwrap();
    assert_eq!((conn.virt, conn.dest, conn.service), ((VIP, 443), (rip(12), 443), service.as_u32()));
    // Replies come from the VIP.
    assert_eq!(rig.reply(12, 443, 5001, SYN | ACK).seen().src, (VIP, 443));
    rig.assert_accounted();
}

#[test]
fn templates_of_marks_end_and_are_invalidated_like_others() {
    let mut rig = Rig::new();
    set_marks(&mut rig, &[vip_ports(&[80, 443], 7)]);
    let service = by_mark(&mut rig, 7, Kind::Rr, Some(30));
    rig.dest(service, 11, 0, Method::Masquerade, 1);
    let b = rig.dest(service, 12, 0, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5000, 80), 12);
    rig.delete(service, b);
    assert_eq!(rig.syn_to(5001, 443), 11);
    let invalid = rig.templates().into_iter().find(|view| view.dest.0 == rip(12)).unwrap();
    assert_eq!((invalid.protocol, invalid.virt), (0, ([0, 0, 0, 7].into(), 65_535)));
    rig.wait(300);
    assert_eq!(rig.connections(), 0);
}

#[test]
fn the_service_of_the_mark_comes_before_that_of_the_address() {
    let mut rig = Rig::new();
    let exact = rig.service(TCP, 80, Kind::Rr);
    rig.dest(exact, 11, 80, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5000, 80), 11);
    let marked = by_mark(&mut rig, 5, Kind::Rr, None);
    rig.dest(marked, 12, 0, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5001, 80), 11, "no packet has the mark yet");
    set_marks(&mut rig, &[vip_ports(&[80], 5)]);
    assert_eq!(rig.syn_to(5002, 80), 12);
    assert_eq!(rig.tcp(5001, 80, ACK).seen().dst.0, rip(11), "connections stay");
    // A mark without a service has no effect. A mark's service without destinations does not make
    // way for the address's service.
    set_marks(&mut rig, &[vip_ports(&[80], 6)]);
    assert_eq!(rig.syn_to(5003, 80), 11);
    by_mark(&mut rig, 6, Kind::Rr, None);
    assert_eq!(rig.tcp(5004, 80, SYN).seen().payload[..2], [3, 3], "port unreachable");
    set_marks(&mut rig, &[]);
    assert_eq!(rig.syn_to(5005, 80), 11);
    rig.assert_accounted();
}

#[test]
fn removing_a_mark_service_changes_no_other_service() {
    let mut rig = Rig::new();
    set_marks(&mut rig, &[vip_ports(&[80], 5)]);
    let exact = rig.service(TCP, 80, Kind::Rr);
    rig.dest(exact, 11, 80, Method::Masquerade, 1);
    let marked = by_mark(&mut rig, 5, Kind::Rr, None);
    rig.dest(marked, 12, 0, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5000, 80), 12);
    rig.master().remove_service(marked);
    rig.publish();
    assert_eq!(rig.syn_to(5001, 80), 11);
}

#[test]
fn ports_stay_unless_a_destination_has_one_and_the_service_is_not_persistent() {
    let mut rig = Rig::new();
    set_marks(&mut rig, &[vip_ports(&[80, 443], 1), vip_ports(&[21, 22], 2)]);
    let plain = by_mark(&mut rig, 1, Kind::Rr, None);
    rig.dest(plain, 11, 0, Method::Masquerade, 1);
    rig.dest(plain, 12, 8080, Method::Masquerade, 1);
    assert_eq!(rig.tcp(5000, 443, SYN).seen().dst, (rip(12), 8080));
    assert_eq!(rig.tcp(5001, 443, SYN).seen().dst, (rip(11), 443));
    let sticky = by_mark(&mut rig, 2, Kind::Rr, Some(300));
    rig.dest(sticky, 13, 8080, Method::Masquerade, 1);
    assert_eq!(rig.tcp(5002, 22, SYN).seen().dst, (rip(13), 22));
    assert_eq!(rig.tcp(5003, 21, SYN).seen().dst, (rip(13), 21));
}

#[test]
fn udp_services_by_mark_work_also_with_one_packet_scheduling() {
    let mut rig = Rig::new();
    set_marks(&mut rig, &[to([10, 9, 0, 0], 16, 1), to(VIP.octets(), 32, 2)]);
    let service = by_mark(&mut rig, 1, Kind::Rr, None);
    rig.dest(service, 11, 0, Method::Masquerade, 1);
    let frame = udp(MACS[0], (CLIENT, 6000), ([10, 9, 3, 3].into(), 53), b"query");
    assert_eq!(rig.put(WAN, &frame).seen().dst, (rip(11), 53));
    assert_eq!(rig.conn(6000).unwrap().virt, ([10, 9, 3, 3].into(), 53));
    let ops = rig.service_with(UDP, 0, Kind::Rr, |spec| {
        spec.key = Selector::Mark(2);
        spec.one_packet = true;
    });
    rig.dest(ops, 12, 0, Method::Masquerade, 1);
    rig.dest(ops, 13, 5353, Method::Masquerade, 1);
    assert_eq!(rig.udp(6001, 53).seen().dst, (rip(13), 5353));
    assert_eq!(rig.udp(6001, 54).seen().dst, (rip(12), 54));
    assert_eq!(rig.connections(), 1);
    rig.assert_accounted();
}

#[test]
fn a_rule_can_name_the_interface_that_a_packet_came_by() {
    let mut rig = Rig::new();
    let lan = Term { value: vec![PortId::new(1)], negated: false };
    set_marks(&mut rig, &[Rule { ingress: Some(lan), ..to([10, 9, 0, 0], 16, 1) }]);
    let service = by_mark(&mut rig, 1, Kind::Rr, None);
    rig.dest(service, 11, 0, Method::DirectRoute, 1);
    let frame = |mac| tcp(mac, (CLIENT, 5000), ([10, 9, 0, 1].into(), 80), SYN, b"");
    rig.put(WAN, &frame(MACS[0])).to_host();
    assert_eq!(rig.put(LAN, &frame(MACS[1])).one().1[5], 11);
}

#[test]
fn services_by_mark_work_with_every_method() {
    for method in [Method::Masquerade, Method::DirectRoute, Method::Tunnel, Method::FullNat] {
        let (mut rig, service) = many(Kind::Rr);
        rig.dest(service, 11, 0, method, 1);
        assert_eq!(syn_via(&mut rig, 5000, [10, 9, 0, 1]), 11, "{method:?}");
        let ack = tcp(MACS[0], (CLIENT, 5000), ([10, 9, 0, 1].into(), 80), ACK, b"");
        rig.put(WAN, &ack).one();
        assert_eq!((rig.state(5000).0, rig.connections()), ("ESTABLISHED", 1));
    }
}

/// Case DH1 of the scheduler specification.
#[test]
fn dh_chooses_by_the_destination_address() {
    let (mut rig, service) = many(Kind::Dh);
    for n in [21, 22, 23] {
        rig.dest(service, n, 0, Method::Masquerade, 1);
    }
    let picks: Vec<_> = (1..=12).map(|n| syn_via(&mut rig, 5000 + u16::from(n), [10, 9, 0, n])).collect();
    assert_eq!(picks, [21, 23, 22, 21, 22, 23, 23, 21, 22, 21, 22, 22]);
}

/// The real servers that SYNs to 10.9.0.N reach, for each N in `to`. `list` gives the destinations,
/// the first in the list first.
fn locality(kind: Kind, list: [(u8, i32); 2], to: &[u8]) -> Vec<u8> {
    let (mut rig, service) = many(kind);
    for (n, weight) in list.into_iter().rev() {
        rig.dest(service, n, 0, Method::Masquerade, weight);
    }
    to.iter().zip(5000..).map(|(n, cport)| syn_via(&mut rig, cport, [10, 9, 0, *n])).collect()
}

const SPREAD: [u8; 11] = [1, 2, 1, 1, 1, 1, 2, 3, 2, 2, 2];

/// Cases LBLC1 and LBLC2.
#[test]
fn lblc_keeps_the_server_of_an_address_until_it_is_busy() {
    let picks = locality(Kind::Lblc, [(25, 2), (24, 1)], &SPREAD);
    assert_eq!(picks, [25, 24, 25, 25, 25, 25, 24, 24, 24, 24, 24]);
    let picks = locality(Kind::Lblc, [(29, 6), (28, 3)], &[1; 14]);
    assert_eq!(picks, [29, 29, 29, 29, 29, 29, 29, 28, 28, 28, 28, 28, 28, 28]);
}

/// Cases LBLCR1 and LBLCR2.
#[test]
fn lblcr_keeps_a_set_of_servers_for_an_address() {
    let picks = locality(Kind::Lblcr, [(27, 2), (26, 1)], &SPREAD);
    assert_eq!(picks, [27, 26, 27, 27, 27, 27, 26, 26, 26, 26, 26]);
    let picks = locality(Kind::Lblcr, [(31, 6), (30, 3)], &[1; 14]);
    assert_eq!(picks, [31, 31, 31, 31, 31, 31, 31, 30, 30, 30, 30, 31, 30, 31]);
}
