//! Why a change is refused: Linux's errors, as types.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Why the model refuses a change. After an error nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelError {
    /// `EEXIST` on adding a service.
    #[error("Service already exists")]
    ServiceExists,
    /// `ESRCH`: no service has this key.
    #[error("No such service")]
    NoService,
    /// `ENOENT`: the scheduler is not known.
    #[error("Scheduler {0:?} is not known")]
    NoScheduler(String),
    /// `ENOENT`: the persistence engine is not known.
    #[error("Persistence engine {0:?} is not known")]
    NoEngine(String),
    /// `EEXIST` on adding a destination.
    #[error("Destination already exists")]
    DestinationExists,
    /// `ENOENT`: the service has no such destination.
    #[error("No such destination")]
    NoDestination,
    /// `EEXIST` on adding a local address.
    #[error("Local address already exists")]
    LocalAddressExists,
    /// `ENOENT`: the service has no such local address.
    #[error("No such local address")]
    NoLocalAddress,
    /// `ENOENT`: there is no such tunable.
    #[error("net.ipv4.vs.{0}: there is no such tunable")]
    NoTunable(String),
    /// `EINVAL`: a server must have a unicast address.
    #[error("Address {0} is not unicast")]
    NotUnicast(IpAddr),
    /// `ERANGE`: weight below 0.
    #[error("Weight {0} is negative")]
    NegativeWeight(i32),
    /// `ERANGE`: lower threshold above the upper.
    #[error("Lower threshold {lower} is above the upper threshold {upper}")]
    ThresholdOrder {
        /// The lower threshold asked for.
        lower: u32,
        /// The upper threshold asked for.
        upper: u32,
    },
    /// `EINVAL`: any other value that makes no sense.
    #[error("Invalid {0}")]
    Invalid(Invalid),
    /// `ENOMEM`: a bounded table is full.
    #[error("No room for another {table}: {}", Self::bound(*table, *most, *deleted))]
    Full {
        /// Which table.
        table: Table,
        /// How many there may be.
        most: u32,
        /// How many of them are deleted, but still named by connections.
        deleted: u32,
    },
    /// `EINVAL`: the tables of `mh` have no slot for another destination. Linux accepts such a
    /// destination but never chooses it.
    #[error("mh takes at most {0} destinations: its tables have no more slots (mh_table_index)")]
    TooManyForMh(usize),
    /// The packet path does not support this yet.
    #[error("{0} not supported by this director")]
    Unsupported(Feature),
}

impl ModelError {
    /// The limit of a table, and how to raise it.
    fn bound(table: Table, most: u32, deleted: u32) -> String {
        match table {
            Table::Services => format!("there may be {most}"),
            Table::Destinations if deleted > 0 => format!(
                "max_destinations is {most}, and {deleted} of them are deleted but connections still name them; raise it \
                 in viplined's configuration and start it again, or wait for these to end"
            ),
            Table::Destinations => {
                format!("max_destinations is {most}; raise it in viplined's configuration and start it again")
            }
            Table::LocalAddresses => format!("a service may have {most}"),
        }
    }
}

/// Values that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    /// Firewall mark 0.
    Mark,
    /// An IPv6 prefix length outside 1 ..= 128, or a mask of the other family.
    Netmask,
    /// A threshold above 2^31-1.
    Threshold,
    /// A `gue` tunnel without a port.
    TunnelPort,
    /// A local address of the other family, or a destination that is not a tunnel.
    Family,
    /// A connection timeout above the longest one.
    Timeout,
    /// A value that a tunable cannot have.
    Tunable,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mark => "firewall mark 0",
            Self::Netmask => "persistence netmask",
            Self::Threshold => "connection threshold",
            Self::TunnelPort => "tunnel port 0",
            Self::Family => "address family",
            Self::Timeout => "connection timeout",
            Self::Tunable => "value of a tunable",
        })
    }
}

/// A bounded table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Services, including removed ones that workers may still see.
    Services,
    /// Destinations, including deleted ones that connections still name.
    Destinations,
    /// Local addresses of one service.
    LocalAddresses,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Services => "service",
            Self::Destinations => "destination",
            Self::LocalAddresses => "local address",
        })
    }
}

/// A feature that a packet path may lack; see [`Capabilities`](super::Capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// IPv6 virtual services, destinations and local addresses.
    Ipv6,
    /// Services by firewall mark.
    Marks,
    /// SCTP services.
    Sctp,
    /// `-p`.
    Persistence,
    /// `--pe sip`.
    Sip,
    /// `-o`.
    OnePacket,
    /// `--fullnat`.
    FullNat,
    /// `-i`.
    Tunnel,
    /// `--tun-type gue`.
    Gue,
    /// `--tun-type gre`.
    Gre,
    /// Destinations that are addresses of the director itself.
    LocalDestinations,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv6 => "IPv6 is",
            Self::Marks => "Firewall-mark services are",
            Self::Sctp => "SCTP services are",
            Self::Persistence => "Persistent services are",
            Self::Sip => "The sip persistence engine is",
            Self::OnePacket => "One-packet scheduling is",
            Self::FullNat => "The fullnat method is",
            Self::Tunnel => "The tunnel method is",
            Self::Gue => "Tunnel type gue is",
            Self::Gre => "Tunnel type gre is",
            Self::LocalDestinations => "Destinations on the director itself are",
        })
    }
}
