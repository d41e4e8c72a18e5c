//! The flat form of the IPv4 routes gives the same answers as a lookup, and a lookup gives the same
//! answers as a search through a list.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use linux::{Iface, Lookup, MirrorState, Route, RouteKind, RouteTable, TableId};
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = RouteKind> {
    prop_oneof![
        6 => Just(RouteKind::Unicast),
        2 => Just(RouteKind::Local),
        1 => Just(RouteKind::Broadcast),
        1 => Just(RouteKind::Blackhole),
        1 => Just(RouteKind::Prohibit),
        1 => Just(RouteKind::Throw),
    ]
}

prop_compose! {
    // Few distinct bits, so that prefixes nest and touch.
    fn route()(
        bits in prop::bits::u32::masked(0xe000_0007), len in prop_oneof![0..4_u8, 28..=32_u8],
        table in prop::sample::select(TableId::ALL.to_vec()), kind in kind(),
        ifindex in 1..4_u32, metric in 0..3_u32, gateway in any::<bool>(), dead in prop::bool::weighted(0.1),
    ) -> Route {
        Route {
            dest: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(bits), len).trunc()),
            kind, table, ifindex, metric, dead,
            gateway: gateway.then_some(IpAddr::from([10, 9, 8, 7])),
            pref_src: Some(IpAddr::from([10, 0, 0, ifindex as u8])),
            mtu: None, scope: 0, links: Vec::new(),
        }
    }
}

fn state(routes: &[Route], merged: bool) -> MirrorState {
    let iface = |index| (index, Iface { mtu: 1000 + index, ..Iface::default() });
    MirrorState {
        ifaces: Arc::new((1..4).map(iface).collect::<BTreeMap<_, _>>()),
        routes: Arc::new(RouteTable::new(routes.iter().cloned(), merged)),
        ..MirrorState::default()
    }
}

/// The rule in its simplest form, for tables that are searched one by one.
fn plain(routes: &[Route], dst: Ipv4Addr) -> Option<&Route> {
    for table in TableId::ALL {
        let here = routes
            .iter()
            .filter(|r| r.table == table && !r.dead && r.dest.contains(&IpAddr::V4(dst)))
            .min_by_key(|r| (std::cmp::Reverse(r.dest.prefix_len()), r.metric));
        match here {
            Some(route) if route.kind != RouteKind::Throw => return here,
            _ => {}
        }
    }
    None
}

/// Both ends of every prefix, and the addresses just outside.
fn edges(routes: &[Route]) -> Vec<Ipv4Addr> {
    let mut edges = vec![0, u32::MAX];
    for route in routes {
        let IpNet::V4(net) = route.dest else { continue };
        let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
        edges.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
    }
    edges.into_iter().map(Ipv4Addr::from).collect()
}

proptest! {
    #[test]
    fn flat_routes_answer_as_a_lookup_does(routes in prop::collection::vec(route(), 0..24), merged: bool) {
        let state = state(&routes, merged);
        let flat = state.routes_v4();
        for pair in flat.windows(2) {
            prop_assert!(pair[0].end < pair[1].start, "{flat:?}");
        }
        prop_assert!(flat.iter().all(|range| range.start <= range.end));
        for dst in edges(&routes) {
            let found = flat.iter().find(|range| (range.start..=range.end).contains(&u32::from(dst)));
            let dst = IpAddr::V4(dst);
            prop_assert_eq!(found.map_or(Lookup::None, |f| f.target.towards(dst)), state.lookup(dst), "{}", dst);
        }
    }

    #[test]
    fn a_lookup_finds_what_a_search_through_the_list_finds(routes in prop::collection::vec(route(), 0..24)) {
        let state = state(&routes, false);
        for dst in edges(&routes) {
            let found = state.routes.find(IpAddr::V4(dst)).map(|r| (r.dest, r.table, r.metric));
            prop_assert_eq!(found, plain(&routes, dst).map(|r| (r.dest, r.table, r.metric)), "{}", dst);
        }
    }
}
