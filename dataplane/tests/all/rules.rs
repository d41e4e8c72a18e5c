//! Rules that change while there is traffic. Scheduler state survives, and workers may skip
//! snapshots.

use dataplane::snapshot::dest::DestInfo;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::ServiceId;
use dataplane::verdict::DropReason;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Kind;

use crate::rig::*;

/// The real servers that `n` new connections reach.
fn picks(rig: &mut Rig, from: &mut u16, n: u16) -> Vec<u8> {
    let first = *from;
    *from += n;
    (first..*from).map(|cport| rig.syn_to(cport, 80)).collect()
}

#[test]
fn the_turn_of_rr_survives_deletions() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    let ids = [14, 13, 12, 11].map(|n| rig.dest(service, n, 80, Method::Masquerade, 1));
    let mut from = 5000;
    assert_eq!(picks(&mut rig, &mut from, 2), [11, 12]);
    rig.delete(service, ids[3]);
    assert_eq!(picks(&mut rig, &mut from, 1), [13]);
    rig.delete(service, ids[1]);
    assert_eq!(picks(&mut rig, &mut from, 3), [14, 12, 14]);
    rig.assert_accounted();
}

#[test]
fn the_level_of_wrr_survives_edits() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrr);
    for (n, weight) in [(13, 2), (12, 3), (11, 4)] {
        rig.dest(service, n, 80, Method::Masquerade, weight);
    }
    let mut from = 5000;
    let cycle = [11, 12, 13, 11, 11, 12, 11, 12, 13];
    assert_eq!(picks(&mut rig, &mut from, 18), [cycle, cycle].concat());
}

/// The same edits are published and seen one by one, or are all in one snapshot, or are published
/// one by one and not seen.
#[test]
fn one_snapshot_or_many_give_the_same_result() {
    let edits = [(13, 2), (12, 3), (11, 4), (14, 9), (15, 0)];
    let outcome = |each: bool, seen: bool, kind: Kind| {
        let mut rig = Rig::new();
        let service = ServiceId::new(0);
        let spec = dataplane::snapshot::master::ServiceFacts {
            id: service,
            key: dataplane::snapshot::service::Selector::Address { protocol: TCP, addr: VIP, port: 80 },
            kind,
            flags: sched::Flags::from_bits(0),
            persistence: None,
            one_packet: false,
            locals: Vec::new(),
        };
        rig.master().set_service(&spec, Vec::new()).unwrap();
        let mut list = Vec::<Dest>::new();
        for (slot, (n, weight)) in edits.into_iter().enumerate() {
            let id = DestId::new(slot as u32);
            let dest = Dest { id, addr: rip(n).into(), port: 80, weight, last_weight: weight };
            let edit = Edit::added(&list, &dest);
            list.insert(0, dest);
            let hop = u32::from(n);
            let info = DestInfo {
                available: true,
                weight,
                addr: rip(n),
                port: 80,
                service,
                hop,
                ..DestInfo::default()
            };
            rig.master().set_dest(id, info);
            rig.master().set_dests(service, list.clone(), edit).unwrap();
            if each {
                rig.publish();
            }
            if seen {
                rig.poll();
            }
        }
        rig.publish();
        picks(&mut rig, &mut 5000, 30)
    };
    for kind in [Kind::Rr, Kind::Wrr, Kind::Lc, Kind::Wlc] {
        let expected = outcome(true, true, kind);
        assert!(!expected.contains(&0), "{kind:?}");
        assert_eq!(outcome(true, false, kind), expected, "{kind:?}: skipped");
        assert_eq!(outcome(false, false, kind), expected, "{kind:?}: at once");
    }
}

#[test]
fn states_that_outgrow_their_room_keep_their_values() {
    for kind in [Kind::Rr, Kind::Wrr, Kind::Wlc] {
        let mut rig = Rig::new();
        let service = rig.service(TCP, 80, kind);
        let mut from = 5000;
        for n in 1..=100 {
            let dest = rig.dest(service, n, 80, Method::Masquerade, 1);
            if n % 3 == 0 {
                assert!(!picks(&mut rig, &mut from, 2).contains(&0), "{kind:?} with {n}");
            }
            if n % 10 == 0 {
                rig.delete(service, dest);
            }
        }
        let mut reached = picks(&mut rig, &mut from, 1000);
        reached.sort_unstable();
        reached.dedup();
        assert_eq!(reached.len(), 90, "{kind:?}");
        rig.assert_accounted();
    }
}

#[test]
fn a_new_scheduler_begins_without_state_and_connections_stay() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Rr);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.dest(service, 12, 80, Method::Masquerade, 1);
    assert_eq!(rig.syn_to(5000, 80), 12);
    let old = rig.snapshot().services.by_id(service).unwrap().clone();
    let spec = dataplane::snapshot::master::ServiceFacts {
        id: service,
        key: old.key,
        kind: Kind::Wlc,
        flags: old.plan.flags(),
        persistence: None,
        one_packet: false,
        locals: Vec::new(),
    };
    rig.master().set_service(&spec, old.plan.dests().to_vec()).unwrap();
    rig.publish();
    assert_eq!(rig.tcp(5000, 80, ACK).seen().dst.0, rip(12));
    assert_eq!([5001, 5002, 5003].map(|cport| rig.syn_to(cport, 80)), [11, 12, 11]);
}

#[test]
fn rules_change_between_every_two_packets() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrr);
    let mut here = Vec::<(DestId, u8)>::new();
    let mut random = 7_u32;
    for cport in 1024..3024 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let n = (random >> 16) as u8 % 20 + 1;
        match (here.iter().position(|&(_, server)| server == n), random >> 30) {
            (Some(at), 0) => {
                let (id, _) = here.swap_remove(at);
                rig.delete(service, id);
            }
            (Some(at), _) => rig.weight(service, here[at].0, i32::from(n) % 5),
            (None, _) => {
                // As in control, a server that was here before gets its slot back.
                let id = DestId::new(u32::from(n));
                rig.dest_as(id, service, n, 80, Method::Masquerade, 3);
                here.push((id, n));
            }
        }
        let server = rig.syn_to(cport, 80);
        assert!(server == 0 || here.iter().any(|&(_, n)| n == server));
        rig.wait_ticks(3);
    }
    rig.wait(61);
    assert_eq!(rig.connections(), 0);
    for n in 1..=20 {
        assert_eq!(rig.load(DestId::new(n)), (0, 0, 0));
    }
    rig.assert_accounted();
}

/// Two services with the same servers share one lookup table. If one of them changes, each has its
/// own.
#[test]
fn services_with_the_same_servers_share_one_table() {
    let mut rig = Rig::new();
    let services = [80, 81].map(|port| rig.service(TCP, port, Kind::Mh));
    let mut last = DestId::new(0);
    for service in services {
        for n in 11..14 {
            last = rig.dest(service, n, 8080, Method::DirectRoute, 1);
        }
    }
    let shared = |rig: &Rig| {
        let [one, other] = services.map(|id| rig.snapshot().services.by_id(id).unwrap().plan.clone());
        one.shares_table(&other)
    };
    assert!(shared(&rig));
    rig.weight(services[1], last, 0);
    assert!(shared(&rig), "the last weight other than 0 counts");
    rig.weight(services[1], last, 7);
    assert!(!shared(&rig));
}

/// Without services IPVS removes its hooks, and Linux resets unknown connections. While there is
/// another service, packets of deleted services are dropped.
#[test]
fn requests_of_a_deleted_service_go_to_linux_if_no_service_is_left() {
    for method in [Method::Masquerade, Method::DirectRoute] {
        let mut rig = Rig::new();
        let services = [80, 81].map(|port| rig.service(TCP, port, Kind::Rr));
        let dest = rig.dest(services[0], 11, 80, method, 1);
        rig.tcp(5000, 80, SYN).one();
        rig.tcp(5000, 80, ACK).one();
        rig.delete(services[0], dest);
        rig.master().remove_service(services[0]);
        rig.publish();
        rig.tcp(5000, 80, ACK).nothing();
        assert_eq!(rig.drops(DropReason::DestinationGone), 1, "{method:?}");
        rig.master().remove_service(services[1]);
        rig.publish();
        rig.tcp(5000, 80, ACK).to_host();
        rig.tcp(5000, 80, SYN).to_host();
        assert_eq!(rig.drops(DropReason::DestinationGone), 1);
        rig.assert_accounted();
    }
}
