//! Persistence: clients keep their server. When templates are refreshed, and when they end.

use std::net::Ipv4Addr;

use dataplane::conn::track::ASSURED;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::Persistence;
use dataplane::snapshot::service::ServiceId;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

/// A persistent service on port 80, round robin over real servers 11 and 12 on port 8080. The first
/// choice is 12.
fn sticky(timeout: u32) -> (Rig, ServiceId, [DestId; 2]) {
    let mut rig = Rig::new();
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| spec.persistence = persistence(timeout));
    let a = rig.dest(service, 11, 8080, Method::Masquerade, 1);
    let b = rig.dest(service, 12, 8080, Method::Masquerade, 1);
    (rig, service, [a, b])
}

fn syn_from(rig: &mut Rig, client: [u8; 4], cport: u16) -> u8 {
    let frame = tcp(MACS[0], (client.into(), cport), (VIP, 80), SYN, b"");
    rig.put(WAN, &frame).one().1[5]
}

/// Resets the client's connection from `cport`. It then has 10 seconds in CLOSE.
fn reset(rig: &mut Rig, n: u8, cport: u16) {
    rig.reply(n, 8080, cport, RST).one();
}

#[test]
fn a_client_keeps_its_server_and_a_template_remembers_it() {
    let (mut rig, _, [_, b]) = sticky(300);
    for cport in 5000..5004 {
        assert_eq!(rig.syn_to(cport, 80), 12);
    }
    assert_eq!(syn_from(&mut rig, [192, 168, 7, 3], 5000), 11, "another client gets another server");
    let templates = rig.templates();
    let one = templates.iter().find(|view| view.client.0 == CLIENT).unwrap();
    assert_eq!((one.client.1, one.virt, one.dest), (0, (VIP, 80), (rip(12), 8080)));
    assert_eq!((one.protocol, one.expires_in), (TCP, 30_000));
    assert_eq!((templates.len(), rig.load(b)), (2, (4, 0, 1)));
    let stats = rig.stats.dest(b).unwrap();
    assert_eq!((stats.conns.get(), stats.in_pkts.get()), (4, 4), "templates are not counted as connections");
    rig.assert_accounted();
}

#[test]
fn the_mask_groups_clients() {
    let mut rig = Rig::new();
    let netmask = Ipv4Addr::new(255, 255, 255, 0);
    let service = rig.service_with(TCP, 80, Kind::Rr, |spec| {
        spec.persistence = Some(Persistence { timeout: 300, netmask });
    });
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.dest(service, 12, 80, Method::Masquerade, 1);
    let first = syn_from(&mut rig, [192, 168, 7, 3], 1000);
    assert_eq!(syn_from(&mut rig, [192, 168, 7, 200], 1000), first);
    assert_ne!(syn_from(&mut rig, [192, 168, 8, 3], 1000), first);
    let networks: Vec<_> = rig.templates().iter().map(|view| view.client.0).collect();
    assert!(networks.contains(&Ipv4Addr::new(192, 168, 7, 0)) && networks.len() == 2);
}

#[test]
fn a_template_lives_its_timeout_after_its_last_connection() {
    let (mut rig, _, [_, b]) = sticky(30);
    rig.syn_to(5000, 80);
    reset(&mut rig, 12, 5000);
    rig.wait(20);
    assert_eq!(rig.load(b), (0, 0, 1));
    assert_eq!(rig.syn_to(5001, 80), 12, "the template is used again at 20 s");
    reset(&mut rig, 12, 5001);
    rig.wait(29);
    assert_eq!(rig.load(b), (0, 0, 1));
    rig.wait_ticks(150);
    assert_eq!((rig.load(b), rig.connections()), ((0, 0, 0), 0));
    assert_eq!(rig.syn_to(5002, 80), 11, "the scheduler chooses again");
}

#[test]
fn the_end_of_a_template_is_postponed_by_60_seconds_while_it_has_connections() {
    let (mut rig, _, [_, b]) = sticky(2);
    rig.syn_to(5000, 80);
    rig.tcp(5000, 80, ACK);
    rig.wait(3);
    let left = rig.templates()[0].expires_in;
    assert!((5800..=6000).contains(&left), "{left}");
    rig.wait(62);
    assert_eq!(rig.load(b), (1, 0, 1), "the end is postponed again");
    reset(&mut rig, 12, 5000);
    rig.wait(11);
    assert_eq!(rig.load(b), (0, 0, 1));
    assert_eq!(rig.syn_to(5001, 80), 12);
    let left = rig.templates()[0].expires_in;
    assert_eq!(left, 6000, "from then on its timeout is the postponement");
}

#[test]
fn new_connections_refresh_the_template_and_packets_do_not() {
    let (mut rig, ..) = sticky(100);
    rig.syn_to(5000, 80);
    rig.wait(40);
    rig.tcp(5000, 80, ACK);
    assert_eq!(rig.templates()[0].expires_in, 6000);
    rig.syn_to(5001, 80);
    assert_eq!(rig.templates()[0].expires_in, 10_000);
}

#[test]
fn a_template_is_assured_once_a_connection_is_established_or_answered() {
    let (mut rig, ..) = sticky(100);
    rig.syn_to(5000, 80);
    assert_eq!(rig.templates()[0].state, 0);
    rig.tcp(5000, 80, ACK);
    assert_eq!(rig.templates()[0].state, ASSURED);

    let mut rig = Rig::new();
    let dns = rig.service_with(UDP, 53, Kind::Rr, |spec| spec.persistence = persistence(100));
    rig.dest(dns, 11, 53, Method::Masquerade, 1);
    rig.udp(6000, 53).one();
    assert_eq!(rig.templates()[0].state, 0);
    rig.put(LAN, &udp(MACS[1], (rip(11), 53), (CLIENT, 6000), b"answer")).one();
    assert_eq!(rig.templates()[0].state, ASSURED);
}

#[test]
fn weight_0_ends_persistence_only_with_expire_quiescent_template() {
    let (mut rig, service, [_, b]) = sticky(300);
    rig.syn_to(5000, 80);
    rig.weight(service, b, 0);
    assert_eq!(rig.syn_to(5001, 80), 12);
    rig.tune(|t| t.expire_quiescent_template = true);
    assert_eq!(rig.syn_to(5002, 80), 11);
    assert_eq!(rig.tcp(5001, 80, ACK).seen().dst.0, rip(12), "connections stay");
}

#[test]
fn a_deleted_destination_invalidates_the_template() {
    let (mut rig, service, [a, b]) = sticky(300);
    rig.syn_to(5000, 80);
    rig.delete(service, b);
    assert_eq!(rig.syn_to(5001, 80), 11);
    let templates = rig.templates();
    let old = templates.iter().find(|view| view.dest.0 == rip(12)).unwrap();
    assert_eq!((old.client, old.virt.1, old.dest.1), ((CLIENT, 0), 65_535, 65_535));
    let new = templates.iter().find(|view| view.dest.0 == rip(11)).unwrap();
    assert_eq!((new.virt.1, new.dest.1), (80, 8080));
    assert_eq!((rig.load(a), rig.load(b)), ((1, 0, 1), (1, 0, 1)));
    rig.wait(420);
    assert_eq!((rig.load(a), rig.load(b), rig.connections()), ((0, 0, 0), (0, 0, 0), 0));
}

/// Connections may still hang on an invalidated template, so none may be removed.
#[test]
fn a_server_that_flaps_invalidates_again_and_again() {
    let (mut rig, service, [a, b]) = sticky(300);
    let (mut up, mut down) = ((b, 12), (a, 11));
    rig.delete(service, a);
    for cport in 5000..5020 {
        assert_eq!(rig.syn_to(cport, 80), up.1);
        rig.tcp(cport, 80, ACK);
        rig.dest_as(down.0, service, down.1, 8080, Method::Masquerade, 1);
        rig.delete(service, up.0);
        (up, down) = (down, up);
    }
    assert_eq!((rig.load(a), rig.load(b)), ((10, 0, 10), (10, 0, 10)));
    let invalid = rig.templates().iter().filter(|view| view.virt.1 == 65_535).count();
    assert_eq!(invalid, 19);
    rig.wait(100);
    assert_eq!(rig.templates().len(), 20);
    rig.wait(1300);
    assert_eq!((rig.connections(), rig.load(a), rig.load(b)), (0, (0, 0, 0), (0, 0, 0)));
}

#[test]
fn a_service_on_port_65535_can_lose_its_destination_too() {
    let mut rig = Rig::new();
    let service = rig.service_with(TCP, 65_535, Kind::Rr, |spec| spec.persistence = persistence(300));
    let a = rig.dest(service, 11, 80, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5000, 65_535), 11);
    rig.dest(service, 12, 80, Method::Masquerade, 1);
    rig.delete(service, a);
    assert_eq!(rig.syn_to(5001, 65_535), 12);
    assert_eq!(rig.syn_to(5002, 65_535), 12);
}

#[test]
fn a_syn_never_moves_a_persistent_connection() {
    let (mut rig, ..) = sticky(300);
    rig.syn_to(5000, 80);
    reset(&mut rig, 12, 5000);
    assert_eq!(rig.syn_to(5000, 80), 12);
    assert_eq!((rig.state(5000), rig.connections()), (("SYN_RECV", 60), 2));
}

#[test]
fn port_0_and_ftp_share_all_ports_of_the_vip() {
    let mut rig = Rig::new();
    let all = rig.service_with(TCP, 0, Kind::Rr, |spec| spec.persistence = persistence(300));
    rig.dest(all, 11, 0, Method::Masquerade, 1);
    rig.dest(all, 12, 0, Method::Masquerade, 1);
    for (cport, port) in [(5000, 80), (5001, 443), (5002, 2049)] {
        assert_eq!(rig.tcp(cport, port, SYN).seen().dst, (rip(12), port));
    }
    let one = rig.templates();
    assert_eq!((one.len(), one[0].virt, one[0].dest), (1, (VIP, 0), (rip(12), 0)));
}
