//! Destinations, as the packet path sees them.

use core::net::Ipv4Addr;

use crate::conn::entry::NONE;
use crate::snapshot::service::ServiceId;

/// The forwarding method, numbered as in IPVS's connection flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// NAT: the destination address is rewritten, and replies come back through the director.
    #[default]
    Masquerade = 0,
    /// TUN: the packet goes to the real server inside an IPv4 packet.
    Tunnel = 2,
    /// DR: only the MAC is rewritten.
    DirectRoute = 3,
    /// FULLNAT: both addresses are rewritten, so the real server sees a local address. The number
    /// is that of the Alibaba fork.
    FullNat = 5,
}

impl Method {
    /// The methods, indexed by IPVS's number. Numbers without a method stand for NAT.
    const BY_BITS: [Self; 8] = {
        let mut methods = [Self::Masquerade; 8];
        let mut bits = 0;
        while bits < methods.len() {
            methods[bits] = Self::from_bits(bits as u16);
            bits += 1;
        }
        methods
    };

    /// The method with IPVS's number `bits`. It compiles to branches, which is best directly before
    /// a `match`.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        match bits & 7 {
            2 => Self::Tunnel,
            3 => Self::DirectRoute,
            5 => Self::FullNat,
            _ => Self::Masquerade,
        }
    }

    /// As [`Self::from_bits`], but read from a table. That is better if several questions are asked
    /// about the method.
    #[inline]
    pub const fn read(bits: u16) -> Self {
        Self::BY_BITS[(bits & 7) as usize]
    }

    /// Whether replies pass the director and are rewritten (NAT and FULLNAT).
    #[inline]
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::Masquerade | Self::FullNat)
    }
}

/// The facts about a destination, found by [`sched::DestId`]. They are kept while any connection
/// may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestInfo {
    /// Whether it belongs to a service now. False for a deleted destination whose connections still
    /// live.
    pub available: bool,
    /// Forwarding method.
    pub method: Method,
    /// Weight; 0 means that it gets no new connections.
    pub weight: i32,
    /// RIP.
    pub addr: Ipv4Addr,
    /// Port of the real server, host byte order. 0 means that the port is not changed.
    pub port: u16,
    /// The service to which it belongs or belonged.
    pub service: ServiceId,
    /// With this many connections it becomes overloaded; 0 means never.
    pub upper: u32,
    /// Below this many connections it is no longer overloaded; 0 means three quarters of `upper`.
    pub lower: u32,
    /// How often `upper` was raised or removed. [`crate::snapshot::master::Master`] counts this.
    pub raised: u32,
    /// Whether the service's scheduler must be told about changed loads.
    /// [`crate::snapshot::master::Master`] sets this.
    pub weighed: bool,
    /// Number of the adjacency to the real server, or [`NONE`] if there is no route.
    pub hop: u32,
    /// TUN: the outer source address. The route determines it.
    pub tunnel_source: Ipv4Addr,
}

impl Default for DestInfo {
    fn default() -> Self {
        Self {
            available: false,
            method: Method::Masquerade,
            weight: 0,
            addr: Ipv4Addr::UNSPECIFIED,
            port: 0,
            service: ServiceId::new(NONE),
            upper: 0,
            lower: 0,
            raised: 0,
            weighed: true,
            hop: NONE,
            tunnel_source: Ipv4Addr::UNSPECIFIED,
        }
    }
}

impl DestInfo {
    /// Whether a destination that was not overloaded becomes overloaded with `conns` connections
    /// (`ip_vs_conn.c: ip_vs_bind_dest`).
    pub const fn overloads(&self, conns: u32) -> bool {
        self.upper != 0 && conns >= self.upper
    }

    /// Whether an overloaded destination is no longer overloaded with `conns` connections
    /// (`ip_vs_conn.c: ip_vs_unbind_dest`).
    pub const fn recovers(&self, conns: u32) -> bool {
        if self.lower != 0 {
            conns < self.lower
        } else {
            self.upper == 0 || (conns as u64) * 4 < self.upper as u64 * 3
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_hysteresis() {
        let four = DestInfo { upper: 4, ..DestInfo::default() };
        assert!(four.overloads(4) && !four.overloads(3));
        assert!(!four.recovers(3) && four.recovers(2));
        let both = DestInfo { upper: 4, lower: 2, ..DestInfo::default() };
        assert!(!both.recovers(2) && both.recovers(1));
        assert!(DestInfo::default().recovers(u32::MAX));
    }
}
