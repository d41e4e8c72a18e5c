//! Destinations that are deleted, added again or set to weight 0, and their connections.

use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::ServiceId;
use dataplane::verdict::DropReason;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

/// A service on port 80 with real server 11, and an established connection from port 5000.
fn established(method: Method) -> (Rig, ServiceId, DestId) {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, method, 1);
    rig.tcp(5000, 80, SYN).one();
    rig.tcp(5000, 80, ACK).one();
    (rig, service, dest)
}

#[test]
fn a_deleted_destination_goes_silent_and_its_replies_are_still_translated() {
    let (mut rig, service, dest) = established(Method::Masquerade);
    rig.delete(service, dest);
    rig.wait(10);
    rig.tcp(5000, 80, ACK).nothing();
    assert_eq!(rig.drops(DropReason::DestinationGone), 1);
    assert_eq!(rig.packets(dest), (2, 0), "not counted");
    assert_eq!(rig.state(5000), ("ESTABLISHED", 890), "not refreshed");
    let out = rig.reply(11, 80, 5000, ACK);
    assert_eq!((out.seen().src, out.one().0), ((VIP, 80), WAN));
    assert_eq!(rig.packets(dest), (2, 0));
    assert_eq!(rig.load(dest), (1, 0, 0));
    rig.wait(901);
    assert_eq!((rig.connections(), rig.load(dest)), (0, (0, 0, 0)));
    rig.assert_accounted();
}

#[test]
fn with_expire_nodest_conn_a_syn_moves_on_and_an_ack_goes_to_the_host() {
    for (flags, moves) in [(SYN, true), (ACK, false)] {
        let (mut rig, service, dest) = established(Method::Masquerade);
        rig.tune(|t| t.expire_nodest_conn = true);
        let other = rig.dest(service, 12, 80, Method::Masquerade, 1);
        rig.delete(service, dest);
        let out = rig.tcp(5000, 80, flags);
        if moves {
            assert_eq!((out.seen().dst.0, rig.load(other)), (rip(12), (1, 0, 0)));
        } else {
            out.to_host();
        }
        assert_eq!((rig.load(dest), rig.drops(DropReason::DestinationGone)), ((0, 0, 0), 0));
        assert_eq!(rig.connections(), u32::from(moves));
    }
}

#[test]
fn a_destination_that_is_added_again_revives_its_connections() {
    let (mut rig, service, dest) = established(Method::Masquerade);
    rig.delete(service, dest);
    rig.tcp(5000, 80, ACK).nothing();
    rig.dest_as(dest, service, 11, 80, Method::Masquerade, 1);
    assert_eq!(rig.tcp(5000, 80, ACK).seen().dst, (rip(11), 80));
    assert_eq!((rig.load(dest), rig.packets(dest)), ((1, 0, 0), (3, 0)));
}

#[test]
fn a_destination_revived_with_another_method_keeps_the_method_of_old_connections() {
    let (mut rig, service, dest) = established(Method::Masquerade);
    rig.delete(service, dest);
    rig.dest_as(dest, service, 11, 80, Method::DirectRoute, 1);
    assert_eq!(rig.tcp(5000, 80, ACK).seen().dst, (rip(11), 80));
    assert_eq!(rig.tcp(5001, 80, SYN).seen().dst, (VIP, 80));
}

#[test]
fn a_deleted_service_leaves_its_connections_silent() {
    let (mut rig, service, dest) = established(Method::Masquerade);
    // Another service exists, because without any service packets go to Linux (`rules.rs` tests
    // that).
    rig.service(TCP, 81, Kind::Rr);
    rig.change_dest(dest, |info| info.available = false);
    rig.master().remove_service(service);
    rig.publish();
    rig.tcp(5000, 80, ACK).nothing();
    rig.tcp(5001, 80, SYN).to_host();
    assert_eq!(rig.reply(11, 80, 5000, FIN | ACK).seen().src, (VIP, 80));
    assert_eq!(rig.load(dest), (0, 1, 0));
    rig.wait(121);
    assert_eq!((rig.connections(), rig.load(dest)), (0, (0, 0, 0)));
    rig.assert_accounted();
}

#[test]
fn with_weight_0_connections_stay_and_new_ones_go_elsewhere() {
    let (mut rig, service, dest) = established(Method::Masquerade);
    rig.weight(service, dest, 0);
    rig.tcp(5000, 80, ACK).one();
    assert_eq!(rig.syn_to(5001, 80), 0);
    assert_eq!((rig.connections(), rig.load(dest)), (1, (1, 0, 0)));
    rig.weight(service, dest, 1);
    assert_eq!(rig.syn_to(5002, 80), 11);
}

#[test]
fn with_expire_nodest_conn_a_syn_leaves_a_quiesced_destination() {
    let (mut rig, service, dest) = established(Method::Masquerade);
    rig.tune(|t| t.expire_nodest_conn = true);
    let other = rig.dest(service, 12, 80, Method::Masquerade, 1);
    rig.weight(service, dest, 0);
    assert_eq!(rig.tcp(5000, 80, ACK).seen().dst.0, rip(11), "only a SYN makes a new connection");
    assert_eq!(rig.tcp(5000, 80, SYN).seen().dst.0, rip(12));
    assert_eq!((rig.load(dest), rig.load(other), rig.connections()), ((0, 0, 0), (1, 0, 0), 1));
}

#[test]
fn a_direct_route_connection_of_a_deleted_destination_goes_silent_too() {
    for method in [Method::DirectRoute, Method::Tunnel, Method::FullNat] {
        let (mut rig, service, dest) = established(method);
        rig.delete(service, dest);
        rig.tcp(5000, 80, ACK).nothing();
        assert_eq!(rig.drops(DropReason::DestinationGone), 1);
        rig.dest_as(dest, service, 11, 80, method, 1);
        rig.tcp(5000, 80, ACK).one();
    }
}

/// Clients use the same ports again and again, and each connection leaves a timer record. The
/// records must not fill the wheel.
#[test]
fn ports_used_again_every_five_seconds_do_not_exhaust_the_timers() {
    let mut rig = Rig::with_capacity(256);
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    for _ in 0..40 {
        for cport in 5000..5120 {
            assert_eq!(rig.syn_to(cport, 80), 11);
            rig.tcp(cport, 80, ACK);
            rig.reply(11, 80, cport, FIN | ACK);
            rig.tcp(cport, 80, FIN | ACK);
        }
        rig.wait(5);
    }
    assert_eq!((rig.load(dest), rig.drops(DropReason::TableFull)), ((0, 120, 0), 0));
    rig.wait(121);
    assert_eq!(rig.connections(), 0, "all connections end");
}

/// A reset makes the timeout shorter, so the connection gets a second record, and the first one
/// stays in the wheel.
#[test]
fn resets_do_not_exhaust_the_timers() {
    let mut rig = Rig::with_capacity(256);
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    for round in 0..40 {
        let ports = 5000 + round * 250..5250 + round * 250;
        for cport in ports.clone() {
            assert_eq!(rig.syn_to(cport, 80), 11, "round {round}");
        }
        rig.wait(4);
        for cport in ports {
            rig.reply(11, 80, cport, RST | ACK);
        }
        rig.wait_ticks(1050);
        assert_eq!(rig.connections(), 0, "round {round}");
    }
    assert_eq!(rig.drops(DropReason::TableFull), 0);
}
