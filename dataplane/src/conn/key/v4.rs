//! The key of an IPv4 flow: two words.
//!
//! To make a key takes two loads; to rewrite a packet to a key takes two stores. To reverse a key
//! takes two rotations, in either byte order.

use core::net::Ipv4Addr;

use crate::conn::key::Key;
use crate::conn::key::KeyKind;
use crate::wire::l4;
use crate::wire::l4::Transport;

/// (source, destination, source port, destination port, protocol) of an IPv4 packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Bytes 12..20 of the IPv4 header: source, then destination.
    addrs: u64,
    /// Bytes 0..4 of the L4 header (source port, destination port) are in the low half. The
    /// protocol is in bits 32..40, the [`KeyKind`] in bits 40..48. A serial number is in bits
    /// 48..64; only invalidated templates have one, all other keys have 0.
    rest: u64,
}

impl FlowKey {
    /// All bits zero. No packet has this key, because no packet has protocol 0.
    pub const ZERO: Self = Self { addrs: 0, rest: 0 };

    /// The key of a packet with `addrs` (source, destination) and `ports` (source, destination),
    /// all in network byte order as they are in the packet.
    #[inline]
    pub fn from_wire(addrs: [u8; 8], ports: [u8; 4], protocol: u8) -> Self {
        Self {
            addrs: u64::from_ne_bytes(addrs),
            rest: u64::from(u32::from_ne_bytes(ports)) | u64::from(protocol) << 32,
        }
    }

    /// The key of a packet from `src:sport` to `dst:dport`; ports in host byte order.
    pub fn new(protocol: u8, src: Ipv4Addr, sport: u16, dst: Ipv4Addr, dport: u16) -> Self {
        let [a, b, c, d] = src.octets();
        let [e, f, g, h] = dst.octets();
        let ([i, j], [k, l]) = (sport.to_be_bytes(), dport.to_be_bytes());
        Self::from_wire([a, b, c, d, e, f, g, h], [i, j, k, l], protocol)
    }

    /// The same key for an entry of another kind.
    #[must_use]
    pub fn with_kind(self, kind: KeyKind) -> Self {
        Self { addrs: self.addrs, rest: self.rest & !(0xff << 40) | u64::from(kind as u8) << 40 }
    }

    /// The same key with a serial number. It distinguishes invalidated templates that are otherwise
    /// equal.
    #[must_use]
    pub fn with_serial(self, serial: u16) -> Self {
        Self { addrs: self.addrs, rest: self.rest & !(0xffff << 48) | u64::from(serial) << 48 }
    }

    /// The key of the packet that answers: source and destination swapped.
    #[must_use]
    #[inline]
    pub fn reversed(self) -> Self {
        let ports = (self.rest as u32).rotate_left(16);
        Self { addrs: self.addrs.rotate_left(32), rest: self.rest & !0xffff_ffff | u64::from(ports) }
    }

    /// Source and destination address, as they are in an IPv4 header.
    #[inline]
    pub fn wire_addrs(self) -> [u8; 8] {
        self.addrs.to_ne_bytes()
    }

    /// Source and destination port, as they are in a TCP or UDP header.
    #[inline]
    pub fn wire_ports(self) -> [u8; 4] {
        (self.rest as u32).to_ne_bytes()
    }

    /// The two words, for hashing and comparing.
    #[inline]
    pub const fn words(self) -> [u64; 2] {
        [self.addrs, self.rest]
    }

    /// Source address.
    pub fn src(self) -> Ipv4Addr {
        let [a, b, c, d, ..] = self.wire_addrs();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    pub fn dst(self) -> Ipv4Addr {
        let [.., a, b, c, d] = self.wire_addrs();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Source port, host byte order.
    pub fn sport(self) -> u16 {
        let [a, b, ..] = self.wire_ports();
        u16::from_be_bytes([a, b])
    }

    /// Destination port, host byte order.
    pub fn dport(self) -> u16 {
        let [.., a, b] = self.wire_ports();
        u16::from_be_bytes([a, b])
    }

    /// IP protocol number.
    #[inline]
    pub const fn protocol(self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// The transport protocol. Everything that is not TCP counts as UDP. A template has the
    /// protocol of its connections, or 0 if its service has a mark.
    #[inline]
    pub const fn transport(self) -> Transport {
        if self.protocol() == l4::TCP { Transport::Tcp } else { Transport::Udp }
    }

    /// Whether this is the key of a template.
    pub const fn is_template(self) -> bool {
        (self.rest >> 40) as u8 == KeyKind::Template as u8
    }
}

impl Key for FlowKey {
    type Words = [u64; 2];

    const ZERO: Self = Self::ZERO;

    #[inline]
    fn words(self) -> [u64; 2] {
        self.words()
    }

    #[inline]
    fn is_template(self) -> bool {
        self.is_template()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_returns_the_values_that_it_was_made_from() {
        let key = FlowKey::new(6, Ipv4Addr::new(10, 0, 0, 2), 5000, Ipv4Addr::new(10, 0, 0, 100), 80);
        assert_eq!((key.src(), key.sport()), (Ipv4Addr::new(10, 0, 0, 2), 5000));
        assert_eq!((key.dst(), key.dport()), (Ipv4Addr::new(10, 0, 0, 100), 80));
        assert_eq!(key.protocol(), 6);
        assert!(!key.is_template() && key.with_kind(KeyKind::Template).is_template());
    }

    #[test]
    fn reversed_swaps_both_ends_and_nothing_else() {
        let key = FlowKey::new(17, Ipv4Addr::new(1, 2, 3, 4), 53, Ipv4Addr::new(5, 6, 7, 8), 9999);
        let back = FlowKey::new(17, Ipv4Addr::new(5, 6, 7, 8), 9999, Ipv4Addr::new(1, 2, 3, 4), 53);
        assert_eq!(key.reversed(), back);
        assert_eq!(back.reversed(), key);
    }
}
