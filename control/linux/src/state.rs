//! What Linux knows about links, addresses, routes and neighbours, in plain types.
//!
//! A [`MirrorState`] is a value: the mirror thread changes its own copy and hands out snapshots
//! that never change. Each of its parts is behind an `Arc` of its own. So a snapshot costs four
//! reference counts, and when a neighbour changes its state no routes are copied. [`Generations`]
//! says which parts differ between two snapshots.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::wire::ether::Mac;
use ipnet::IpNet;

use super::routes::RouteTable;

/// Everything that is mirrored, at one moment.
#[derive(Clone, Debug, Default)]
pub struct MirrorState {
    /// Links by their index.
    pub ifaces: Arc<BTreeMap<u32, Iface>>,
    /// Addresses in the kernel's order. The order decides which one is the source address.
    pub addresses: Arc<Vec<Address>>,
    /// The routes of the tables local, main and default.
    pub routes: Arc<RouteTable>,
    /// Neighbours by link and address.
    pub neighbours: Arc<BTreeMap<(u32, IpAddr), Neighbour>>,
    /// How often each part has changed.
    pub generations: Generations,
}

/// How often each part of a [`MirrorState`] has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// Links and addresses. When it moves, `routes` moves too: an MTU or a source address may
    /// differ.
    pub links: u64,
    /// Whatever a route lookup answers from.
    pub routes: u64,
    /// Neighbours.
    pub neighbours: u64,
    /// How often events were lost, and everything read anew.
    pub overruns: u64,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iface {
    /// Its name.
    pub name: String,
    /// Its Ethernet address, when it has one.
    pub mac: Option<Mac>,
    /// Its MTU.
    pub mtu: u32,
    /// Set up by the administrator.
    pub up: bool,
    /// There is a peer.
    pub carrier: bool,
    /// The link of this namespace that it lies upon and takes its frames from: of a macvlan, a VLAN
    /// and their like.
    pub lower: Option<u32>,
    /// Its frames carry a VLAN tag on the link below.
    pub tagged: bool,
}

/// An address on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub ifindex: u32,
    /// The address, with the length of its prefix.
    pub net: IpNet,
    /// The prefix it is on-link with; differs from that of `net` when the link has a peer address.
    pub subnet: IpNet,
    /// rtnetlink's scope: 0 universe, 200 site, 253 link, 254 host.
    pub scope: u8,
    /// IPv4: not the first of its prefix. IPv6: temporary.
    pub secondary: bool,
    /// IPv6: not for new connections.
    pub deprecated: bool,
    /// IPv6: duplicate address detection has not passed it.
    pub tentative: bool,
}

/// A routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableId {
    /// 255: what the kernel adds for its own addresses.
    Local,
    /// 254: where routes go unless told otherwise.
    Main,
    /// 253: looked at last.
    Default,
}

impl TableId {
    /// All tables, in the order they are looked at.
    pub const ALL: [Self; 3] = [Self::Local, Self::Main, Self::Default];

    /// The table of a number, if it is mirrored.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            255 => Some(Self::Local),
            254 => Some(Self::Main),
            253 => Some(Self::Default),
            _ => None,
        }
    }
}

/// What is done with a packet that a route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Sent out of a link.
    Unicast,
    /// For this host.
    Local,
    /// For this host and everyone on the link.
    Broadcast,
    /// For this host, among others.
    Anycast,
    /// For whoever has joined.
    Multicast,
    /// Dropped without a word.
    Blackhole,
    /// Refused: host unreachable.
    Unreachable,
    /// Refused: administratively prohibited.
    Prohibit,
    /// As if this table had no route.
    Throw,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations.
    pub dest: IpNet,
    /// What happens to them.
    pub kind: RouteKind,
    /// The next hop; none when the destination is on the link itself. May be IPv6 for an IPv4
    /// route.
    pub gateway: Option<IpAddr>,
    /// The link; 0 for routes without one.
    pub ifindex: u32,
    /// Lower is preferred.
    pub metric: u32,
    /// The source address for traffic of the director's own.
    pub pref_src: Option<IpAddr>,
    /// The route's own MTU.
    pub mtu: Option<u32>,
    /// Its table.
    pub table: TableId,
    /// rtnetlink's scope.
    pub scope: u8,
    /// The links of all next hops, dead ones too, when the route has several; else empty.
    /// `gateway` and `ifindex` are those of the first next hop that lives.
    pub links: Vec<u32>,
    /// Every next hop is dead: a lookup passes over the route.
    pub dead: bool,
}

impl Route {
    /// Whether a table can have only one of two routes.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        (self.table, self.dest, self.metric) == (other.table, other.dest, other.metric)
    }
}

/// A neighbour: who has an address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address, while the kernel has one.
    pub mac: Option<Mac>,
    /// How sure the kernel is.
    pub state: NeighbourState,
}

impl Neighbour {
    /// The Ethernet address to send to, unless the kernel itself would not.
    pub fn usable_mac(&self) -> Option<Mac> {
        self.mac.filter(|_| self.state.is_valid())
    }
}

/// The kernel's `NUD_*` states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Just made.
    None,
    /// Asked for, no answer yet.
    Incomplete,
    /// Heard of lately.
    Reachable,
    /// Heard of, but a while ago.
    Stale,
    /// Used while stale; about to be probed.
    Delay,
    /// Being probed.
    Probe,
    /// Asked for without an answer.
    Failed,
    /// Needs no resolution.
    NoArp,
    /// Set by the administrator.
    Permanent,
}

impl NeighbourState {
    /// Whether the kernel itself would send to the neighbour (`NUD_VALID`).
    pub fn is_valid(self) -> bool {
        !matches!(self, Self::None | Self::Incomplete | Self::Failed)
    }

    /// Whether it is of any use to ask the kernel to use the neighbour. A permanent neighbour must
    /// be left alone, because `NTF_USE` makes it an ordinary one.
    pub fn wants_use(self) -> bool {
        matches!(self, Self::None | Self::Stale | Self::Failed | Self::Incomplete)
    }
}

impl MirrorState {
    /// The link of that name.
    pub fn iface_named(&self, name: &str) -> Option<(u32, &Iface)> {
        self.ifaces.iter().find(|(_, iface)| iface.name == name).map(|(index, iface)| (*index, iface))
    }

    /// The neighbour with that address on that link.
    pub fn neighbour(&self, ifindex: u32, addr: IpAddr) -> Option<&Neighbour> {
        self.neighbours.get(&(ifindex, addr))
    }
}
