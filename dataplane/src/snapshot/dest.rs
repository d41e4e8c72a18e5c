//! A destination as the packet path sees it.

use core::net::Ipv4Addr;

use crate::conn::entry::NONE;
use crate::snapshot::service::ServiceId;

/// Forwarding method, numbered as IPVS numbers it in connection flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// NAT: destination rewritten, replies come back through the director.
    #[default]
    Masquerade = 0,
    /// IPv4 in IPv4 to the real server.
    Tunnel = 2,
    /// Another MAC, nothing else.
    DirectRoute = 3,
    /// Both ends rewritten: the real server sees a local address (the number is the Alibaba
    /// fork's).
    FullNat = 5,
}

impl Method {
    /// By IPVS's number; numbers without a method stand for NAT.
    const BY_BITS: [Self; 8] = {
        let mut methods = [Self::Masquerade; 8];
        let mut bits = 0;
        while bits < methods.len() {
            methods[bits] = Self::from_bits(bits as u16);
            bits += 1;
        }
        methods
    };

    /// The method with IPVS's number `bits`. Compiled to branches: for a `match` that follows at once.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        match bits & 7 {
            2 => Self::Tunnel,
            3 => Self::DirectRoute,
            5 => Self::FullNat,
            _ => Self::Masquerade,
        }
    }

    /// The same as [`Self::from_bits`], read from a table: for a method that is asked several questions.
    #[inline]
    pub const fn read(bits: u16) -> Self {
        Self::BY_BITS[(bits & 7) as usize]
    }

    /// Whether replies pass the director and are rewritten.
    #[inline]
    pub const fn is_translated(self) -> bool {
        matches!(self, Self::Masquerade | Self::FullNat)
    }
}

/// A destination's facts, by [`sched::DestId`]; kept while any connection may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestInfo {
    /// Member of a service now. False for a deleted destination whose connections live on.
    pub available: bool,
    /// Forwarding method.
    pub method: Method,
    /// 0 = quiesced.
    pub weight: i32,
    /// RIP.
    pub addr: Ipv4Addr,
    /// Real-server port, host order; 0 keeps the client's.
    pub port: u16,
    /// The service it belongs, or belonged, to.
    pub service: ServiceId,
    /// Connections at which it counts as overloaded; 0 = never.
    pub upper: u32,
    /// Connections below which it no longer does; 0 = three quarters of `upper`.
    pub lower: u32,
    /// How often `upper` was lifted or raised; [`crate::snapshot::master::Master`] counts.
    pub raised: u32,
    /// Whether its service's scheduler wants to know of changed loads;
    /// [`crate::snapshot::master::Master`] sees to it.
    pub weighed: bool,
    /// Adjacency towards it, or [`NONE`] when there is no route.
    pub hop: u32,
    /// TUN: the outer source address, chosen by the route.
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
    /// Whether a destination with `conns` connections that was not overloaded is now
    /// (`ip_vs_conn.c: ip_vs_bind_dest`).
    pub const fn overloads(&self, conns: u32) -> bool {
        self.upper != 0 && conns >= self.upper
    }

    /// Whether an overloaded destination left with `conns` connections no longer is
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
