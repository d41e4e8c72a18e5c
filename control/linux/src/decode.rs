//! Turns rtnetlink's messages into the types of [`super::state`]. This is the only place where both
//! are known.

use std::net::IpAddr;

use dataplane::wire::ether::Mac;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState as Nud,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};

use super::link::LinkCounters;
use super::state::{Address, Iface, Neighbour, NeighbourState, Route, RouteKind, TableId};

pub(super) fn link(message: &LinkMessage) -> (u32, Iface) {
    let flags = message.header.flags;
    let mut iface = Iface {
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        ..Iface::default()
    };
    let (mut lower, mut stacked, mut foreign) = (None, false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => iface.name.clone_from(name),
            LinkAttribute::Address(bytes) => iface.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => iface.mtu = *mtu,
            LinkAttribute::Link(ifindex) => lower = Some(*ifindex),
            LinkAttribute::LinkNetNsId(_) => foreign = true,
            LinkAttribute::LinkInfo(infos) => {
                stacked = infos.iter().any(lies_upon_another);
                iface.tagged = infos.contains(&LinkInfo::Kind(InfoKind::Vlan));
            }
            _ => {}
        }
    }
    // For a veth pair the attribute names the other end, and for some links a link of another
    // namespace.
    iface.lower = lower.filter(|_| stacked && !foreign);
    (message.header.index, iface)
}

fn lies_upon_another(info: &LinkInfo) -> bool {
    use InfoKind::{IpVlan, MacVlan, MacVtap, Vlan};
    matches!(info, LinkInfo::Kind(MacVlan | MacVtap | Vlan | IpVlan))
}

/// What the kernel has counted on a link.
pub(super) fn counters(message: &LinkMessage) -> LinkCounters {
    let stats = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(*stats),
        _ => None,
    });
    let xdp = message.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => {
            facts.iter().any(|fact| matches!(fact, LinkXdp::Attached(how) if *how != XdpAttached::None))
        }
        _ => false,
    });
    stats.map_or_else(LinkCounters::default, |stats| LinkCounters {
        rx_packets: stats.rx_packets,
        rx_lost: stats.rx_dropped + stats.rx_missed_errors,
        rx_errors: stats.rx_errors,
        xdp,
    })
}

pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let header = &message.header;
    let (mut local, mut peer) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => peer = Some(*addr),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    // Without a peer both addresses are the same, and IPv6 then has only the second attribute.
    let addr = local.or(peer)?;
    Some(Address {
        ifindex: header.index,
        net: IpNet::new(addr, header.prefix_len).ok()?,
        subnet: IpNet::new(peer.unwrap_or(addr), header.prefix_len).ok()?.trunc(),
        scope: scope(header.scope),
        secondary: flags.contains(AddressFlags::Secondary),
        deprecated: flags.contains(AddressFlags::Deprecated),
        tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
            && !flags.contains(AddressFlags::Optimistic),
    })
}

fn scope(scope: AddressScope) -> u8 {
    scope.into()
}

/// `None` for routes that are not mirrored: routes of other tables, routes for one TOS or one
/// source only, cached ones and tunnelled ones.
pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    if header.tos != 0 || header.source_prefix_length != 0 || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut dest = any;
    let mut hops: &[RouteNextHop] = &[];
    let mut route = Route {
        dest: IpNet::from(any),
        kind: kind(header.kind)?,
        gateway: None,
        ifindex: 0,
        metric: 0,
        pref_src: None,
        mtu: None,
        table: TableId::Main,
        scope: header.scope.into(),
        links: Vec::new(),
        dead: header.flags.contains(RouteFlags::Dead),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(addr) => dest = plain(addr)?,
            RouteAttribute::Gateway(addr) => route.gateway = plain(addr),
            RouteAttribute::Via(via) => route.gateway = via_addr(via),
            RouteAttribute::Oif(index) => route.ifindex = *index,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::PrefSource(addr) => route.pref_src = plain(addr),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(all) => hops = all,
            RouteAttribute::EncapType(_) => return None,
            _ => {}
        }
    }
    if !hops.is_empty() {
        if hops.len() > 1 {
            route.links = hops.iter().map(|hop| hop.interface_index).collect();
        }
        let live = hops.iter().find(|hop| !hop.flags.contains(RouteNextHopFlags::Dead));
        route.dead = live.is_none();
        let hop = live.or(hops.first())?;
        route.ifindex = hop.interface_index;
        route.gateway = hop.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(addr) => plain(addr),
            RouteAttribute::Via(via) => via_addr(via),
            _ => None,
        });
    }
    route.table = TableId::from_number(table)?;
    route.dest = IpNet::new(dest, header.destination_prefix_length).ok()?;
    Some(route)
}

fn kind(kind: RouteType) -> Option<RouteKind> {
    Some(match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::Anycast => RouteKind::Anycast,
        RouteType::Multicast => RouteKind::Multicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        _ => return None,
    })
}

fn plain(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some(IpAddr::V4(*addr)),
        RouteAddress::Inet6(addr) => Some(IpAddr::V6(*addr)),
        _ => None,
    }
}

fn via_addr(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(addr) => Some(IpAddr::V4(*addr)),
        RouteVia::Inet6(addr) => Some(IpAddr::V6(*addr)),
        _ => None,
    }
}

/// `None` for entries of bridges, for proxied addresses, and for groups: the kernel makes entries
/// of groups without an event.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Neighbour)> {
    let header = &message.header;
    if header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let addr = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
        _ => None,
    })?;
    if addr.is_multicast() {
        return None;
    }
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => mac(bytes),
        _ => None,
    });
    let state = match header.state {
        Nud::Incomplete => NeighbourState::Incomplete,
        Nud::Reachable => NeighbourState::Reachable,
        Nud::Stale => NeighbourState::Stale,
        Nud::Delay => NeighbourState::Delay,
        Nud::Probe => NeighbourState::Probe,
        Nud::Failed => NeighbourState::Failed,
        Nud::Noarp => NeighbourState::NoArp,
        Nud::Permanent => NeighbourState::Permanent,
        _ => NeighbourState::None,
    };
    Some(((header.ifindex, addr), Neighbour { mac, state }))
}

/// Whether a policy rule is one of the three that every namespace has from the start.
pub(super) fn built_in_rule(message: &RuleMessage) -> bool {
    let header = &message.header;
    let priority = message.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    let known = matches!((priority.unwrap_or(0), header.table), (0, 255) | (32766, 254) | (32767, 253));
    known && header.src_len == 0 && header.dst_len == 0 && header.tos == 0
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_links_upon_another_a_vlan_alone_has_tags() {
        let upon = |kind| {
            let mut message = LinkMessage::default();
            let infos = vec![LinkInfo::Kind(kind)];
            message.attributes = vec![LinkAttribute::Link(7), LinkAttribute::LinkInfo(infos)];
            let (_, iface) = link(&message);
            (iface.lower, iface.tagged)
        };
        assert_eq!(upon(InfoKind::Vlan), (Some(7), true));
        assert_eq!(upon(InfoKind::MacVlan), (Some(7), false));
        assert_eq!(upon(InfoKind::Veth), (None, false));
    }
}
