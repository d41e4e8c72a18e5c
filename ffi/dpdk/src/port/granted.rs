//! What a device granted. The operator reads it, and the packet path depends on it.

use core::fmt;

use crate::port::offload::Offloads;
use crate::port::rss::RssGranted;

/// The outcome of a port's start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// What was asked for.
    pub wanted: Offloads,
    /// What the device does of that.
    pub offloads: Offloads,
    /// How packets are spread over the receive queues; `None` if the device does not report RSS.
    pub rss: Option<RssGranted>,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Packets that each receive queue holds.
    pub rx_descriptors: u16,
    /// Packets that each transmit queue holds.
    pub tx_descriptors: u16,
    /// The largest IP packet, bytes.
    pub mtu: u16,
    /// Whether frames for other hardware addresses are received.
    pub promiscuous: bool,
}

/// One line, for example `1 rx queue of 512, 1 tx queue of 512, mtu 1500, no rss, offloads: none
/// (not offered: rx checksum)`.
impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = |n: u16| if n == 1 { "queue" } else { "queues" };
        write!(f, "{} rx {} of {}, ", self.rx_queues, queues(self.rx_queues), self.rx_descriptors)?;
        write!(f, "{} tx {} of {}, ", self.tx_queues, queues(self.tx_queues), self.tx_descriptors)?;
        write!(f, "mtu {}", self.mtu)?;
        if self.promiscuous {
            f.write_str(", promiscuous")?;
        }
        match &self.rss {
            None => f.write_str(", no rss")?,
            Some(rss) => write!(f, ", rss over {} entries", rss.table.len())?,
        }
        write!(f, ", offloads: {}", self.offloads)?;
        let missing = self.wanted.without(self.offloads);
        if missing.is_none() { Ok(()) } else { write!(f, " (not offered: {missing})") }
    }
}
