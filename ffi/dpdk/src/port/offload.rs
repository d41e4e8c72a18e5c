//! Work that a device can do for us, and DPDK's bits for it. Control sets it up once.

use core::fmt;

/// Work for the device: before the start, what is wanted; after it, what is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Check IPv4, TCP and UDP checksums of received packets.
    pub rx_checksum: bool,
    /// Tell the RSS hash of received packets.
    pub rx_rss_hash: bool,
    /// Spread a packet that is larger than a buffer over several buffers.
    pub rx_scatter: bool,
    /// Take the VLAN tag off received packets.
    pub rx_vlan_strip: bool,
    /// Fill in the IPv4 header's checksum of sent packets.
    pub tx_ipv4_checksum: bool,
    /// Fill in TCP checksums of sent packets.
    pub tx_tcp_checksum: bool,
    /// Fill in UDP checksums of sent packets.
    pub tx_udp_checksum: bool,
    /// Send packets that are in several pieces.
    pub tx_segments: bool,
    /// Put a VLAN tag into sent packets.
    pub tx_vlan_insert: bool,
}

impl Offloads {
    /// No offload.
    pub const NONE: Self = Self {
        rx_checksum: false,
        rx_rss_hash: false,
        rx_scatter: false,
        rx_vlan_strip: false,
        tx_ipv4_checksum: false,
        tx_tcp_checksum: false,
        tx_udp_checksum: false,
        tx_segments: false,
        tx_vlan_insert: false,
    };

    /// All checksums both ways, and the RSS hash: the offloads that help a director.
    pub const CHECKSUMS_AND_HASH: Self = Self {
        rx_checksum: true,
        rx_rss_hash: true,
        tx_ipv4_checksum: true,
        tx_tcp_checksum: true,
        tx_udp_checksum: true,
        ..Self::NONE
    };

    /// The offloads of `self` that `other` does not have.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        let mut rest = Self::NONE;
        for item in TABLE {
            *(item.field_mut)(&mut rest) = (item.field)(&self) && !(item.field)(&other);
        }
        rest
    }

    /// Whether this contains no offload.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The offloads of `self` that the device offers too. The device must offer all bits of an
    /// offload.
    pub(crate) fn offered(self, rx: u64, tx: u64) -> Self {
        let mut granted = Self::NONE;
        for item in TABLE {
            let offers = rx & item.rx == item.rx && tx & item.tx == item.tx;
            *(item.field_mut)(&mut granted) = (item.field)(&self) && offers;
        }
        granted
    }

    /// DPDK's bits for the receive side.
    pub(crate) fn rx_bits(self) -> u64 {
        TABLE.iter().filter(|item| (item.field)(&self)).fold(0, |bits, item| bits | item.rx)
    }

    /// DPDK's bits for the transmit side.
    pub(crate) fn tx_bits(self) -> u64 {
        TABLE.iter().filter(|item| (item.field)(&self)).fold(0, |bits, item| bits | item.tx)
    }
}

/// Comma-separated names, or `none`.
impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for item in TABLE.iter().filter(|item| (item.field)(self)) {
            write!(f, "{separator}{}", item.name)?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// One offload: its name, its field, its bits.
struct Item {
    name: &'static str,
    field: fn(&Offloads) -> bool,
    field_mut: fn(&mut Offloads) -> &mut bool,
    rx: u64,
    tx: u64,
}

macro_rules! item {
    ($field:ident, $name:literal, rx $bits:expr) => {
        Item { name: $name, field: |o| o.$field, field_mut: |o| &mut o.$field, rx: $bits, tx: 0 }
    };
    ($field:ident, $name:literal, tx $bits:expr) => {
        Item { name: $name, field: |o| o.$field, field_mut: |o| &mut o.$field, rx: 0, tx: $bits }
    };
}

const TABLE: &[Item] = &[
    item!(rx_checksum, "rx checksum", rx dpdk_sys::RTE_ETH_RX_OFFLOAD_CHECKSUM),
    item!(rx_rss_hash, "rx hash", rx dpdk_sys::RTE_ETH_RX_OFFLOAD_RSS_HASH),
    item!(rx_scatter, "rx scatter", rx dpdk_sys::RTE_ETH_RX_OFFLOAD_SCATTER),
    item!(rx_vlan_strip, "rx vlan strip", rx dpdk_sys::RTE_ETH_RX_OFFLOAD_VLAN_STRIP),
    item!(tx_ipv4_checksum, "tx ipv4 checksum", tx dpdk_sys::RTE_ETH_TX_OFFLOAD_IPV4_CKSUM),
    item!(tx_tcp_checksum, "tx tcp checksum", tx dpdk_sys::RTE_ETH_TX_OFFLOAD_TCP_CKSUM),
    item!(tx_udp_checksum, "tx udp checksum", tx dpdk_sys::RTE_ETH_TX_OFFLOAD_UDP_CKSUM),
    item!(tx_segments, "tx segments", tx dpdk_sys::RTE_ETH_TX_OFFLOAD_MULTI_SEGS),
    item!(tx_vlan_insert, "tx vlan insert", tx dpdk_sys::RTE_ETH_TX_OFFLOAD_VLAN_INSERT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_of_some_checksums_does_not_grant_all() {
        let ipv4_only = dpdk_sys::RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
        let wanted = Offloads { rx_checksum: true, rx_scatter: true, ..Offloads::NONE };
        assert!(wanted.offered(ipv4_only, 0).is_none());
        assert!(wanted.offered(dpdk_sys::RTE_ETH_RX_OFFLOAD_CHECKSUM, 0).rx_checksum);
    }

    #[test]
    fn display_names_the_offloads_that_are_set() {
        assert_eq!(Offloads::NONE.to_string(), "none");
        let two = Offloads { rx_checksum: true, tx_segments: true, ..Offloads::NONE };
        assert_eq!(two.to_string(), "rx checksum, tx segments");
        assert_eq!(two.without(Offloads { rx_checksum: true, ..Offloads::NONE }).to_string(), "tx segments");
    }
}
