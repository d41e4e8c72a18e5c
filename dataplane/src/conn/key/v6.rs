//! The key of an IPv6 flow: five words.

use core::net::Ipv6Addr;

use crate::conn::key::Key;
use crate::conn::key::KeyKind;

/// (source, destination, source port, destination port, protocol) of an IPv6 packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey6 {
    /// Bytes 8..24 of the IPv6 header.
    src: [u64; 2],
    /// Bytes 24..40 of the IPv6 header.
    dst: [u64; 2],
    /// Bytes 0..4 of the L4 header (source port, destination port) are in the low half. The
    /// protocol is in bits 32..40, the [`KeyKind`] in bits 40..48.
    rest: u64,
}

impl FlowKey6 {
    /// The key of a packet from `src:sport` to `dst:dport`; ports in host byte order.
    pub fn new(protocol: u8, src: Ipv6Addr, sport: u16, dst: Ipv6Addr, dport: u16) -> Self {
        let ([i, j], [k, l]) = (sport.to_be_bytes(), dport.to_be_bytes());
        let ports = u32::from_ne_bytes([i, j, k, l]);
        Self {
            src: zerocopy::transmute!(src.octets()),
            dst: zerocopy::transmute!(dst.octets()),
            rest: u64::from(ports) | u64::from(protocol) << 32,
        }
    }

    /// The same key for an entry of another kind.
    #[must_use]
    pub fn with_kind(self, kind: KeyKind) -> Self {
        Self { rest: self.rest & !(0xff << 40) | u64::from(kind as u8) << 40, ..self }
    }

    /// The key of the packet that answers: source and destination swapped.
    #[must_use]
    #[inline]
    pub fn reversed(self) -> Self {
        let ports = (self.rest as u32).rotate_left(16);
        Self { src: self.dst, dst: self.src, rest: self.rest & !0xffff_ffff | u64::from(ports) }
    }

    /// Source address.
    pub fn src(self) -> Ipv6Addr {
        let octets: [u8; 16] = zerocopy::transmute!(self.src);
        octets.into()
    }

    /// Destination address.
    pub fn dst(self) -> Ipv6Addr {
        let octets: [u8; 16] = zerocopy::transmute!(self.dst);
        octets.into()
    }
}

impl Key for FlowKey6 {
    type Words = [u64; 5];

    const ZERO: Self = Self { src: [0; 2], dst: [0; 2], rest: 0 };

    #[inline]
    fn words(self) -> [u64; 5] {
        let ([a, b], [c, d]) = (self.src, self.dst);
        [a, b, c, d, self.rest]
    }

    #[inline]
    fn is_template(self) -> bool {
        (self.rest >> 40) as u8 == KeyKind::Template as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6);
    const TWO: Ipv6Addr = Ipv6Addr::new(0xfd00, 7, 6, 5, 4, 3, 2, 1);

    #[test]
    fn a_key_returns_the_values_that_it_was_made_from() {
        let key = FlowKey6::new(6, ONE, 5000, TWO, 80);
        assert_eq!((key.src(), key.dst()), (ONE, TWO));
        assert!(!key.is_template() && key.with_kind(KeyKind::Template).is_template());
    }

    #[test]
    fn reversed_swaps_both_ends_and_nothing_else() {
        let key = FlowKey6::new(17, ONE, 53, TWO, 9999);
        assert_eq!(key.reversed(), FlowKey6::new(17, TWO, 9999, ONE, 53));
        assert_eq!(key.reversed().reversed(), key);
    }
}
