//! What the packet path supports, and its limits. Only here does the model refuse changes that
//! Linux would accept.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sched::MhSize;

use super::destination::{DestSpec, ForwardingMethod, TunnelKind};
use super::error::{Feature, ModelError};
use super::service::{Family, Protocol, ServiceFlags, ServiceKey, ServiceSpec};

/// The names of all schedulers of Vipline. A packet path may have fewer.
pub const SCHEDULERS: [&str; 17] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos", "lt",
    "wlt", "wrt",
];

/// The features of the packet path. If a flag is false, the model refuses the feature and names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// IPv6, in any address.
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
    /// All features of Linux, and FULLNAT.
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

    /// IPv4, TCP and UDP, the four methods, and nothing else.
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

    /// Checks whether a service with this key may exist.
    pub(super) fn check_key(&self, key: &ServiceKey) -> Result<(), ModelError> {
        need(self.ipv6 || key.family() == Family::V4, Feature::Ipv6)?;
        need(self.marks || !matches!(key, ServiceKey::Mark { .. }), Feature::Marks)?;
        need(self.sctp || key.protocol() != Protocol::Sctp, Feature::Sctp)
    }

    /// Checks whether a service may have this `spec`.
    pub(super) fn check_service(&self, spec: &ServiceSpec) -> Result<(), ModelError> {
        self.check_key(&spec.key)?;
        need(self.persistence || !spec.flags.contains(ServiceFlags::PERSISTENT), Feature::Persistence)?;
        need(self.one_packet || !spec.flags.contains(ServiceFlags::ONE_PACKET), Feature::OnePacket)?;
        need(self.sip || spec.engine.is_none(), Feature::Sip)
    }

    /// Checks whether a destination may have this `spec`.
    pub(super) fn check_destination(&self, spec: &DestSpec) -> Result<(), ModelError> {
        self.check_address(spec.key.addr)?;
        match (spec.method, spec.tunnel.kind) {
            (ForwardingMethod::Tunnel, _) if !self.tunnel => Err(ModelError::Unsupported(Feature::Tunnel)),
            (ForwardingMethod::Tunnel, TunnelKind::Gue) => need(self.gue, Feature::Gue),
            (ForwardingMethod::Tunnel, TunnelKind::Gre) => need(self.gre, Feature::Gre),
            (ForwardingMethod::FullNat, _) => need(self.fullnat, Feature::FullNat),
            _ => Ok(()),
        }
    }

    /// Checks whether addresses of this family are supported.
    pub(super) fn check_address(&self, addr: IpAddr) -> Result<(), ModelError> {
        need(self.ipv6 || addr.is_ipv4(), Feature::Ipv6)
    }
}

/// How many services, destinations and local addresses there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services, including removed ones whose slots are not yet reclaimed.
    pub services: u32,
    /// Destinations, including deleted ones whose slots are not yet reclaimed.
    pub destinations: u32,
    /// Local addresses of one service.
    pub local_addresses: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: 131_072, destinations: 1_048_576, local_addresses: 4096 }
    }
}

/// The options of a model.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// The features of the packet path.
    pub capabilities: Capabilities,
    /// How many of each there may be.
    pub limits: Limits,
    /// The names of the available schedulers.
    pub schedulers: BTreeSet<String>,
    /// The size of the tables of `mh`. It limits the destinations of a service with `mh`.
    pub mh_size: MhSize,
    /// The machine's memory in pages; Linux computes the default of `sync_qlen_max` from it.
    pub memory_pages: u64,
}

impl ModelOptions {
    /// The options for the present packet path, with this limit of destinations and this size of
    /// `mh` tables.
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

    /// All features and schedulers: everything that Linux would accept.
    pub fn all() -> Self {
        Self {
            capabilities: Capabilities::ALL,
            limits: Limits::default(),
            mh_size: MhSize::default(),
            memory_pages: 0,
            schedulers: SCHEDULERS.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// What the director's own Linux knows about addresses, for the checks when a destination is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Addresses of the director's own interfaces.
    pub local: HashSet<IpAddr>,
    /// The broadcast addresses of its networks.
    pub broadcast: HashSet<Ipv4Addr>,
}

impl HostAddresses {
    /// Whether Linux would accept `addr` as a server: its route type is unicast or local.
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

/// Whether an address is unicast and not link-local, by the classes of `net/ipv6/addrconf_core.c:
/// __ipv6_addr_type`. Not unicast are multicast addresses, the unspecified address and IPv4-mapped
/// addresses.
fn is_unicast_v6(addr: Ipv6Addr) -> bool {
    let link_local = addr.segments()[0] & 0xffc0 == 0xfe80;
    !link_local && !addr.is_multicast() && !addr.is_unspecified() && addr.to_ipv4_mapped().is_none()
}

fn need(carried: bool, feature: Feature) -> Result<(), ModelError> {
    if carried { Ok(()) } else { Err(ModelError::Unsupported(feature)) }
}
