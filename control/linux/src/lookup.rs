//! Route lookups: what happens to a packet, with the source address and the MTU that go with it.

use std::net::IpAddr;

use super::source;
use super::state::{MirrorState, Route, RouteKind};

/// What happens to packets for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// They are for this host.
    Local,
    /// They are for everyone on a link, or for a group. Linux handles them.
    Broadcast,
    /// They leave by a link.
    Unicast {
        /// The link.
        ifindex: u32,
        /// The next hop, whose Ethernet address they get.
        next_hop: IpAddr,
        /// The director's own address towards them, when it has one.
        pref_src: Option<IpAddr>,
        /// The longest packet.
        mtu: u32,
    },
    /// Refused: host unreachable.
    Unreachable,
    /// Refused: administratively prohibited.
    Prohibit,
    /// Dropped without a word.
    Blackhole,
    /// No route.
    None,
}

/// A [`Lookup`] for many destinations at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeLookup {
    /// As [`Lookup::Local`].
    Local,
    /// As [`Lookup::Broadcast`].
    Broadcast,
    /// As [`Lookup::Unicast`].
    Unicast {
        /// The link.
        ifindex: u32,
        /// The next hop; none when each destination is its own.
        gateway: Option<IpAddr>,
        /// The director's own address towards them, when it has one.
        pref_src: Option<IpAddr>,
        /// The longest packet.
        mtu: u32,
        /// The links of all next hops when there are several; else empty. Only the first that lives
        /// is used.
        links: Vec<u32>,
    },
    /// As [`Lookup::Unreachable`].
    Unreachable,
    /// As [`Lookup::Prohibit`].
    Prohibit,
    /// As [`Lookup::Blackhole`].
    Blackhole,
}

impl RangeLookup {
    /// The same for one destination.
    pub fn towards(&self, dst: IpAddr) -> Lookup {
        match *self {
            Self::Local => Lookup::Local,
            Self::Broadcast => Lookup::Broadcast,
            Self::Unicast { ifindex, gateway, pref_src, mtu, .. } => {
                Lookup::Unicast { ifindex, next_hop: gateway.unwrap_or(dst), pref_src, mtu }
            }
            Self::Unreachable => Lookup::Unreachable,
            Self::Prohibit => Lookup::Prohibit,
            Self::Blackhole => Lookup::Blackhole,
        }
    }
}

impl MirrorState {
    /// What happens to a packet for `dst`: the answer of `ip route get`.
    ///
    /// When a route has several next hops, this is always the first one that lives; the kernel
    /// spreads flows over all of them. An IPv6 link-local destination names no link, so the answer
    /// for it is a guess, as the kernel's is.
    pub fn lookup(&self, dst: IpAddr) -> Lookup {
        match self.routes.find(dst) {
            Some(route) => self.target(route, dst).map_or(Lookup::None, |target| target.towards(dst)),
            None => Lookup::None,
        }
    }

    /// What a route means. `dst` matters for the source address of IPv6 only.
    pub(super) fn target(&self, route: &Route, dst: IpAddr) -> Option<RangeLookup> {
        Some(match route.kind {
            RouteKind::Local | RouteKind::Anycast => RangeLookup::Local,
            RouteKind::Broadcast | RouteKind::Multicast => RangeLookup::Broadcast,
            RouteKind::Blackhole => RangeLookup::Blackhole,
            RouteKind::Unreachable => RangeLookup::Unreachable,
            RouteKind::Prohibit => RangeLookup::Prohibit,
            RouteKind::Throw => return None,
            RouteKind::Unicast => {
                let link = self.ifaces.get(&route.ifindex).map_or(u32::MAX, |iface| iface.mtu);
                RangeLookup::Unicast {
                    ifindex: route.ifindex,
                    gateway: route.gateway,
                    pref_src: route.pref_src.or_else(|| source::select(self, route, dst)),
                    mtu: route.mtu.map_or(link, |mtu| mtu.min(link)),
                    links: route.links.clone(),
                }
            }
        })
    }
}
