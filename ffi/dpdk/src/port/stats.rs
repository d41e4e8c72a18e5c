//! A port's counters and link state, read from the device. The calls are slow and for control; any
//! thread may make them.

use core::fmt;
use core::mem::MaybeUninit;
use std::ffi::CStr;

use crate::errno::Errno;
use crate::errno::check;
use crate::port::Port;

/// A device's counters since it was started or reset. Some drivers keep only some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets lost because nobody took them from the queue in time.
    pub rx_missed: u64,
    /// Packets received broken.
    pub rx_errors: u64,
    /// Packets not received because the pool was empty.
    pub rx_no_packet_memory: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// In Mbit/s, if the device knows.
    pub speed_mbps: Option<u32>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.up, self.speed_mbps) {
            (false, _) => f.write_str("down"),
            (true, None) => f.write_str("up"),
            (true, Some(speed)) => write!(f, "up, {speed} Mbit/s"),
        }
    }
}

impl Port {
    /// Sets the counters to zero. Some drivers cannot.
    pub fn reset_stats(&self) -> Result<(), Errno> {
        // SAFETY: the port is open while `self` is there.
        check(unsafe { dpdk_sys::rte_eth_stats_reset(self.id().as_u16()) }).map(drop)
    }

    /// The counters that all drivers know.
    pub fn stats(&self) -> Result<PortStats, Errno> {
        let mut stats = MaybeUninit::<dpdk_sys::rte_eth_stats>::zeroed();
        // SAFETY: the port is open while `self` is there; the call writes one struct.
        check(unsafe { dpdk_sys::rte_eth_stats_get(self.id().as_u16(), stats.as_mut_ptr()) })?;
        // SAFETY: all numbers, zeroed above.
        let stats = unsafe { stats.assume_init() };
        Ok(PortStats {
            rx_packets: stats.ipackets,
            rx_bytes: stats.ibytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            rx_no_packet_memory: stats.rx_nombuf,
            tx_packets: stats.opackets,
            tx_bytes: stats.obytes,
            tx_errors: stats.oerrors,
        })
    }

    /// The driver's own counters by name.
    pub fn extended_stats(&self) -> Result<Vec<(String, u64)>, Errno> {
        let port = self.id().as_u16();
        // SAFETY: no buffer of no length asks for the number of counters.
        let count = check(unsafe { dpdk_sys::rte_eth_xstats_get(port, core::ptr::null_mut(), 0) })? as u32;
        let mut names = vec![dpdk_sys::rte_eth_xstat_name { name: [0; 64] }; count as usize];
        let mut values = vec![dpdk_sys::rte_eth_xstat { id: 0, value: 0 }; count as usize];
        // SAFETY: `names` has `count` elements.
        let named = check(unsafe { dpdk_sys::rte_eth_xstats_get_names(port, names.as_mut_ptr(), count) })?;
        // SAFETY: `values` has `count` elements.
        let valued = check(unsafe { dpdk_sys::rte_eth_xstats_get(port, values.as_mut_ptr(), count) })?;
        names.truncate(named as usize);
        values.truncate(valued as usize);
        let value = |stat: &dpdk_sys::rte_eth_xstat| {
            let name = names.get(usize::try_from(stat.id).ok()?)?;
            // SAFETY: DPDK terminates each name within its array.
            let name = unsafe { CStr::from_ptr(name.name.as_ptr()) };
            Some((name.to_string_lossy().into_owned(), stat.value))
        };
        Ok(values.iter().filter_map(value).collect())
    }

    /// The link's state now.
    pub fn link(&self) -> Link {
        let mut link = MaybeUninit::<dpdk_sys::rte_eth_link>::zeroed();
        // SAFETY: the port is open while `self` is there; the call writes one struct.
        let code = unsafe { dpdk_sys::rte_eth_link_get_nowait(self.id().as_u16(), link.as_mut_ptr()) };
        // SAFETY: all numbers, zeroed above.
        let link = unsafe { link.assume_init() };
        if check(code).is_err() {
            // A device without the notion of a link is always connected.
            return Link { up: true, speed_mbps: None };
        }
        let known = link.link_speed != 0 && link.link_speed != dpdk_sys::RTE_ETH_SPEED_NUM_UNKNOWN;
        Link {
            up: u32::from(link.link_status()) == dpdk_sys::RTE_ETH_LINK_UP,
            speed_mbps: known.then_some(link.link_speed),
        }
    }
}
