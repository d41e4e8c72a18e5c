//! The key of a virtual service, and its settings.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// The stable, dense slot of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceSlot(u32);

impl ServiceSlot {
    /// The slot numbered `index`.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The slot's number, for indexing per-service arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number as stored elsewhere.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// The transport protocols that IPVS balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
    /// IP protocol 132.
    Sctp,
}

impl Protocol {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this IP protocol number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The name as listings print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The key of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKey {
    /// A virtual address; port 0 serves every port (of a persistent service).
    Address {
        /// The transport protocol.
        protocol: Protocol,
        /// VIP.
        addr: IpAddr,
        /// Virtual port, host order.
        port: u16,
    },
    /// A firewall mark. Each family has its own marks.
    Mark {
        /// The mark, never 0.
        mark: u32,
        /// The family of its packets.
        family: Family,
    },
}

impl ServiceKey {
    /// A TCP service.
    pub const fn tcp(addr: IpAddr, port: u16) -> Self {
        Self::Address { protocol: Protocol::Tcp, addr, port }
    }

    /// A UDP service.
    pub const fn udp(addr: IpAddr, port: u16) -> Self {
        Self::Address { protocol: Protocol::Udp, addr, port }
    }

    /// The service's family.
    pub const fn family(&self) -> Family {
        match self {
            Self::Address { addr, .. } => Family::of(*addr),
            Self::Mark { family, .. } => *family,
        }
    }

    /// The protocol that Linux stores. For a mark that is TCP.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Address { protocol, .. } => *protocol,
            Self::Mark { .. } => Protocol::Tcp,
        }
    }

    /// The virtual port, 0 for a mark.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, addr: IpAddr::V4(addr), port } => {
                write!(f, "{} {addr}:{port}", protocol.name())
            }
            Self::Address { protocol, addr: IpAddr::V6(addr), port } => {
                write!(f, "{} [{addr}]:{port}", protocol.name())
            }
            Self::Mark { mark, family: Family::V4 } => write!(f, "FWM {mark}"),
            Self::Mark { mark, family: Family::V6 } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

bitflags::bitflags! {
    /// The flags of a service, with Linux's numbers.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct ServiceFlags: u32 {
        /// `-p`: clients stick to their destination.
        const PERSISTENT = 0x1;
        /// `-o`: every datagram is scheduled by itself.
        const ONE_PACKET = 0x4;
        /// `flag-1`, `sh-fallback`, `mh-fallback`.
        const SCHED_1 = 0x8;
        /// `flag-2`, `sh-port`, `mh-port`.
        const SCHED_2 = 0x10;
        /// `flag-3`.
        const SCHED_3 = 0x20;
    }
}

impl ServiceFlags {
    /// The flags that the scheduler reads.
    pub const SCHED: Self = Self::SCHED_1.union(Self::SCHED_2).union(Self::SCHED_3);
}

/// The part of a client's address that persistence compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistenceMask {
    /// Any IPv4 mask, contiguous or not.
    V4(Ipv4Addr),
    /// An IPv6 prefix length, 1 ..= 128.
    V6(u32),
}

impl PersistenceMask {
    /// The mask that keeps the whole address.
    pub const fn host(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(128),
        }
    }

    /// Whether the whole address is kept.
    pub fn is_host(self) -> bool {
        self == Self::host(self.family())
    }

    /// The mask's family.
    pub const fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }
}

/// All settings of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Which service.
    pub key: ServiceKey,
    /// The scheduler's name (`rr`, `wlc` …).
    pub scheduler: String,
    /// Persistence, one-packet scheduling, scheduler flags.
    pub flags: ServiceFlags,
    /// Persistence timeout in seconds. It is kept, but has no effect, if the service is not
    /// persistent.
    pub timeout: u32,
    /// Clients that are equal under this mask go to the same destination.
    pub netmask: PersistenceMask,
    /// The persistence engine, if any (`sip`).
    pub engine: Option<String>,
}

impl ServiceSpec {
    /// A plain service: no persistence, no flags.
    pub fn new(key: ServiceKey, scheduler: &str) -> Self {
        Self {
            key,
            scheduler: scheduler.to_owned(),
            flags: ServiceFlags::empty(),
            timeout: 0,
            netmask: PersistenceMask::host(key.family()),
            engine: None,
        }
    }

    /// The same service with persistence of `timeout` seconds.
    #[must_use]
    pub fn persistent(mut self, timeout: u32) -> Self {
        self.flags |= ServiceFlags::PERSISTENT;
        self.timeout = timeout;
        self
    }
}
