//! Where packets go: Linux's routes and neighbours, flattened for reading.
//!
//! Control mirrors the kernel's tables and compiles them: routes into disjoint sorted ranges, each next
//! hop into an [`Adjacency`] with the finished Ethernet header. An adjacency's number is stable; it is
//! given to another next hop only together with a new [`crate::snapshot::Snapshot::generation`], so
//! that a connection that still holds it looks its route up again first.

use core::net::Ipv4Addr;
use std::sync::Arc;
use std::vec::Vec;

use hashbrown::HashMap;

use crate::io::PortId;
use crate::snapshot::cow::CowArray;
use crate::wire::ether::ETHER_LEN;
use crate::wire::ether::Mac;

/// A next hop: the port it is behind and the Ethernet header that reaches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjacency {
    /// The finished header; the destination is zero while the MAC is not known.
    pub header: [u8; ETHER_LEN],
    /// What is behind it.
    pub reach: Reach,
    /// Largest IP packet the way there takes, in bytes.
    pub mtu: u16,
    /// The next hop's address.
    pub next_hop: Option<Ipv4Addr>,
}

/// What an adjacency leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Out of a port; the MAC is known.
    Port(PortId),
    /// Out of a port; the MAC is not known yet.
    Resolving(PortId),
    /// Linux itself: a local address, or a way that leads out of an interface that is not ours.
    Host,
    /// Nowhere.
    #[default]
    Nowhere,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// To a gateway: the adjacency with this number.
    Gateway(u32),
    /// To neighbours on the port's own link, each by its own address.
    OnLink {
        /// The port whose link it is.
        port: PortId,
        /// Largest IP packet, in bytes.
        mtu: u16,
    },
    /// To Linux: local, or out of an interface that is not a port's.
    Host,
    /// Unreachable, prohibited, blackholed.
    Nowhere,
}

/// All routes: disjoint ranges of addresses, sorted, in host order.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    starts: Vec<u32>,
    ends: Vec<u32>,
    targets: Vec<RouteTarget>,
}

impl Routes {
    /// Routes from ranges (first and last address inclusive) that are disjoint and sorted.
    pub fn new(ranges: &[(Ipv4Addr, Ipv4Addr, RouteTarget)]) -> Self {
        Self {
            starts: ranges.iter().map(|r| r.0.to_bits()).collect(),
            ends: ranges.iter().map(|r| r.1.to_bits()).collect(),
            targets: ranges.iter().map(|r| r.2).collect(),
        }
    }

    /// Where `addr` is routed; [`RouteTarget::Nowhere`] when no route covers it.
    pub fn lookup(&self, addr: Ipv4Addr) -> RouteTarget {
        let bits = addr.to_bits();
        let at = self.starts.partition_point(|&start| start <= bits);
        match at.checked_sub(1) {
            Some(i) if bits <= self.ends[i] => self.targets[i],
            _ => RouteTarget::Nowhere,
        }
    }
}

/// The next hop of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// The adjacency with this number.
    Known(u32),
    /// A neighbour on a port's link that Linux has not been asked for.
    Unknown(PortId, u16),
    /// Linux itself.
    Host,
    /// No route.
    Nowhere,
}

/// Routes, adjacencies and ports together.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// The routes.
    pub routes: Arc<Routes>,
    /// The next hops, by number.
    pub adjacencies: CowArray<Adjacency>,
    /// The number of each neighbour's adjacency.
    pub neighbours: Arc<HashMap<(PortId, Ipv4Addr), u32>>,
    /// The ports, by [`PortId`].
    pub ports: Arc<[PortFacts]>,
}

/// What the packet path knows of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC, and its host interface's.
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// The host interface's first IPv4 address: source of the director's own ICMP errors.
    pub addr: Option<Ipv4Addr>,
    /// Whether IPv4 header checksums are checked in software when the device does not.
    pub verify_checksum: bool,
}

impl Paths {
    /// The next hop of a packet to `addr`.
    pub fn next_hop(&self, addr: Ipv4Addr) -> NextHop {
        match self.routes.lookup(addr) {
            RouteTarget::Gateway(id) => NextHop::Known(id),
            RouteTarget::OnLink { port, mtu } => self
                .neighbours
                .get(&(port, addr))
                .map_or(NextHop::Unknown(port, mtu), |&id| NextHop::Known(id)),
            RouteTarget::Host => NextHop::Host,
            RouteTarget::Nowhere => NextHop::Nowhere,
        }
    }

    /// The adjacency numbered `id`.
    #[inline]
    pub fn adjacency(&self, id: u32) -> Option<&Adjacency> {
        self.adjacencies.get(id as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_finds_the_range_that_covers_and_no_other() {
        let a = |s: &str| s.parse::<Ipv4Addr>().unwrap();
        let routes = Routes::new(&[
            (a("10.0.0.0"), a("10.0.0.255"), RouteTarget::Host),
            (a("10.0.1.0"), a("10.0.1.0"), RouteTarget::Gateway(7)),
            (a("192.168.0.0"), a("255.255.255.255"), RouteTarget::Gateway(9)),
        ]);
        assert_eq!(routes.lookup(a("10.0.0.255")), RouteTarget::Host);
        assert_eq!(routes.lookup(a("10.0.1.0")), RouteTarget::Gateway(7));
        assert_eq!(routes.lookup(a("10.0.1.1")), RouteTarget::Nowhere);
        assert_eq!(routes.lookup(a("255.255.255.255")), RouteTarget::Gateway(9));
        assert_eq!(routes.lookup(a("0.0.0.0")), RouteTarget::Nowhere);
        assert_eq!(Routes::default().lookup(a("1.1.1.1")), RouteTarget::Nowhere);
    }
}
