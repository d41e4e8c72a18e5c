//! The key of a destination, and its settings.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The largest weight and threshold that Linux accepts.
pub const MAX_WEIGHT: i32 = i32::MAX;

/// The key of a destination inside its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DestKey {
    /// RIP.
    pub addr: IpAddr,
    /// Real-server port, host order; 0 means the port that the client asked for.
    pub port: u16,
}

impl DestKey {
    /// The destination at `addr` and `port`.
    pub const fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr, port }
    }
}

/// How packets travel to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardingMethod {
    /// `-m`: NAT.
    Masquerade,
    /// `-g`: DR.
    DirectRoute,
    /// `-i`: TUN.
    Tunnel,
    /// `--fullnat`: both ends are rewritten; the client's becomes a local address.
    FullNat,
}

/// The encapsulation of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
}

/// The checksum of a tunnel's outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelChecksum {
    /// `--tun-nocsum`.
    #[default]
    None,
    /// `--tun-csum`.
    Outer,
    /// `--tun-remcsum`: remote checksum offload.
    Remote,
}

/// The options of a tunnel; the default for every other method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tunnel {
    /// The encapsulation.
    pub kind: TunnelKind,
    /// The outer destination port (`gue`).
    pub port: u16,
    /// The outer checksum (`gue`, `gre`).
    pub checksum: TunnelChecksum,
}

/// All settings of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestSpec {
    /// Which destination.
    pub key: DestKey,
    /// How packets travel to it.
    pub method: ForwardingMethod,
    /// 0 (quiesced) ..= 2^31-1; negative values are refused.
    pub weight: i32,
    /// The upper connection threshold, 0 for none.
    pub upper: u32,
    /// The lower connection threshold, 0 for three quarters of the upper.
    pub lower: u32,
    /// Tunnel options.
    pub tunnel: Tunnel,
}

impl DestSpec {
    /// A destination without thresholds or tunnel options.
    pub const fn new(key: DestKey, method: ForwardingMethod, weight: i32) -> Self {
        Self {
            key,
            method,
            weight,
            upper: 0,
            lower: 0,
            tunnel: Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: TunnelChecksum::None },
        }
    }
}
