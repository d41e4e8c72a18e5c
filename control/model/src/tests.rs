//! Compares the model with Linux's answers, and checks its invariants under random changes.

use std::net::IpAddr;

use proptest::prelude::*;
use sched::DestId;

use super::*;

fn model() -> Model {
    Model::new(ModelOptions::all())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn web() -> ServiceKey {
    ServiceKey::tcp(ip("10.0.0.100"), 80)
}

fn rip(last: u8) -> DestKey {
    DestKey::new(IpAddr::from([10, 0, 1, last]), 80)
}

fn nat(last: u8) -> DestSpec {
    DestSpec::new(rip(last), ForwardingMethod::Masquerade, 1)
}

fn with_web() -> Model {
    let mut model = model();
    model.apply(Change::AddService(ServiceSpec::new(web(), "rr"))).unwrap();
    model
}

fn add(model: &mut Model, last: u8) -> (DestId, Origin) {
    match model.apply(Change::AddDestination(web(), nat(last))) {
        Ok(Applied::DestinationAdded { dest, origin, .. }) => (dest, origin),
        other => panic!("{other:?}"),
    }
}

fn list(model: &Model) -> Vec<DestKey> {
    let service = model.service(model.find(&web()).unwrap()).unwrap();
    model.destinations(service).map(|(_, dest)| dest.spec.key).collect()
}

#[test]
fn new_destinations_go_to_the_front_and_edits_keep_the_place() {
    let mut model = with_web();
    let ids: Vec<_> = [11, 12, 13].map(|last| add(&mut model, last).0).into();
    assert_eq!(list(&model), [rip(13), rip(12), rip(11)]);
    let edited = DestSpec { weight: 0, ..nat(12) };
    let applied = model.apply(Change::EditDestination(web(), edited)).unwrap();
    let service = ServiceSlot::new(0);
    assert_eq!(applied, Applied::DestinationEdited { service, dest: ids[1], before: nat(12) });
    assert_eq!(list(&model), [rip(13), rip(12), rip(11)]);
    assert_eq!(model.destination(ids[1]).unwrap().last_weight, 1, "the last weight that was not 0");

    let applied = model.apply(Change::DeleteDestination(web(), rip(12))).unwrap();
    assert_eq!(applied, Applied::DestinationRemoved { service, dest: ids[1], after: Some(ids[2]) });
    let applied = model.apply(Change::DeleteDestination(web(), rip(13))).unwrap();
    assert_eq!(applied, Applied::DestinationRemoved { service, dest: ids[2], after: None });
    assert_eq!(list(&model), [rip(11)]);
}

#[test]
fn a_deleted_destination_keeps_its_slot_until_reclaimed() {
    let mut model = with_web();
    let (first, origin) = add(&mut model, 11);
    assert_eq!(origin, Origin::New);
    model.apply(Change::DeleteDestination(web(), rip(11))).unwrap();
    assert_eq!(add(&mut model, 11), (first, Origin::Revived));
    assert!(!model.reclaim(first), "it is in use");

    model.apply(Change::DeleteService(web())).unwrap();
    assert_eq!(model.trash().collect::<Vec<_>>(), [first]);
    model.apply(Change::AddService(ServiceSpec::new(web(), "wlc"))).unwrap();
    assert_ne!(model.find(&web()), Some(ServiceSlot::new(0)), "that slot may still be named");
    assert_eq!(add(&mut model, 11), (first, Origin::RevivedUnderNewService));

    model.apply(Change::DeleteDestination(web(), rip(11))).unwrap();
    let (second, _) = add(&mut model, 12);
    assert_ne!(second, first);
    assert!(model.reclaim(first));
    assert!(!model.reclaim(first));
    assert_eq!(add(&mut model, 11), (first, Origin::New), "free slots are used again");
}

#[test]
fn a_removed_service_keeps_its_slot_until_reclaimed() {
    let mut model = with_web();
    let removed = model.apply(Change::Flush).unwrap();
    let service = ServiceSlot::new(0);
    let spec = ServiceSpec::new(web(), "rr");
    assert_eq!(removed, Applied::Flushed(vec![RemovedService { service, spec, destinations: vec![] }]));
    assert!(model.reclaim_service(service));
    assert!(!model.reclaim_service(service));
    model.apply(Change::AddService(ServiceSpec::new(web(), "rr"))).unwrap();
    assert!(!model.reclaim_service(service));
    assert_eq!(model.find(&web()), Some(service));
}

#[test]
fn refusals_are_those_of_linux() {
    use Change::*;
    let mut model = with_web();
    let other = ServiceKey::udp(ip("10.0.0.100"), 80);
    let spec = |scheduler| ServiceSpec::new(other, scheduler);
    let dest = |addr, port| DestSpec::new(DestKey::new(ip(addr), port), ForwardingMethod::Masquerade, 1);
    let gue = Tunnel { kind: TunnelKind::Gue, ..Tunnel::default() };
    add(&mut model, 11);
    let cases = [
        (AddService(ServiceSpec::new(web(), "none such")), ModelError::ServiceExists),
        (AddService(spec("none such")), ModelError::NoScheduler("none such".into())),
        (
            AddService(ServiceSpec { engine: Some("pip".into()), ..spec("rr") }),
            ModelError::NoEngine("pip".into()),
        ),
        (
            AddService(ServiceSpec { netmask: PersistenceMask::V6(64), ..spec("rr") }),
            ModelError::Invalid(Invalid::Netmask),
        ),
        (EditService(spec("none such")), ModelError::NoService),
        (DeleteService(other), ModelError::NoService),
        (AddDestination(other, nat(11)), ModelError::NoService),
        (AddDestination(web(), nat(11)), ModelError::DestinationExists),
        (AddDestination(web(), DestSpec { weight: -1, ..nat(11) }), ModelError::NegativeWeight(-1)),
        (
            AddDestination(web(), DestSpec { lower: 5, upper: 4, ..nat(12) }),
            ModelError::ThresholdOrder { lower: 5, upper: 4 },
        ),
        (
            AddDestination(web(), DestSpec { upper: 1 << 31, ..nat(12) }),
            ModelError::Invalid(Invalid::Threshold),
        ),
        (AddDestination(web(), dest("224.0.0.1", 80)), ModelError::NotUnicast(ip("224.0.0.1"))),
        (AddDestination(web(), dest("255.255.255.255", 80)), ModelError::NotUnicast(ip("255.255.255.255"))),
        (AddDestination(web(), dest("0.0.0.0", 80)), ModelError::NotUnicast(ip("0.0.0.0"))),
        (AddDestination(web(), dest("2001:db8::1", 80)), ModelError::Invalid(Invalid::Family)),
        (
            AddDestination(web(), DestSpec { method: ForwardingMethod::Tunnel, tunnel: gue, ..nat(12) }),
            ModelError::Invalid(Invalid::TunnelPort),
        ),
        (EditDestination(web(), nat(12)), ModelError::NoDestination),
        (DeleteDestination(web(), rip(12)), ModelError::NoDestination),
        (DeleteDestination(other, rip(12)), ModelError::NoService),
        (AddLocalAddress(other, ip("10.0.2.1")), ModelError::NoService),
        (AddLocalAddress(web(), ip("2001:db8::1")), ModelError::Invalid(Invalid::Family)),
        (AddLocalAddress(web(), ip("224.0.2.1")), ModelError::NotUnicast(ip("224.0.2.1"))),
        (DeleteLocalAddress(web(), ip("10.0.2.1")), ModelError::NoLocalAddress),
        (
            AddService(ServiceSpec::new(ServiceKey::Mark { mark: 0, family: Family::V4 }, "rr")),
            ModelError::Invalid(Invalid::Mark),
        ),
    ];
    for (change, error) in cases {
        let before = format!("{model:?}");
        assert_eq!(model.apply(change.clone()), Err(error), "{change:?}");
        assert_eq!(format!("{model:?}"), before, "{change:?} changed something");
    }
}

#[test]
fn only_tunnels_may_have_another_family() {
    let mut model = with_web();
    let key = DestKey::new(ip("2001:db8::1"), 80);
    let change = Change::AddDestination(web(), DestSpec::new(key, ForwardingMethod::Tunnel, 1));
    assert!(model.apply(change).is_ok());
    for (addr, answer) in [
        ("fe80::1", false),
        ("ff02::1", false),
        ("::", false),
        ("::ffff:10.0.0.1", false),
        ("64:ff9b::1", true),
    ] {
        let spec = DestSpec::new(DestKey::new(ip(addr), 80), ForwardingMethod::Tunnel, 1);
        assert_eq!(model.apply(Change::AddDestination(web(), spec)).is_ok(), answer, "{addr}");
    }
}

#[test]
fn a_local_address_is_added_only_once() {
    let mut model = with_web();
    let service = ServiceSlot::new(0);
    let addr = ip("10.0.2.1");
    let added = model.apply(Change::AddLocalAddress(web(), addr));
    assert_eq!(added, Ok(Applied::LocalAddressAdded { service, addr }));
    let again = model.apply(Change::AddLocalAddress(web(), addr));
    assert_eq!(again, Err(ModelError::LocalAddressExists));
    let removed = model.apply(Change::DeleteLocalAddress(web(), addr));
    assert_eq!(removed, Ok(Applied::LocalAddressRemoved { service, addr }));
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let options = ModelOptions { capabilities: Capabilities::BASE, ..ModelOptions::all() };
    let mut model = Model::new(options);
    let service = |key| ServiceSpec::new(key, "rr");
    let sctp = ServiceKey::Address { protocol: Protocol::Sctp, addr: ip("10.0.0.1"), port: 5 };
    let plain = service(ServiceKey::udp(ip("10.0.0.1"), 5));
    let one_packet = ServiceSpec { flags: ServiceFlags::ONE_PACKET, ..plain.clone() };
    let sip = ServiceSpec { engine: Some("sip".into()), ..plain.clone() };
    let cases = [
        (service(ServiceKey::tcp(ip("2001:db8::1"), 80)), Feature::Ipv6),
        (service(ServiceKey::Mark { mark: 1, family: Family::V4 }), Feature::Marks),
        (service(sctp), Feature::Sctp),
        (plain.clone().persistent(300), Feature::Persistence),
        (one_packet, Feature::OnePacket),
        (sip, Feature::Sip),
    ];
    for (spec, feature) in cases {
        assert_eq!(model.apply(Change::AddService(spec)), Err(ModelError::Unsupported(feature)));
    }
    let key = plain.key;
    model.apply(Change::AddService(plain)).unwrap();
    let tunnel = |kind| Tunnel { kind, port: 6080, checksum: TunnelChecksum::None };
    let tun = DestSpec::new(rip(11), ForwardingMethod::Tunnel, 1);
    let cases = [
        (DestSpec { tunnel: tunnel(TunnelKind::Gue), ..tun }, Feature::Gue),
        (DestSpec { tunnel: tunnel(TunnelKind::Gre), ..tun }, Feature::Gre),
        (DestSpec { key: DestKey::new(ip("127.0.0.1"), 80), ..tun }, Feature::LocalDestinations),
    ];
    for (spec, feature) in cases {
        let refused = model.apply(Change::AddDestination(key, spec));
        assert_eq!(refused, Err(ModelError::Unsupported(feature)));
    }
    assert!(model.apply(Change::AddDestination(key, tun)).is_ok());
}

#[test]
fn tables_are_bounded_and_include_the_trash() {
    let limits = Limits { services: 1, destinations: 1, local_addresses: 1 };
    let mut model = Model::new(ModelOptions { limits, ..ModelOptions::all() });
    model.apply(Change::AddService(ServiceSpec::new(web(), "rr"))).unwrap();
    let other = ServiceSpec::new(ServiceKey::udp(ip("10.0.0.1"), 5), "rr");
    assert_eq!(
        model.apply(Change::AddService(other)),
        Err(ModelError::Full { table: Table::Services, most: 1, deleted: 0 })
    );
    let (first, _) = add(&mut model, 11);
    model.apply(Change::DeleteDestination(web(), rip(11))).unwrap();
    let full = model.apply(Change::AddDestination(web(), nat(12)));
    assert_eq!(full, Err(ModelError::Full { table: Table::Destinations, most: 1, deleted: 1 }));
    assert!(model.reclaim(first));
    add(&mut model, 12);
}

#[test]
fn mh_takes_no_more_destinations_than_its_table_has_slots() {
    let mh_size = sched::MhSize::from_index(8).unwrap();
    let mut model = Model::new(ModelOptions { mh_size, ..ModelOptions::all() });
    model.apply(Change::AddService(ServiceSpec::new(web(), "rr"))).unwrap();
    let server = |n: u32| {
        let mut spec = nat(1);
        spec.key = DestKey::new(std::net::Ipv4Addr::from(0x0a02_0000 + n).into(), 80);
        Change::AddDestination(web(), spec)
    };
    (1..=251).for_each(|n| drop(model.apply(server(n)).unwrap()));
    model.apply(Change::EditService(ServiceSpec::new(web(), "mh"))).unwrap();
    assert_eq!(model.apply(server(252)), Err(ModelError::TooManyForMh(251)));
    model.apply(Change::EditService(ServiceSpec::new(web(), "rr"))).unwrap();
    model.apply(server(252)).unwrap();
    let back = model.apply(Change::EditService(ServiceSpec::new(web(), "mh")));
    assert_eq!(back, Err(ModelError::TooManyForMh(251)));
}

#[test]
fn a_list_of_changes_is_applied_completely_or_not_at_all() {
    let mut model = with_web();
    let before = format!("{model:?}");
    let changes = vec![
        Change::AddDestination(web(), nat(11)),
        Change::SetTimeouts(Timeouts { tcp: 5, tcp_fin: 0, udp: 0 }),
        Change::AddDestination(web(), nat(11)),
    ];
    let refused = model.apply_all(changes.clone());
    assert_eq!(refused, Err(BatchError { index: 2, error: ModelError::DestinationExists }));
    assert_eq!(format!("{model:?}"), before);
    assert_eq!(model.apply_all(changes[..2].to_vec()).unwrap().len(), 2);
    assert_eq!((list(&model), model.timeouts().tcp), (vec![rip(11)], 5));
}

fn any_change() -> impl Strategy<Value = Change> {
    let key = (0u8..4).prop_map(|last| ServiceKey::tcp(IpAddr::from([10, 0, 0, last]), 80));
    let dest = (0u8..4, 0i32..3).prop_map(|(last, weight)| DestSpec { weight, ..nat(last) });
    (key, dest, 0u8..8).prop_map(|(key, dest, kind)| match kind {
        0 | 1 => Change::AddService(ServiceSpec::new(key, "rr")),
        2 => Change::DeleteService(key),
        3..=5 => Change::AddDestination(key, dest),
        6 => Change::EditDestination(key, dest),
        _ => Change::DeleteDestination(key, dest.key),
    })
}

proptest! {
    #[test]
    fn every_slot_is_in_one_list_or_in_the_trash(
        steps in proptest::collection::vec((any_change(), any::<bool>()), 1..200)
    ) {
        let mut model = model();
        for (change, reclaim) in steps {
            let before = format!("{model:?}");
            match model.apply(change) {
                Err(_) => prop_assert_eq!(format!("{model:?}"), before),
                Ok(Applied::ServiceRemoved(removed)) if reclaim => {
                    prop_assert!(model.reclaim_service(removed.service));
                    for dest in removed.destinations {
                        prop_assert!(model.reclaim(dest));
                    }
                }
                Ok(_) => {}
            }
            let mut seen: Vec<_> = model.trash().collect();
            for (id, service) in model.services() {
                prop_assert_eq!(model.find(&service.spec.key), Some(id));
                for (dest, destination) in model.destinations(service) {
                    prop_assert_eq!(destination.service, id);
                    prop_assert_eq!(model.find_destination(id, destination.spec.key), Some(dest));
                    seen.push(dest);
                }
            }
            let all = seen.len();
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), all);
            prop_assert_eq!(model.destination_count() + model.trash().count(), all);
        }
    }
}
