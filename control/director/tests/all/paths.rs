//! Linux's routes as the packet path gets them: which gateways are kept resolved, and by which
//! ports Linux takes packets of a sender.

#![allow(clippy::unwrap_used, reason = "tests all through")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dataplane::io::PortId;
use dataplane::snapshot::route::{Input, NextHop, Paths, Reach, RpFilter};
use dataplane::wire::ether::Mac;
use director::compile::Director;
use director::paths::PortPath;
use linux::{Iface, MirrorState, Neighbour, NeighbourState, Route, RouteKind, RouteTable, TableId};
use model::ModelOptions;
use sched::MhSize;

const WAN: PortId = PortId::new(0);
const LAN: PortId = PortId::new(1);
/// Links: the two ports, a macvlan and a VLAN upon the first, and a link of Linux's own.
const LINKS: [(&str, Option<u32>, bool); 5] = [
    ("wan", None, false),
    ("lan", None, false),
    ("vrrp", Some(1), false),
    ("vlan", Some(1), true),
    ("own", None, false),
];
const WAN_LINK: u32 = 1;
const LAN_LINK: u32 = 2;
const MACVLAN: u32 = 3;
const VLAN: u32 = 4;
const OWN: u32 = 5;

/// A route with these next hops, each a link and perhaps a gateway.
fn route(dest: &str, hops: &[(u32, Option<Ipv4Addr>)]) -> Route {
    Route {
        dest: dest.parse().unwrap(),
        kind: RouteKind::Unicast,
        gateway: hops[0].1.map(IpAddr::V4),
        ifindex: hops[0].0,
        metric: 0,
        pref_src: None,
        mtu: None,
        table: TableId::Main,
        scope: 0,
        links: if hops.len() > 1 { hops.iter().map(|hop| hop.0).collect() } else { Vec::new() },
        dead: false,
    }
}

fn director(routes: Vec<Route>) -> Director {
    let input = Input { rp_filter: RpFilter::Strict, ..Input::default() };
    let port = |name: &str, last| PortPath {
        host_interface: name.to_owned(),
        mac: Mac([2, 0, 0, 0, 0, last]),
        input,
        verify_checksum: false,
    };
    let ports = vec![port("wan", 1), port("lan", 2)];
    let (mut director, _) = Director::new(ModelOptions::served(16, MhSize::default()), ports, 1);
    director.follow(Arc::new(world(routes)));
    director
}

fn world(routes: Vec<Route>) -> MirrorState {
    let iface = |&(name, lower, tagged): &(&str, _, _)| Iface {
        name: name.to_owned(),
        mtu: 1500,
        up: true,
        carrier: true,
        lower,
        tagged,
        ..Iface::default()
    };
    let ifaces: BTreeMap<_, _> = (1..).zip(LINKS.iter().map(iface)).collect();
    MirrorState {
        ifaces: ifaces.into(),
        routes: RouteTable::new(routes, true).into(),
        ..MirrorState::default()
    }
}

fn gateway(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + n)
}

/// The ports by which Linux takes packets of a client behind a route.
fn taken(hops: &[(u32, Option<Ipv4Addr>)]) -> Vec<PortId> {
    let director = director(vec![route("192.168.0.0/16", hops)]);
    let paths: &Paths = director.paths();
    [WAN, LAN].into_iter().filter(|port| paths.admit(Ipv4Addr::new(192, 168, 1, 1), *port).is_ok()).collect()
}

#[test]
fn gateways_are_kept_resolved_without_a_destination_behind_them() {
    let director = director(vec![
        route("0.0.0.0/0", &[(WAN_LINK, Some(gateway(1)))]),
        route("172.16.0.0/12", &[(LAN_LINK, Some(gateway(2)))]),
        route("172.16.0.0/16", &[(LAN_LINK, Some(gateway(2)))]),
        route("172.17.0.0/16", &[(OWN, Some(gateway(3)))]),
        route("10.0.0.0/24", &[(WAN_LINK, None)]),
    ]);
    assert_eq!(director.next_hops(), [(WAN, gateway(1)), (LAN, gateway(2))]);
}

#[test]
fn of_many_gateways_those_that_most_addresses_are_behind_are_kept_resolved() {
    let mut routes = vec![route("0.0.0.0/0", &[(WAN_LINK, Some(gateway(0xffff)))])];
    for n in 0..2000 {
        let dest = format!("{}/30", Ipv4Addr::from_bits(0xc0a8_0000 + 4 * n));
        routes.push(route(&dest, &[(LAN_LINK, Some(gateway(n)))]));
    }
    let hops = director(routes).next_hops();
    assert_eq!((hops.len(), hops.contains(&(WAN, gateway(0xffff)))), (256, true));
}

#[test]
fn a_macvlan_upon_a_port_is_a_way_by_that_port_and_a_vlan_is_not() {
    assert_eq!(taken(&[(MACVLAN, None)]), [WAN]);
    assert_eq!(taken(&[(MACVLAN, Some(gateway(1)))]), [WAN]);
    assert_eq!(taken(&[(VLAN, None)]), []);
    assert_eq!(taken(&[(OWN, None)]), []);
}

#[test]
fn linux_takes_packets_by_any_next_hop_of_a_route_and_by_no_other_port() {
    assert_eq!(taken(&[(WAN_LINK, Some(gateway(1))), (LAN_LINK, Some(gateway(2)))]), [WAN, LAN]);
    assert_eq!(taken(&[(WAN_LINK, Some(gateway(1))), (WAN_LINK, Some(gateway(2)))]), [WAN]);
    assert_eq!(taken(&[(OWN, Some(gateway(1))), (LAN_LINK, Some(gateway(2)))]), [LAN]);
    assert_eq!(taken(&[(WAN_LINK, None), (MACVLAN, None), (OWN, None)]), [WAN]);
}

/// Neighbours change far more often than routes, which may be many.
#[test]
fn next_hops_of_routes_outlive_a_change_of_neighbours() {
    let mut state = world(vec![route("0.0.0.0/0", &[(WAN_LINK, Some(gateway(1)))])]);
    let mut director = director(Vec::new());
    state.generations.routes = 1;
    director.follow(Arc::new(state.clone()));
    let client = Ipv4Addr::new(192, 168, 1, 1);
    let NextHop::Known(before) = director.paths().next_hop(client) else { panic!("no next hop") };
    let mac = Mac([2, 0, 0, 0, 0, 99]);
    for known in [Some(mac), None, Some(mac)] {
        let neighbour = known.map(|mac| Neighbour { mac: Some(mac), state: NeighbourState::Reachable });
        let addr = IpAddr::V4(gateway(1));
        state.neighbours = Arc::new(neighbour.map(|found| ((WAN_LINK, addr), found)).into_iter().collect());
        state.generations.neighbours += 1;
        director.follow(Arc::new(state.clone()));
        let reach = if known.is_some() { Reach::Port(WAN) } else { Reach::Resolving(WAN) };
        assert_eq!(director.paths().next_hop(client), NextHop::Known(before));
        assert_eq!(director.paths().adjacency(before).unwrap().reach, reach);
        assert_eq!(director.next_hops(), [(WAN, gateway(1))]);
    }
}
