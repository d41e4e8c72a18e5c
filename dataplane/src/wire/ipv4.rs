//! The IPv4 header (RFC 791).

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;
use zerocopy::Unaligned;
use zerocopy::network_endian::U16;

use crate::wire::checksum;

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (4) and header length in 32-bit words.
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload, in bytes.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Flags and fragment offset.
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Header checksum, as it is in the packet.
    pub checksum: [u8; 2],
    /// Source and destination address.
    pub addrs: [u8; 8],
}

/// Length of a header without options, in bytes.
pub const IPV4_LEN: usize = size_of::<Ipv4Header>();
/// The don't-fragment bit of [`Ipv4Header::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// The bits for "more fragments" and for the offset. If any of them is set, the packet is a
/// fragment.
pub const FRAGMENT_MASK: u16 = 0x3fff;
/// The bits for the offset. It is not 0 in all fragments except the first.
pub const OFFSET_MASK: u16 = 0x1fff;

/// The change of the header's sum if the TTL is lowered by one (~0x0100 in wire order).
pub const TTL_STEP: u16 = u16::from_ne_bytes([0xfe, 0xff]);

impl Ipv4Header {
    /// Header length in bytes, as the header gives it.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0xf) as usize * 4
    }

    /// Whether the header forbids fragmenting.
    pub fn dont_fragment(&self) -> bool {
        self.fragment.get() & DONT_FRAGMENT != 0
    }

    /// Sets the checksum of a header without options.
    pub fn seal(&mut self) {
        self.checksum = [0, 0];
        self.checksum = checksum::compute(self.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_keeps_the_checksum_right_for_every_ttl() {
        for ttl in 1..=255 {
            let mut header = Ipv4Header {
                version_ihl: 0x45,
                tos: 0x12,
                total_len: U16::new(40),
                id: U16::new(77),
                fragment: U16::new(DONT_FRAGMENT),
                ttl,
                protocol: 6,
                checksum: [0; 2],
                addrs: [10, 0, 0, 2, 10, 0, 0, 100],
            };
            header.seal();
            let new = [10, 0, 0, 2, 10, 0, 1, 11];
            let delta = checksum::delta(&header.addrs, &new);
            header.addrs = new;
            header.ttl -= 1;
            header.checksum = checksum::apply(header.checksum, checksum::add(delta, TTL_STEP));
            let changed = header.checksum;
            header.seal();
            assert_eq!((changed, header.ttl), (header.checksum, ttl - 1));
        }
    }
}
