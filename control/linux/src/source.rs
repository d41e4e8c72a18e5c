//! Which of the director's own addresses is the source for a route that names none.
//!
//! IPv4 as `net/ipv4/devinet.c: inet_select_addr`; IPv6 as RFC 6724, section 5, without home and
//! temporary addresses.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::state::{Address, MirrorState, Route};

const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

/// The source address for `route` towards `dst`.
pub(super) fn select(state: &MirrorState, route: &Route, dst: IpAddr) -> Option<IpAddr> {
    match dst {
        IpAddr::V4(_) => v4(state, route).map(IpAddr::V4),
        IpAddr::V6(dst) => v6(state, route.ifindex, dst).map(IpAddr::V6),
    }
}

/// The link's first address in the subnet of the next hop; else the link's first address; else the
/// first address of any link.
fn v4(state: &MirrorState, route: &Route) -> Option<Ipv4Addr> {
    let towards = match route.gateway {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        _ => None,
    };
    let primary = || state.addresses.iter().filter(|address| !address.secondary);
    let here = || {
        primary()
            .filter(|a| a.ifindex == route.ifindex && a.scope.min(SCOPE_HOST) <= route.scope)
            .filter_map(v4_of)
    };
    let elsewhere = || {
        let mut links: Vec<_> =
            primary().filter(|a| a.scope != SCOPE_LINK && a.scope <= route.scope).collect();
        links.sort_by_key(|a| a.ifindex);
        links.into_iter().find_map(v4_of).map(|(_, addr)| addr)
    };
    here()
        .find(|(subnet, _)| towards.is_none_or(|gateway| subnet.contains(&IpAddr::V4(gateway))))
        .or_else(|| here().next())
        .map(|(_, addr)| addr)
        .or_else(elsewhere)
}

fn v4_of(address: &Address) -> Option<(IpNet, Ipv4Addr)> {
    match address.net {
        IpNet::V4(net) => Some((address.subnet, net.addr())),
        IpNet::V6(_) => None,
    }
}

fn v6(state: &MirrorState, ifindex: u32, dst: Ipv6Addr) -> Option<Ipv6Addr> {
    let on_this_link_only = scope(dst) <= LINK_LOCAL;
    let candidates = state.addresses.iter().filter(|a| !a.tentative).filter_map(|a| match a.net {
        IpNet::V6(net) if !net.addr().is_multicast() && (a.ifindex == ifindex || !on_this_link_only) => {
            Some((a, net.addr()))
        }
        _ => None,
    });
    let mut best: Option<(&Address, Ipv6Addr)> = None;
    for candidate in candidates {
        // When two are equal the earlier one is kept, as in the kernel.
        if best.is_none_or(|best| compare(candidate, best, ifindex, dst) == Ordering::Greater) {
            best = Some(candidate);
        }
    }
    best.map(|(_, addr)| addr)
}

fn compare(a: (&Address, Ipv6Addr), b: (&Address, Ipv6Addr), ifindex: u32, dst: Ipv6Addr) -> Ordering {
    let by_scope = || match scope(a.1).cmp(&scope(b.1)) {
        Ordering::Less if scope(a.1) < scope(dst) => Ordering::Less,
        Ordering::Less => Ordering::Greater,
        Ordering::Greater if scope(b.1) < scope(dst) => Ordering::Greater,
        Ordering::Greater => Ordering::Less,
        Ordering::Equal => Ordering::Equal,
    };
    let prefer = |a: bool, b: bool| a.cmp(&b);
    prefer(a.1 == dst, b.1 == dst)
        .then_with(by_scope)
        .then_with(|| prefer(!a.0.deprecated, !b.0.deprecated))
        .then_with(|| prefer(a.0.ifindex == ifindex, b.0.ifindex == ifindex))
        .then_with(|| prefer(label(a.1) == label(dst), label(b.1) == label(dst)))
        .then_with(|| prefer(!a.0.secondary, !b.0.secondary))
        .then_with(|| common(a, dst).cmp(&common(b, dst)))
}

/// How many leading bits an address has in common with the destination, at most as many as its
/// prefix has.
fn common((address, addr): (&Address, Ipv6Addr), dst: Ipv6Addr) -> u32 {
    (addr.to_bits() ^ dst.to_bits()).leading_zeros().min(u32::from(address.net.prefix_len()))
}

const LINK_LOCAL: u8 = 2;

/// The scope values of RFC 4291, also for unicast addresses.
fn scope(addr: Ipv6Addr) -> u8 {
    match addr {
        _ if addr.is_multicast() => addr.octets()[1] & 0xf,
        _ if addr.is_loopback() || addr.is_unicast_link_local() => LINK_LOCAL,
        _ if addr.segments()[0] & 0xffc0 == 0xfec0 => 5,
        _ => 14,
    }
}

/// The kernel's default labels (`net/ipv6/addrlabel.c`).
fn label(addr: Ipv6Addr) -> u8 {
    match addr.segments() {
        _ if addr.is_loopback() => 0,
        [0, 0, 0, 0, 0, 0xffff, ..] => 4,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        [0x2001, 0, ..] => 6,
        [0x2001, second, ..] if second & 0xfff0 == 0x10 => 7,
        [0x2002, ..] => 2,
        [first, ..] if first & 0xffc0 == 0xfec0 => 11,
        [first, ..] if first & 0xfe00 == 0xfc00 => 5,
        [0x3ffe, ..] => 12,
        _ => 1,
    }
}
