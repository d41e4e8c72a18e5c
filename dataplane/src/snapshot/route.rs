//! Where packets go: Linux's routes and neighbours, compiled for fast look-ups.
//!
//! Control mirrors the kernel's tables and compiles them: routes into disjoint sorted ranges, and
//! each next hop into an [`Adjacency`] with the finished Ethernet header. An adjacency's number is
//! stable. If it is given to another next hop, the snapshot has a new
//! [`crate::snapshot::Snapshot::generation`]. So a connection that still holds the number looks its
//! route up again first.

use core::net::Ipv4Addr;
use std::sync::Arc;
use std::vec::Vec;

use hashbrown::HashMap;

use crate::io::PortId;
use crate::snapshot::cow::CowArray;
use crate::verdict::DropReason;
use crate::wire::ether::ETHER_LEN;
use crate::wire::ether::Mac;

/// A next hop: its port, and the Ethernet header for packets to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjacency {
    /// The finished header. Its destination is zero while the MAC is not known.
    pub header: [u8; ETHER_LEN],
    /// Where it leads.
    pub reach: Reach,
    /// Largest IP packet on the path, in bytes.
    pub mtu: u16,
    /// The next hop's address.
    pub next_hop: Option<Ipv4Addr>,
}

impl Adjacency {
    /// The port by which packets leave, if they leave by one.
    #[inline]
    pub fn port(&self) -> Option<PortId> {
        match self.reach {
            Reach::Port(port) | Reach::Resolving(port) => Some(port),
            Reach::Host | Reach::Nowhere => None,
        }
    }
}

/// Where an adjacency leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Out of this port. The MAC is known.
    Port(PortId),
    /// Out of this port. The MAC is not known yet.
    Resolving(PortId),
    /// To Linux: the address is local, or the route leads out of an interface that is not a port's.
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
    /// To neighbours on the port's link. Each address is its own next hop.
    OnLink {
        /// The port of the link.
        port: PortId,
        /// Largest IP packet, in bytes.
        mtu: u16,
    },
    /// As [`RouteTarget::OnLink`], for a route with several next hops. Linux accepts packets by the
    /// ports of all next hops.
    OnLinks {
        /// The port that is used.
        port: PortId,
        /// Largest IP packet, in bytes.
        mtu: u16,
        /// The ports of all next hops.
        ports: PortSet,
    },
    /// To Linux, which sends the packet out of an interface that is not a port's. Linux accepts
    /// packets from there by these ports: the interface is on top of their host interface, or the
    /// route has other next hops that lead there.
    Host(PortSet),
    /// To Linux: the address is its own.
    Own,
    /// To Linux: the address is a broadcast address of one of its networks.
    Broadcast,
    /// As [`RouteTarget::Gateway`], for a route with several next hops. The number is that of the
    /// adjacency that is used. Linux accepts packets by the ports of all next hops.
    Spread(u32, PortSet),
    /// The route is unreachable, prohibit or blackhole.
    Nowhere,
}

/// A set of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSet(u32);

impl PortSet {
    /// Whether `port` is in the set.
    pub fn contains(self, port: PortId) -> bool {
        bit(port) & self.0 != 0
    }
}

impl FromIterator<PortId> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortId>>(ports: I) -> Self {
        Self(ports.into_iter().fold(0, |set, port| set | bit(port)))
    }
}

/// The bit of a port; 0 for a number that DPDK cannot have (`RTE_MAX_ETHPORTS` is 32).
fn bit(port: PortId) -> u32 {
    1_u32.checked_shl(u32::from(port.as_u16())).unwrap_or(0)
}

/// All routes: sorted and disjoint ranges of addresses, in host byte order.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    starts: Vec<u32>,
    ends: Vec<u32>,
    targets: Vec<RouteTarget>,
}

impl Routes {
    /// Routes from ranges with first and last address. The ranges must be disjoint and sorted.
    pub fn new(ranges: &[(Ipv4Addr, Ipv4Addr, RouteTarget)]) -> Self {
        Self {
            starts: ranges.iter().map(|r| r.0.to_bits()).collect(),
            ends: ranges.iter().map(|r| r.1.to_bits()).collect(),
            targets: ranges.iter().map(|r| r.2).collect(),
        }
    }

    /// Where packets to `addr` go. [`RouteTarget::Nowhere`] if no route covers the address.
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
    /// A neighbour on a port's link that has no adjacency yet: the port, and the MTU in bytes.
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
    /// The next hops, indexed by number.
    pub adjacencies: CowArray<Adjacency>,
    /// The number of the adjacency of each neighbour.
    pub neighbours: Arc<HashMap<(PortId, Ipv4Addr), u32>>,
    /// The ports, indexed by [`PortId`].
    pub ports: Arc<[PortFacts]>,
    /// MACs that Linux has on each port's host interface besides the port's own.
    pub more_macs: Arc<[Vec<Mac>]>,
}

/// What the packet path knows about a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC. The host interface has the same.
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// The host interface's first IPv4 address. It is the source of ICMP errors about replies.
    pub addr: Option<Ipv4Addr>,
    /// Whether IPv4 header checksums are checked in software if the device does not check them.
    pub verify_checksum: bool,
    /// Which senders its host interface accepts.
    pub input: Input,
}

/// Which senders Linux accepts on an interface: `net.ipv4.conf.*` of the interface and of `all`,
/// combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// `rp_filter`.
    pub rp_filter: RpFilter,
    /// `accept_local`: packets from outside may have one of Linux's own addresses as sender.
    pub accept_local: bool,
    /// `accept_source_route`.
    pub accept_source_route: bool,
}

/// The check of a sender's route against the port by which its packet comes (RFC 3704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RpFilter {
    /// 0: no check.
    #[default]
    Off,
    /// 1: the route must lead to that port.
    Strict,
    /// 2: there must be a route.
    Loose,
}

impl Paths {
    /// The next hop of a packet to `addr`.
    pub fn next_hop(&self, addr: Ipv4Addr) -> NextHop {
        match self.routes.lookup(addr) {
            RouteTarget::Gateway(id) | RouteTarget::Spread(id, _) => NextHop::Known(id),
            RouteTarget::OnLink { port, mtu } | RouteTarget::OnLinks { port, mtu, .. } => {
                self.neighbour(port, addr, mtu)
            }
            RouteTarget::Host(_) | RouteTarget::Own | RouteTarget::Broadcast => NextHop::Host,
            RouteTarget::Nowhere => NextHop::Nowhere,
        }
    }

    fn neighbour(&self, port: PortId, addr: Ipv4Addr, mtu: u16) -> NextHop {
        self.neighbours.get(&(port, addr)).map_or(NextHop::Unknown(port, mtu), |&id| NextHop::Known(id))
    }

    /// The next hop to the sender of a packet that came in by `port`. Returns a drop reason if
    /// Linux would not accept such a packet (`net/ipv4/fib_frontend.c: __fib_validate_source`).
    /// Linux accepts broadcast senders if it checks no reverse path; here they are never accepted.
    pub fn admit(&self, sender: Ipv4Addr, port: PortId) -> Result<NextHop, DropReason> {
        let input = self.ports.get(port.index()).map_or(Input::default(), |facts| facts.input);
        match (self.routes.lookup(sender), input.rp_filter) {
            // This is so for most clients and most directors.
            (RouteTarget::Gateway(id), RpFilter::Off) => Ok(NextHop::Known(id)),
            (target, _) => self.admit_by(target, sender, port, input),
        }
    }

    fn admit_by(
        &self,
        target: RouteTarget,
        sender: Ipv4Addr,
        port: PortId,
        input: Input,
    ) -> Result<NextHop, DropReason> {
        let wrong = match input.rp_filter {
            RpFilter::Off => None,
            RpFilter::Strict | RpFilter::Loose => Some(DropReason::RpFilter),
        };
        let strict = input.rp_filter == RpFilter::Strict;
        let (next, right) = match target {
            RouteTarget::Gateway(id) => {
                (NextHop::Known(id), self.adjacency(id).and_then(Adjacency::port) == Some(port))
            }
            RouteTarget::Spread(id, ports) => (NextHop::Known(id), ports.contains(port)),
            RouteTarget::OnLink { port: link, mtu } => (self.neighbour(link, sender, mtu), link == port),
            RouteTarget::OnLinks { port: link, mtu, ports } => {
                (self.neighbour(link, sender, mtu), ports.contains(port))
            }
            RouteTarget::Host(ports) => (NextHop::Host, ports.contains(port)),
            RouteTarget::Own if input.accept_local => {
                return Ok(NextHop::Host);
            }
            RouteTarget::Own | RouteTarget::Broadcast => return Err(DropReason::Martian),
            RouteTarget::Nowhere => return wrong.map_or(Ok(NextHop::Nowhere), Err),
        };
        match wrong {
            Some(reason) if strict && !right => Err(reason),
            _ => Ok(next),
        }
    }

    /// Whether Linux accepts packets by `port` only from senders that it would answer by that port.
    #[inline]
    pub fn is_strict(&self, port: PortId) -> bool {
        self.ports.get(port.index()).is_some_and(|facts| facts.input.rp_filter == RpFilter::Strict)
    }

    /// Further MACs of `port`: frames to them are for the port too.
    #[inline]
    pub fn more_macs(&self, port: PortId) -> &[Mac] {
        self.more_macs.get(port.index()).map_or(&[], Vec::as_slice)
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
            (a("10.0.0.0"), a("10.0.0.255"), RouteTarget::Own),
            (a("10.0.1.0"), a("10.0.1.0"), RouteTarget::Gateway(7)),
            (a("192.168.0.0"), a("255.255.255.255"), RouteTarget::Gateway(9)),
        ]);
        assert_eq!(routes.lookup(a("10.0.0.255")), RouteTarget::Own);
        assert_eq!(routes.lookup(a("10.0.1.0")), RouteTarget::Gateway(7));
        assert_eq!(routes.lookup(a("10.0.1.1")), RouteTarget::Nowhere);
        assert_eq!(routes.lookup(a("255.255.255.255")), RouteTarget::Gateway(9));
        assert_eq!(routes.lookup(a("0.0.0.0")), RouteTarget::Nowhere);
        assert_eq!(Routes::default().lookup(a("1.1.1.1")), RouteTarget::Nowhere);
    }
}
