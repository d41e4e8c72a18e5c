//! Headers of TCP and UDP.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::IntoBytes;
use zerocopy::KnownLayout;
use zerocopy::Unaligned;
use zerocopy::network_endian::U16;
use zerocopy::network_endian::U32;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of IPv4 in IPv4 (RFC 2003).
pub const IPIP: u8 = 4;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// A transport protocol whose packets are balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Transport {
    /// TCP.
    Tcp = TCP,
    /// UDP.
    Udp = UDP,
}

impl Transport {
    /// The protocol with this IP protocol number. `None` if packets of this protocol go to Linux.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            TCP => Some(Self::Tcp),
            UDP => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The fixed part of a TCP header (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TcpHeader {
    /// Source and destination port.
    pub ports: [u8; 4],
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgement number.
    pub ack: U32,
    /// Header length in 32-bit words, in the high nibble.
    pub data_offset: u8,
    /// CWR ECE URG ACK PSH RST SYN FIN.
    pub flags: u8,
    /// Window.
    pub window: U16,
    /// Checksum, as it is in the packet.
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent: U16,
}

/// Length of a TCP header without options, in bytes.
pub const TCP_LEN: usize = size_of::<TcpHeader>();

/// TCP flag bits.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field is valid.
    pub const ACK: u8 = 0x10;
}

/// A UDP header (RFC 768).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    /// Source and destination port.
    pub ports: [u8; 4],
    /// Length of header and data, in bytes.
    pub len: U16,
    /// Checksum, as it is in the packet; 0 means none.
    pub checksum: [u8; 2],
}

/// Length of a UDP header, in bytes.
pub const UDP_LEN: usize = size_of::<UdpHeader>();
