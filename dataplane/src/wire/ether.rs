//! Ethernet II headers. Frames with an 802.1Q tag are not parsed: they are for Linux.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;
use zerocopy::Unaligned;
use zerocopy::network_endian::U16;

/// A MAC address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether the group bit is set: multicast or broadcast.
    #[inline]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl core::fmt::Display for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An untagged Ethernet II header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EtherHeader {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// Type of the payload.
    pub ethertype: U16,
}

/// Length of an untagged header, in bytes.
pub const ETHER_LEN: usize = size_of::<EtherHeader>();
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
