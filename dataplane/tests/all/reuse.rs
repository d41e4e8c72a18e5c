//! Packets that begin a new connection in place of an old one, and packets without a connection.

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

/// A service on port 80 with round robin over real servers 11 and 12. The first connection goes to
/// 12.
fn director(method: Method) -> (Rig, DestId, DestId) {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let a = rig.dest(service, 11, 80, method, 1);
    let b = rig.dest(service, 12, 80, method, 1);
    (rig, a, b)
}

/// Opens and closes a connection from `cport` to server 12, so that it is in TIME_WAIT.
fn time_wait(rig: &mut Rig, cport: u16) {
    assert_eq!(rig.syn_to(cport, 80), 12);
    rig.tcp(cport, 80, ACK);
    rig.reply(12, 80, cport, FIN | ACK);
    rig.tcp(cport, 80, FIN | ACK);
    assert_eq!(rig.state(cport).0, "TIME_WAIT");
}

#[test]
fn a_syn_in_time_wait_or_close_makes_a_new_connection() {
    for mode in [1, 2, 3] {
        let (mut rig, a, b) = director(Method::Masquerade);
        rig.tune(|t| t.conn_reuse_mode = mode);
        time_wait(&mut rig, 5000);
        assert_eq!(rig.syn_to(5000, 80), 11, "mode {mode}");
        assert_eq!((rig.load(a), rig.load(b), rig.connections()), ((1, 0, 0), (0, 0, 0), 1));
        rig.reply(11, 80, 5000, RST);
        assert_eq!(rig.state(5000).0, "CLOSE");
        assert_eq!(rig.syn_to(5000, 80), 12);
        assert_eq!((rig.load(a), rig.load(b)), ((0, 0, 0), (1, 0, 0)));
        // Two of three connections ended before their timeout.
        let counts = [&rig.stats.created, &rig.stats.expired, &rig.stats.ended].map(|count| count.get());
        assert_eq!(counts, [3, 0, 2]);
        rig.assert_accounted();
    }
}

#[test]
fn with_reuse_mode_0_a_syn_stays_where_it_was() {
    let (mut rig, ..) = director(Method::Masquerade);
    rig.tune(|t| t.conn_reuse_mode = 0);
    time_wait(&mut rig, 5000);
    assert_eq!(rig.syn_to(5000, 80), 12);
    assert_eq!(rig.state(5000), ("SYN_RECV", 60));
}

#[test]
fn a_syn_on_an_open_connection_stays_in_every_mode() {
    for mode in 0..=3 {
        let (mut rig, a, _) = director(Method::Masquerade);
        rig.tune(|t| t.conn_reuse_mode = mode);
        assert_eq!(rig.syn_to(5000, 80), 12);
        assert_eq!(rig.syn_to(5000, 80), 12);
        rig.tcp(5000, 80, ACK);
        assert_eq!(rig.syn_to(5000, 80), 12);
        assert_eq!((rig.state(5000), rig.load(a)), (("ESTABLISHED", 900), (0, 0, 0)));
    }
}

#[test]
fn fin_wait_of_one_way_traffic_is_reused_only_in_mode_2() {
    for (mode, server) in [(0, 12), (1, 12), (2, 11), (3, 11)] {
        let (mut rig, ..) = director(Method::DirectRoute);
        rig.tune(|t| t.conn_reuse_mode = mode);
        rig.syn_to(5000, 80);
        rig.tcp(5000, 80, ACK);
        rig.tcp(5000, 80, FIN | ACK);
        assert_eq!(rig.state(5000).0, "FIN_WAIT");
        assert_eq!(rig.syn_to(5000, 80), server, "mode {mode}");
        assert_eq!(rig.state(5000).0, "SYN_RECV");
        assert_eq!(rig.connections(), 1);
    }
}

#[test]
fn fin_wait_of_two_way_traffic_is_not_reused() {
    let (mut rig, ..) = director(Method::Masquerade);
    rig.tune(|t| t.conn_reuse_mode = 3);
    rig.syn_to(5000, 80);
    rig.tcp(5000, 80, ACK);
    rig.reply(12, 80, 5000, FIN | ACK);
    assert_eq!((rig.state(5000).0, rig.syn_to(5000, 80)), ("FIN_WAIT", 12));
}

#[test]
fn packets_that_begin_no_connection_go_to_the_host() {
    let (mut rig, a, b) = director(Method::Masquerade);
    for flags in [ACK, RST, RST | ACK, FIN, FIN | ACK, 0, SYN | RST] {
        rig.tcp(5000, 80, flags).to_host();
    }
    rig.tcp(5000, 81, SYN).to_host();
    rig.udp(5000, 80).to_host();
    assert_eq!((rig.connections(), rig.load(a), rig.load(b)), (0, (0, 0, 0), (0, 0, 0)));
    rig.tcp(5000, 80, SYN | ACK).one();
    rig.assert_accounted();
}

#[test]
fn sloppy_tcp_makes_connections_from_any_packet_except_a_reset() {
    let (mut rig, ..) = director(Method::Masquerade);
    rig.tune(|t| t.sloppy_tcp = true);
    rig.tcp(5000, 80, RST).to_host();
    rig.tcp(5000, 80, ACK).one();
    assert_eq!(rig.state(5000), ("ESTABLISHED", 900));
    rig.tcp(5001, 80, FIN | ACK).one();
    assert_eq!(rig.state(5001), ("CLOSE", 10));
    rig.wait_ticks(1050);
    assert_eq!(rig.connections(), 1, "a connection whose first state has a short timeout ends in time");
}

#[test]
fn port_20_clients_are_never_scheduled() {
    let (mut rig, ..) = director(Method::Masquerade);
    rig.tcp(20, 80, SYN).to_host();
    assert_eq!(rig.connections(), 0);
}

#[test]
fn services_are_looked_up_by_port_then_as_ftp_then_by_port_0() {
    let mut rig = Rig::new();
    let ftp = rig.service_with(TCP, 21, Kind::Rr, |spec| spec.persistence = persistence(300));
    rig.dest(ftp, 11, 0, Method::Masquerade, 1);
    let web = rig.service(TCP, 5000, Kind::Rr);
    rig.dest(web, 12, 80, Method::Masquerade, 1);
    let to = |rig: &mut Rig, cport, port| rig.syn_to(cport, port);
    assert_eq!(to(&mut rig, 7001, 5000), 12);
    for (cport, port) in [(7002, 21), (7003, 5001), (7004, 20), (7005, 65_535), (7006, 1024)] {
        assert_eq!(to(&mut rig, cport, port), 11, "port {port}");
    }
    for port in [500, 1023, 22] {
        rig.tcp(7007, port, SYN).to_host();
    }
    let all = rig.service_with(TCP, 0, Kind::Rr, |spec| spec.persistence = persistence(300));
    rig.dest(all, 13, 0, Method::Masquerade, 1);
    assert_eq!((to(&mut rig, 7011, 5001), to(&mut rig, 7012, 5000)), (11, 12));
    // The client above has a template for all ports of the VIP, made for FTP. The service of port 0
    // uses the same template, as in Linux.
    assert_eq!(to(&mut rig, 7010, 500), 11);
    let frame = tcp(MACS[0], (Ipv4Addr::new(192, 168, 7, 3), 7010), (VIP, 500), SYN, b"");
    assert_eq!(rig.put(WAN, &frame).seen().dst, (rip(13), 500));
    rig.udp(7013, 500).to_host();
    rig.assert_accounted();
}

#[test]
fn an_ftp_service_without_persistence_leaves_data_ports_to_the_host() {
    let mut rig = Rig::new();
    let ftp = rig.service(TCP, 21, Kind::Rr);
    rig.dest(ftp, 11, 21, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(7000, 21), 11);
    rig.tcp(7001, 5000, SYN).to_host();
    rig.tcp(7001, 20, SYN).to_host();
}

#[test]
fn packets_from_impossible_senders_are_dropped() {
    use dataplane::verdict::DropReason::Martian;
    let (mut rig, ..) = director(Method::Masquerade);
    for src in ["127.0.0.1", "224.0.0.5", "255.255.255.255", "0.0.0.0", "0.1.2.3"] {
        let frame = tcp(MACS[0], (src.parse().unwrap(), 5000), (VIP, 80), SYN, b"");
        rig.put(WAN, &frame).nothing();
    }
    assert_eq!((rig.drops(Martian), rig.connections()), (5, 0));
    rig.assert_accounted();
}

#[test]
fn the_scheduler_still_counts_the_connection_that_is_replaced() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Lc);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    let b = rig.dest(service, 12, 80, Method::Masquerade, 1);
    time_wait(&mut rig, 5000);
    assert_eq!(rig.load(b), (0, 1, 0));
    assert_eq!(rig.syn_to(5000, 80), 11, "12 still counts the old connection while the new one is scheduled");
    assert_eq!((rig.load(b), rig.connections()), ((0, 0, 0), 1));
    rig.assert_accounted();
}

#[test]
fn an_error_about_an_unplaced_syn_counts_for_the_connection_it_replaces() {
    let (mut rig, _, b) = director(Method::DirectRoute);
    assert_eq!(rig.syn_to(5000, 80), 12);
    rig.tcp(5000, 80, ACK);
    rig.tcp(5000, 80, RST);
    assert_eq!(rig.state(5000).0, "CLOSE");
    for dest in [0, 1].map(DestId::new) {
        rig.weight(only_service(), dest, 0);
    }
    let before = rig.packets(b);
    rig.tcp(5000, 80, SYN).one();
    assert_eq!(rig.packets(b), (before.0, before.1 + 1));
    rig.assert_accounted();
}

/// The id of the service that [`director`] makes.
fn only_service() -> dataplane::snapshot::service::ServiceId {
    dataplane::snapshot::service::ServiceId::new(0)
}
