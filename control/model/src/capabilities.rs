//! What the packet path carries, and how much of it: the one place where the model refuses what
//! Linux would take.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sched::MhSize;

use super::destination::{DestSpec, Method, TunnelKind};
use super::error::{Feature, ModelError};
use super::service::{Family, Protocol, ServiceFlags, ServiceKey, ServiceSpec};

/// The names of all schedulers Vipline knows of; a packet path may have fewer.
pub const SCHEDULERS: [&str; 17] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos", "lt",
    "wlt", "wrt",
];

/// Which features the packet path carries. A flag that is down refuses, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// IPv6 anywhere.
    pub ipv6: bool,
    /// Services by firewall mark.
    pub marks: bool,
    /// SCTP services.
    pub sctp: bool,
    /// Persistent services.
    pub persistence: bool,
    /// The persistence engine `sip`.
    pub sip: bool,
    /// One-packet scheduling.
    pub one_packet: bool,
    /// The method FULLNAT.
    pub fullnat: bool,
    /// The method TUN.
    pub tunnel: bool,
    /// Tunnels of type `gue`.
    pub gue: bool,
    /// Tunnels of type `gre`.
    pub gre: bool,
    /// Destinations that are addresses of the director itself.
    pub local_destinations: bool,
}

impl Capabilities {
    /// Everything Linux has, and FULLNAT.
    pub const ALL: Self = Self {
        ipv6: true,
        marks: true,
        sctp: true,
        persistence: true,
        sip: true,
        one_packet: true,
        fullnat: true,
        tunnel: true,
        gue: true,
        gre: true,
        local_destinations: true,
    };

    /// IPv4, TCP and UDP, the four methods, nothing beyond.
    pub const BASE: Self = Self {
        ipv6: false,
        marks: false,
        sctp: false,
        persistence: false,
        sip: false,
        one_packet: false,
        fullnat: true,
        tunnel: true,
        gue: false,
        gre: false,
        local_destinations: false,
    };

    /// Whether a service of this key may exist.
    pub(super) fn check_key(&self, key: &ServiceKey) -> Result<(), ModelError> {
        need(self.ipv6 || key.family() == Family::V4, Feature::Ipv6)?;
        need(self.marks || !matches!(key, ServiceKey::Mark { .. }), Feature::Marks)?;
        need(self.sctp || key.protocol() != Protocol::Sctp, Feature::Sctp)
    }

    /// Whether a service may be as `spec` says.
    pub(super) fn check_service(&self, spec: &ServiceSpec) -> Result<(), ModelError> {
        self.check_key(&spec.key)?;
        need(self.persistence || !spec.flags.contains(ServiceFlags::PERSISTENT), Feature::Persistence)?;
        need(self.one_packet || !spec.flags.contains(ServiceFlags::ONE_PACKET), Feature::OnePacket)?;
        need(self.sip || spec.engine.is_none(), Feature::Sip)
    }

    /// Whether a destination may be as `spec` says.
    pub(super) fn check_destination(&self, spec: &DestSpec) -> Result<(), ModelError> {
        self.check_address(spec.key.addr)?;
        match (spec.method, spec.tunnel.kind) {
            (Method::Tunnel, _) if !self.tunnel => Err(ModelError::Unsupported(Feature::Tunnel)),
            (Method::Tunnel, TunnelKind::Gue) => need(self.gue, Feature::Gue),
            (Method::Tunnel, TunnelKind::Gre) => need(self.gre, Feature::Gre),
            (Method::FullNat, _) => need(self.fullnat, Feature::FullNat),
            _ => Ok(()),
        }
    }

    /// Whether an address of this family may appear at all.
    pub(super) fn check_address(&self, addr: IpAddr) -> Result<(), ModelError> {
        need(self.ipv6 || addr.is_ipv4(), Feature::Ipv6)
    }
}

/// How many of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services, counting removed ones not yet reclaimed.
    pub services: u32,
    /// Destinations, counting deleted ones not yet reclaimed.
    pub destinations: u32,
    /// Local addresses of one service.
    pub local_addresses: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: 131_072, destinations: 1_048_576, local_addresses: 4096 }
    }
}

/// What a model is made for.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// What the packet path carries.
    pub capabilities: Capabilities,
    /// How much.
    pub limits: Limits,
    /// The schedulers that are built, by name.
    pub schedulers: BTreeSet<String>,
    /// The size of the tables of `mh`, which limits how many destinations it takes.
    pub mh_size: MhSize,
}

impl ModelOptions {
    /// What the packet path of today serves, for so many destinations and such tables of `mh`.
    pub fn served(destinations: u32, mh_size: MhSize) -> Self {
        Self {
            capabilities: Capabilities {
                marks: true,
                persistence: true,
                one_packet: true,
                ..Capabilities::BASE
            },
            limits: Limits { destinations, ..Limits::default() },
            mh_size,
            ..Self::all()
        }
    }

    /// Everything on, every scheduler: what Linux would take.
    pub fn all() -> Self {
        Self {
            capabilities: Capabilities::ALL,
            limits: Limits::default(),
            mh_size: MhSize::default(),
            schedulers: SCHEDULERS.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// What the director's own Linux knows of addresses, for the checks on adding a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Addresses of the director's own interfaces.
    pub local: HashSet<IpAddr>,
    /// The broadcast addresses of its networks.
    pub broadcast: HashSet<Ipv4Addr>,
}

impl HostAddresses {
    /// Whether Linux would take `addr` as a server: unicast by routing type, or local.
    pub(super) fn is_server(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(v4) => {
                let zeronet = v4.octets()[0] == 0;
                !zeronet && !v4.is_broadcast() && !v4.is_multicast() && !self.broadcast.contains(&v4)
            }
            IpAddr::V6(v6) => is_unicast_v6(v6) || self.is_local(addr),
        }
    }

    /// Whether packets for `addr` end on the director itself.
    pub(super) fn is_local(&self, addr: IpAddr) -> bool {
        addr.is_loopback() || self.local.contains(&addr)
    }
}

/// Unicast and not link-local, as `net/ipv6/addrconf_core.c: __ipv6_addr_type` sorts addresses:
/// all that is not multicast, unspecified or an IPv4 address in disguise.
fn is_unicast_v6(addr: Ipv6Addr) -> bool {
    let link_local = addr.segments()[0] & 0xffc0 == 0xfe80;
    !link_local && !addr.is_multicast() && !addr.is_unspecified() && addr.to_ipv4_mapped().is_none()
}

fn need(carried: bool, feature: Feature) -> Result<(), ModelError> {
    if carried { Ok(()) } else { Err(ModelError::Unsupported(feature)) }
}
