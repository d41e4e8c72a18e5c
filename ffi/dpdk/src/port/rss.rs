//! Receive-side scaling: how a device spreads packets over its queues. Software can compute the
//! same queue.
//!
//! A device hashes some fields with its key (Toeplitz) and looks the low bits up in its indirection
//! table. The result decides which worker owns a connection. So key and table are read from the
//! device after the start.

use core::fmt;
use core::ops::BitAnd;
use core::ops::BitOr;

use crate::errno::check;
use crate::port::PortId;

/// How packets should be spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The fields to hash; the device may offer fewer.
    pub fields: RssFields,
    /// The key; `None` for the driver's own.
    pub key: Option<[u8; RSS_KEY_LEN]>,
}

/// For TCP and UDP, the address and port of both ends; for other protocols, only the addresses.
impl Default for Rss {
    fn default() -> Self {
        Self { fields: RssFields::IP | RssFields::TCP | RssFields::UDP, key: None }
    }
}

/// The fields that are hashed. The `ONLY` flags limit the others to one end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RssFields(u64);

impl RssFields {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Addresses of IPv4 and IPv6 packets, fragments too.
    pub const IP: Self = Self(
        dpdk_sys::RTE_ETH_RSS_IPV4
            | dpdk_sys::RTE_ETH_RSS_FRAG_IPV4
            | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_OTHER
            | dpdk_sys::RTE_ETH_RSS_IPV6
            | dpdk_sys::RTE_ETH_RSS_FRAG_IPV6
            | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV6_OTHER,
    );
    /// Addresses and ports of TCP over IPv4 and IPv6.
    pub const TCP: Self =
        Self(dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_TCP | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV6_TCP);
    /// Addresses and ports of UDP over IPv4 and IPv6.
    pub const UDP: Self =
        Self(dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV4_UDP | dpdk_sys::RTE_ETH_RSS_NONFRAG_IPV6_UDP);
    /// Of the addresses, only the source address.
    pub const L3_SOURCE_ONLY: Self = Self(dpdk_sys::RTE_ETH_RSS_L3_SRC_ONLY);
    /// Of the addresses, only the destination address.
    pub const L3_DESTINATION_ONLY: Self = Self(dpdk_sys::RTE_ETH_RSS_L3_DST_ONLY);
    /// Of the ports, only the source port.
    pub const L4_SOURCE_ONLY: Self = Self(dpdk_sys::RTE_ETH_RSS_L4_SRC_ONLY);
    /// Of the ports, only the destination port.
    pub const L4_DESTINATION_ONLY: Self = Self(dpdk_sys::RTE_ETH_RSS_L4_DST_ONLY);

    const NARROWING: Self = Self(
        Self::L3_SOURCE_ONLY.0
            | Self::L3_DESTINATION_ONLY.0
            | Self::L4_SOURCE_ONLY.0
            | Self::L4_DESTINATION_ONLY.0,
    );

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// DPDK's `RTE_ETH_RSS_*` bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` is in this.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The fields of this that a device with `offered` can hash; none if only `ONLY` flags are
    /// left.
    pub(crate) fn offered(self, offered: u64) -> Self {
        let both = Self(self.0 & offered);
        if both.0 & !Self::NARROWING.0 == 0 { Self::NONE } else { both }
    }
}

impl BitOr for RssFields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for RssFields {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for RssFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RssFields({:#x})", self.0)
    }
}

/// How the device spreads packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RssGranted {
    /// The fields it hashes.
    pub fields: RssFields,
    /// Its key; empty if the driver does not tell. IP addresses and ports use only the first 40
    /// bytes.
    pub key: Vec<u8>,
    /// The queue for each hash modulo the table's length; empty if the driver does not tell.
    pub table: Vec<u16>,
}

impl RssGranted {
    /// Reads the settings of a started port.
    pub(crate) fn query(port: PortId, configured: RssFields, key_len: u8, table_len: u16) -> Self {
        let mut key = vec![0; usize::from(if key_len == 0 { RSS_KEY_LEN as u8 } else { key_len })];
        let mut conf =
            dpdk_sys::rte_eth_rss_conf { rss_key: key.as_mut_ptr(), rss_key_len: key.len() as u8, rss_hf: 0 };
        // SAFETY: `conf` points to a key buffer of the length it says, which outlives the call.
        let code = unsafe { dpdk_sys::rte_eth_dev_rss_hash_conf_get(port.as_u16(), &mut conf) };
        let fields = if check(code).is_ok() {
            key.truncate(usize::from(conf.rss_key_len));
            RssFields::from_bits(conf.rss_hf)
        } else {
            key.clear();
            configured
        };
        Self { fields, key, table: query_table(port, table_len).unwrap_or_default() }
    }
}

fn query_table(port: PortId, len: u16) -> Option<Vec<u16>> {
    if len == 0 {
        return None;
    }
    let group = dpdk_sys::RTE_ETH_RETA_GROUP_SIZE as usize;
    let all = dpdk_sys::rte_eth_rss_reta_entry64 { mask: u64::MAX, reta: [0; 64] };
    let mut groups = vec![all; usize::from(len).div_ceil(group)];
    // SAFETY: there is a group for each 64 of `len` entries.
    let code = unsafe { dpdk_sys::rte_eth_dev_rss_reta_query(port.as_u16(), groups.as_mut_ptr(), len) };
    check(code).ok()?;
    Some(groups.iter().flat_map(|group| group.reta).take(usize::from(len)).collect())
}

/// The bytes of a key that IPv6 addresses and ports use.
pub(crate) const RSS_KEY_LEN: usize = 40;
