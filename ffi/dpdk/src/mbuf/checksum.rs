//! What the device knows about a received packet's checksums, and which it fills in when it sends.
//!
//! Both are flags in the packet. Only the packet's owner uses them; there is no call and no lock.

use crate::mbuf::Mbuf;

/// The device's opinion of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxChecksum {
    /// The IPv4 header's checksum.
    pub l3: Sum,
    /// The TCP or UDP checksum.
    pub l4: Sum,
}

/// The device's opinion of one checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// Wrong.
    Bad,
    /// Right.
    Good,
    /// Not filled in, but the data is intact: the packet came from a guest or a container on the
    /// same machine.
    None,
    /// The device did not check.
    Unknown,
}

/// Which checksums the device fills in when it sends a packet.
///
/// Use it only on ports that were granted the matching offload. With [`TxL4::Tcp`] or [`TxL4::Udp`]
/// the packet's own checksum field must hold the pseudo-header's sum (not complemented); with
/// [`TxIp::V4Checksum`] the IPv4 header's must hold zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxChecksum {
    /// Bytes before the IP header, at most 127.
    pub l2_len: u8,
    /// The IP header's bytes with options or extension headers, at most 511.
    pub l3_len: u16,
    /// The IP header's kind.
    pub ip: TxIp,
    /// The transport.
    pub l4: TxL4,
}

/// The IP header of a packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxIp {
    /// IPv4, its checksum is right already.
    V4,
    /// IPv4, the device fills its checksum in.
    V4Checksum,
    /// IPv6.
    V6,
}

/// The transport of a packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxL4 {
    /// Its checksum is right already.
    Done,
    /// TCP, the device fills its checksum in.
    Tcp,
    /// UDP, the device fills its checksum in.
    Udp,
}

impl Mbuf {
    /// Asks the device to fill checksums in; replaces an earlier request.
    #[inline]
    pub fn set_tx_checksum_offload(&mut self, what: TxChecksum) {
        let ip = match what.ip {
            TxIp::V4 => TX_IPV4,
            TxIp::V4Checksum => TX_IPV4 | TX_IP_CKSUM,
            TxIp::V6 => TX_IPV6,
        };
        let l4 = match what.l4 {
            TxL4::Done => 0,
            TxL4::Tcp => TX_TCP_CKSUM,
            TxL4::Udp => TX_UDP_CKSUM,
        };
        let raw = self.raw_mut();
        raw.ol_flags = raw.ol_flags & !TX_CHECKSUM_FLAGS | ip | l4;
        // l2_len is the lowest 7 bits of the field, l3_len the next 9. The rest is for segmentation
        // and tunnels.
        raw.__bindgen_anon_3.tx_offload =
            u64::from(what.l2_len) & L2_LEN_MASK | (u64::from(what.l3_len) & L3_LEN_MASK) << L2_LEN_BITS;
    }

    /// Withdraws the request: the device sends the packet as it is.
    #[inline]
    pub fn clear_tx_checksum_offload(&mut self) {
        self.raw_mut().ol_flags &= !TX_CHECKSUM_FLAGS;
    }

    /// What the device found out about the checksums. Both are unknown unless the port was granted
    /// `rx_checksum`.
    #[inline]
    pub fn rx_checksum(&self) -> RxChecksum {
        let flags = self.raw().ol_flags;
        RxChecksum { l3: sum(flags, RX_IP_BAD, RX_IP_GOOD), l4: sum(flags, RX_L4_BAD, RX_L4_GOOD) }
    }
}

/// Two bits have four meanings: no bit is `Unknown`, both bits are `None`.
#[inline]
fn sum(flags: u64, bad: u64, good: u64) -> Sum {
    match (flags & bad != 0, flags & good != 0) {
        (false, false) => Sum::Unknown,
        (false, true) => Sum::Good,
        (true, false) => Sum::Bad,
        (true, true) => Sum::None,
    }
}

const RX_IP_BAD: u64 = dpdk_sys::RTE_MBUF_F_RX_IP_CKSUM_BAD;
const RX_IP_GOOD: u64 = dpdk_sys::RTE_MBUF_F_RX_IP_CKSUM_GOOD;
const RX_L4_BAD: u64 = dpdk_sys::RTE_MBUF_F_RX_L4_CKSUM_BAD;
const RX_L4_GOOD: u64 = dpdk_sys::RTE_MBUF_F_RX_L4_CKSUM_GOOD;
const TX_IPV4: u64 = dpdk_sys::RTE_MBUF_F_TX_IPV4;
const TX_IPV6: u64 = dpdk_sys::RTE_MBUF_F_TX_IPV6;
const TX_IP_CKSUM: u64 = dpdk_sys::RTE_MBUF_F_TX_IP_CKSUM;
const TX_L4_MASK: u64 = dpdk_sys::RTE_MBUF_F_TX_L4_MASK;
const TX_TCP_CKSUM: u64 = dpdk_sys::RTE_MBUF_F_TX_TCP_CKSUM;
const TX_UDP_CKSUM: u64 = dpdk_sys::RTE_MBUF_F_TX_UDP_CKSUM;
const TX_CHECKSUM_FLAGS: u64 = TX_IPV4 | TX_IPV6 | TX_IP_CKSUM | TX_L4_MASK;
const L2_LEN_BITS: u32 = 7;
const L2_LEN_MASK: u64 = (1 << L2_LEN_BITS) - 1;
const L3_LEN_MASK: u64 = (1 << 9) - 1;
