//! TCP connections from the first SYN to the last timer: their states, their counts and their ends.

use dataplane::snapshot::dest::Method;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

/// A service on port 80 with real server 11 on port 80.
fn director(method: Method) -> (Rig, DestId) {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, method, 1);
    (rig, dest)
}

const FIN_ACK: u8 = FIN | ACK;

#[test]
fn a_nat_connection_is_closed_by_the_server_first() {
    let (mut rig, dest) = director(Method::Masquerade);
    let mut seen = Vec::new();
    let mut note = |rig: &mut Rig| {
        let (state, left) = rig.state(5000);
        seen.push((state, left, rig.load(dest)));
    };
    rig.tcp(5000, 80, SYN).one();
    note(&mut rig);
    rig.reply(11, 80, 5000, SYN | ACK).one();
    note(&mut rig);
    rig.tcp(5000, 80, ACK).one();
    note(&mut rig);
    rig.reply(11, 80, 5000, FIN_ACK).one();
    note(&mut rig);
    rig.tcp(5000, 80, FIN_ACK).one();
    note(&mut rig);
    assert_eq!(
        seen,
        [
            ("SYN_RECV", 60, (1, 0, 0)),
            ("SYN_RECV", 60, (1, 0, 0)),
            ("ESTABLISHED", 900, (1, 0, 0)),
            ("FIN_WAIT", 120, (0, 1, 0)),
            ("TIME_WAIT", 120, (0, 1, 0)),
        ]
    );
    assert_eq!(rig.packets(dest), (3, 2));
    rig.assert_accounted();
}

#[test]
fn a_nat_connection_is_closed_by_the_client_first_and_then_reset() {
    let (mut rig, dest) = director(Method::Masquerade);
    rig.tcp(5000, 80, SYN).one();
    rig.tcp(5000, 80, ACK).one();
    rig.tcp(5000, 80, FIN_ACK).one();
    assert_eq!((rig.state(5000), rig.load(dest)), (("CLOSE_WAIT", 60), (0, 1, 0)));
    rig.reply(11, 80, 5000, FIN_ACK).one();
    assert_eq!(rig.state(5000), ("TIME_WAIT", 120));
    rig.reply(11, 80, 5000, RST).one();
    assert_eq!(rig.state(5000), ("TIME_WAIT", 120), "a server's reset in TIME_WAIT has no effect");
    rig.tcp(5000, 80, RST).one();
    assert_eq!((rig.state(5000), rig.load(dest)), (("CLOSE", 10), (0, 1, 0)));
}

#[test]
fn one_way_traffic_stays_in_fin_wait() {
    for method in [Method::DirectRoute, Method::Tunnel] {
        let (mut rig, dest) = director(method);
        rig.tcp(5000, 80, SYN).one();
        assert_eq!((rig.state(5000), rig.load(dest)), (("SYN_RECV", 60), (1, 0, 0)));
        rig.tcp(5000, 80, ACK).one();
        assert_eq!((rig.state(5000), rig.load(dest)), (("ESTABLISHED", 900), (1, 0, 0)));
        rig.tcp(5000, 80, FIN_ACK).one();
        rig.tcp(5000, 80, ACK).one();
        assert_eq!((rig.state(5000), rig.load(dest)), (("FIN_WAIT", 120), (0, 1, 0)));
        rig.tcp(5000, 80, RST).one();
        assert_eq!((rig.state(5000), rig.load(dest)), (("CLOSE", 10), (0, 1, 0)));
        rig.wait(11);
        assert_eq!((rig.connections(), rig.load(dest)), (0, (0, 0, 0)));
    }
}

#[test]
fn a_clients_reset_does_not_end_a_half_open_connection() {
    let (mut rig, dest) = director(Method::Masquerade);
    rig.tcp(5000, 80, SYN).one();
    rig.tcp(5000, 80, RST).one();
    assert_eq!((rig.state(5000), rig.load(dest)), (("SYN_RECV", 60), (1, 0, 0)));
    rig.reply(11, 80, 5000, RST | ACK).one();
    assert_eq!((rig.state(5000), rig.load(dest)), (("CLOSE", 10), (0, 1, 0)));
}

#[test]
fn a_refused_connection_counts_as_active_after_another_try() {
    let (mut rig, dest) = director(Method::Masquerade);
    rig.tune(|t| t.conn_reuse_mode = 0);
    rig.tcp(5000, 80, SYN).one();
    rig.reply(11, 80, 5000, RST | ACK).one();
    assert_eq!(rig.load(dest), (0, 1, 0));
    rig.tcp(5000, 80, SYN).one();
    assert_eq!((rig.state(5000), rig.load(dest)), (("SYN_RECV", 60), (1, 0, 0)));
    assert_eq!(rig.stats.dest(dest).unwrap().conns.get(), 1);
}

#[test]
fn a_packet_without_any_known_flag_closes_the_connection() {
    let (mut rig, _) = director(Method::Masquerade);
    rig.tcp(5000, 80, SYN).one();
    rig.tcp(5000, 80, ACK).one();
    rig.tcp(5000, 80, 0).one();
    assert_eq!(rig.state(5000), ("CLOSE", 10));
}

#[test]
fn after_a_reply_a_direct_route_connection_counts_as_two_way() {
    let (mut rig, dest) = director(Method::DirectRoute);
    rig.tcp(5000, 80, SYN).one();
    let reply = tcp(MACS[1], (VIP, 80), (CLIENT, 5000), SYN | ACK, b"");
    let out = rig.put(LAN, &reply);
    out.to_host();
    assert_eq!(out.host[0].2, reply, "Linux routes the reply unchanged");
    rig.tcp(5000, 80, ACK).one();
    rig.tcp(5000, 80, FIN_ACK).one();
    assert_eq!(rig.state(5000), ("CLOSE_WAIT", 60), "the row for traffic in both directions applies");
    assert_eq!(rig.packets(dest), (3, 1));
}

/// Sends packets of a NAT connection in both directions. Returns how many ticks after the last
/// packet it ends.
fn life(packets: &[(char, u8)]) -> u32 {
    let (mut rig, _) = director(Method::Masquerade);
    for &(side, flags) in packets {
        if side == 'c' {
            rig.tcp(5000, 80, flags);
        } else {
            rig.reply(11, 80, 5000, flags);
        }
        rig.wait_ticks(17);
    }
    let mut ticks = 17;
    while rig.connections() != 0 {
        rig.wait_ticks(1);
        ticks += 1;
    }
    rig.assert_accounted();
    ticks
}

#[test]
fn connections_in_every_state_end_in_time_and_never_early() {
    let (c, s) = ('c', 's');
    let open = [(c, SYN), (s, SYN | ACK), (c, ACK)];
    let with = |more: &[(char, u8)]| [open.as_slice(), more].concat();
    for (name, packets, seconds) in [
        ("SYN_RECV", vec![(c, SYN)], 60),
        ("ESTABLISHED", with(&[]), 900),
        ("FIN_WAIT", with(&[(s, FIN_ACK)]), 120),
        ("CLOSE_WAIT", with(&[(c, FIN_ACK)]), 60),
        ("TIME_WAIT", with(&[(s, FIN_ACK), (c, FIN_ACK)]), 120),
        ("CLOSE", with(&[(c, RST)]), 10),
    ] {
        let ticks = life(&packets);
        let late = ticks.checked_sub(seconds * 100).unwrap_or_else(|| panic!("{name}: early, {ticks}"));
        assert!(late <= 50, "{name}: {late} ticks late");
    }
}

#[test]
fn packets_of_either_side_refresh_the_timer() {
    let (mut rig, _) = director(Method::Masquerade);
    rig.tcp(5000, 80, SYN);
    rig.tcp(5000, 80, ACK);
    for _ in 0..3 {
        rig.wait(800);
        assert_eq!(rig.state(5000).1, 100);
        rig.tcp(5000, 80, ACK);
        rig.wait(800);
        rig.reply(11, 80, 5000, ACK);
        assert_eq!(rig.state(5000), ("ESTABLISHED", 900));
    }
    rig.wait(901);
    assert_eq!(rig.connections(), 0);
    rig.tcp(5000, 80, ACK).to_host();
}

#[test]
fn udp_lives_300_seconds_and_is_never_active() {
    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Rr);
    let dest = rig.dest(service, 11, 53, Method::Masquerade, 1);
    rig.udp(6000, 53).one();
    assert_eq!(rig.load(dest), (0, 1, 0));
    rig.wait(299);
    let back = udp(MACS[1], (rip(11), 53), (CLIENT, 6000), b"answer");
    rig.put(LAN, &back).one();
    assert_eq!((rig.load(dest), rig.connections()), ((0, 1, 0), 1));
    rig.wait(299);
    assert_eq!(rig.connections(), 1);
    rig.wait_ticks(150);
    assert_eq!((rig.load(dest), rig.connections()), ((0, 0, 0), 0));
}

#[test]
fn a_shorter_timeout_applies_from_the_next_packet_on() {
    let (mut rig, _) = director(Method::Masquerade);
    rig.tcp(5000, 80, SYN);
    rig.tcp(5000, 80, ACK);
    rig.wait(30);
    rig.tune(|t| t.tcp_timeouts[1] = 500);
    assert_eq!(
        rig.state(5000),
        ("ESTABLISHED", 870),
        "a timer changes with the next packet, not with the setting"
    );
    rig.tcp(5000, 80, ACK);
    rig.wait_ticks(499);
    assert_eq!(rig.connections(), 1);
    rig.wait_ticks(51);
    assert_eq!(rig.connections(), 0);
}

#[test]
fn a_reply_refused_for_its_ttl_changes_nothing() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.tcp(5000, 80, SYN);
    rig.tcp(5000, 80, ACK);
    let frame = tcp_ttl(MACS[1], (rip(11), 80), (CLIENT, 5000), FIN | ACK, b"", 1);
    assert_eq!(rig.put(LAN, &frame).one().0, LAN, "an ICMP error for the server");
    assert_eq!((rig.state(5000).0, rig.packets(dest)), ("ESTABLISHED", (2, 0)));
    rig.assert_accounted();
}
