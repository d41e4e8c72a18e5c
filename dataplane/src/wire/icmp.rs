//! ICMP errors for IPv4 (RFC 792). A balancer reads and writes no other ICMP messages.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;
use zerocopy::Unaligned;
use zerocopy::network_endian::U16;

/// The header of an ICMP error. The header and the first bytes of the offending packet follow it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IcmpHeader {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum over the whole message, as it is in the packet.
    pub checksum: [u8; 2],
    /// Unused.
    pub unused: U16,
    /// MTU of the next hop in bytes, in frag-needed messages (RFC 1191).
    pub mtu: U16,
}

/// Length of an ICMP error's header, in bytes.
pub const ICMP_LEN: usize = size_of::<IcmpHeader>();

/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench.
pub const SOURCE_QUENCH: u8 = 4;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;

/// An error that the director itself sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// The packet is larger than the next hop's MTU and may not be fragmented.
    FragNeeded {
        /// Next-hop MTU in bytes.
        mtu: u16,
    },
    /// There is no route to the real server, or a neighbour did not answer.
    HostUnreachable,
    /// The service has no destination to offer.
    PortUnreachable,
    /// An error of a router on the path, about a packet that was tunnelled.
    Relayed {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// The TTL ran out at the director.
    TimeExceeded,
}

impl IcmpError {
    /// The values of (type, code, MTU field).
    pub const fn fields(self) -> (u8, u8, u16) {
        match self {
            Self::FragNeeded { mtu } => (UNREACHABLE, 4, mtu),
            Self::HostUnreachable => (UNREACHABLE, 1, 0),
            Self::PortUnreachable => (UNREACHABLE, 3, 0),
            Self::Relayed { kind, code } => (kind, code, 0),
            Self::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        }
    }
}
