//! Starts a port: asks what the device offers, takes what it has, and reports the result.
//!
//! Weak devices are the normal case: one queue, no offload, no RSS, a fixed MTU. None of that is an
//! error. Control runs this code; nobody polls the device yet.

use core::fmt;
use std::sync::Arc;

use crate::eal::Alive;
use crate::eal::Eal;
use crate::log::Reason;
use crate::log::Setup;
use crate::mempool::Mempool;
use crate::port::Claim;
use crate::port::Port;
use crate::port::PortId;
use crate::port::Running;
use crate::port::driver_name;
use crate::port::granted::Granted;
use crate::port::info;
use crate::port::offload::Offloads;
use crate::port::plan::Plan;
use crate::port::queue::RxQueue;
use crate::port::queue::TxQueue;
use crate::port::rss::RSS_KEY_LEN;
use crate::port::rss::Rss;
use crate::port::rss::RssFields;
use crate::port::rss::RssGranted;

/// Why a port did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortStartError {
    /// Frames would not fit into the pool's packets, and the device cannot spread a frame over
    /// several.
    #[error("{device}: mtu {mtu} does not fit packets of {data_room} bytes")]
    BufferTooSmall {
        /// Which device.
        device: String,
        /// What was asked for.
        mtu: u16,
        /// What the pool's packets hold.
        data_room: u16,
    },
    /// The device refused a step.
    #[error("{device}: cannot {step}: {reason}")]
    Device {
        /// Which device.
        device: String,
        /// What it refused.
        step: Step,
        /// Why.
        reason: Reason,
    },
    /// The port, or a queue of it, still exists from an earlier start.
    #[error("{device}: already started")]
    InUse {
        /// Which device.
        device: String,
    },
    /// The builder has no pool for packets.
    #[error("{device}: no mempool given")]
    NoMempool {
        /// Which device.
        device: String,
    },
    /// There is no such port.
    #[error("Port {0} does not exist")]
    UnknownPort(PortId),
}

/// A step of a port's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Setting queues and offloads.
    Configure,
    /// Asking for the device's properties.
    Query,
    /// Setting up a receive queue.
    RxQueue(u16),
    /// Starting the device.
    Start,
    /// Setting up a transmit queue.
    TxQueue(u16),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure => f.write_str("configure"),
            Self::Query => f.write_str("query"),
            Self::RxQueue(i) => write!(f, "set up receive queue {i}"),
            Self::Start => f.write_str("start"),
            Self::TxQueue(i) => write!(f, "set up transmit queue {i}"),
        }
    }
}

/// The wanted properties of a port. The device may grant less of all but the pool: see
/// [`Port::granted`].
#[must_use]
#[derive(Debug)]
pub struct PortBuilder {
    alive: Arc<Alive>,
    id: PortId,
    rx_queues: u16,
    tx_queues: u16,
    rx_descriptors: u16,
    tx_descriptors: u16,
    pool: Option<Mempool>,
    wanted: Offloads,
    rss: Option<Rss>,
    mtu: Option<u16>,
    promiscuous: bool,
}

impl PortBuilder {
    /// A builder for one queue each way, no offload, no RSS.
    pub fn new(eal: &Eal, id: PortId) -> Self {
        Self {
            alive: Arc::clone(eal.alive()),
            id,
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            pool: None,
            wanted: Offloads::NONE,
            rss: None,
            mtu: None,
            promiscuous: false,
        }
    }

    /// How many receive queues; the device may have fewer.
    pub fn rx_queues(mut self, count: u16) -> Self {
        self.rx_queues = count;
        self
    }

    /// How many transmit queues; the device may have fewer.
    pub fn tx_queues(mut self, count: u16) -> Self {
        self.tx_queues = count;
        self
    }

    /// How many packets each queue holds; the device's limits apply.
    pub fn descriptors(mut self, rx: u16, tx: u16) -> Self {
        self.rx_descriptors = rx;
        self.tx_descriptors = tx;
        self
    }

    /// The pool for received packets. The device holds up to one packet for each receive
    /// descriptor.
    pub fn mempool(mut self, pool: &Mempool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// What the device should do for us, if it can.
    pub fn want(mut self, offloads: Offloads) -> Self {
        self.wanted = offloads;
        self
    }

    /// How to spread packets over the receive queues, if the device can.
    pub fn rss(mut self, rss: Rss) -> Self {
        self.rss = Some(rss);
        self
    }

    /// The largest IP packet, in bytes. If the device sits on a Linux interface, this changes the
    /// interface's MTU. Default: leave it.
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Whether to receive frames for other hardware addresses, if the device can.
    pub fn promiscuous(mut self, yes: bool) -> Self {
        self.promiscuous = yes;
        self
    }

    /// Starts the port.
    pub fn start(self) -> Result<Port, PortStartError> {
        let id = self.id;
        let device = id.device().ok_or(PortStartError::UnknownPort(id))?;
        let Some(pool) = self.pool.clone() else {
            return Err(PortStartError::NoMempool { device });
        };
        let Some(claim) = Claim::take(id, &self.alive) else {
            return Err(PortStartError::InUse { device });
        };

        let setup = Setup::begin();
        let refusal =
            |(step, errno)| PortStartError::Device { device: device.clone(), step, reason: setup.why(errno) };
        let info = info(id).map_err(|errno| refusal((Step::Query, errno)))?;
        let plan = self.plan(&info);
        if let Some(mtu) = plan.mtu
            && !plan.offloads.rx_scatter
            && u32::from(mtu) + FRAME_OVERHEAD > u32::from(pool.data_room())
        {
            return Err(PortStartError::BufferTooSmall { device, mtu, data_room: pool.data_room() });
        }
        // Some drivers refuse what they offer. It matters most that packets flow. So the second
        // attempt leaves out the MTU, and the third leaves out everything optional. If all fail,
        // the first refusal is reported.
        let attempts = [plan.clone(), Plan { mtu: None, ..plan.clone() }, plan.modest()];
        let mut outcomes = attempts.iter().map(|plan| plan.carry_out(&pool).map_err(refusal));
        let first = outcomes.next().unwrap_or(Ok(plan));
        let plan = first.or_else(|first| outcomes.find_map(Result::ok).ok_or(first))?;
        let granted = self.granted(&plan, &info);
        drop(setup);

        let running = Arc::new(Running { id, _claim: claim.closing(), _pool: pool });
        Ok(Port {
            rx: (0..plan.rx_queues).map(|i| Some(RxQueue::new(i, &running))).collect(),
            tx: (0..plan.tx_queues).map(|i| Some(TxQueue::new(i, &running))).collect(),
            running,
            mac: mac(id),
            device,
            driver: driver_name(&info),
            interface: (info.if_index != 0).then_some(info.if_index),
            granted,
        })
    }

    /// The wanted properties, limited to what the device says it has.
    fn plan(&self, info: &dpdk_sys::rte_eth_dev_info) -> Plan {
        let offloads = self.wanted.offered(info.rx_offload_capa, info.tx_offload_capa);
        let mut plan = Plan {
            id: self.id,
            rx_queues: self.rx_queues.min(info.max_rx_queues),
            tx_queues: self.tx_queues.min(info.max_tx_queues),
            rx_descriptors: self.rx_descriptors,
            tx_descriptors: self.tx_descriptors,
            mtu: self.mtu.map(|mtu| mtu.min(largest_mtu(info)).max(info.min_mtu)),
            offloads,
            rss_fields: RssFields::NONE,
            rss_key: Vec::new(),
        };
        // With one queue the hash is still useful, if the device passes it on.
        if let Some(rss) = &self.rss
            && (plan.rx_queues > 1 || offloads.rx_rss_hash)
        {
            plan.rss_fields = rss.fields.offered(info.flow_type_rss_offloads);
            let len = if info.hash_key_size == 0 { RSS_KEY_LEN } else { usize::from(info.hash_key_size) };
            // A longer key repeats after 40 bytes. The bytes beyond 40 do not affect addresses or
            // ports.
            plan.rss_key = rss.key.iter().flat_map(|key| key.iter().copied().cycle().take(len)).collect();
        }
        plan
    }

    fn granted(&self, plan: &Plan, info: &dpdk_sys::rte_eth_dev_info) -> Granted {
        let rss = (plan.rss_fields != RssFields::NONE)
            .then(|| RssGranted::query(self.id, plan.rss_fields, info.hash_key_size, info.reta_size));
        Granted {
            wanted: self.wanted,
            offloads: plan.offloads,
            rss,
            rx_queues: plan.rx_queues,
            tx_queues: plan.tx_queues,
            rx_descriptors: plan.rx_descriptors,
            tx_descriptors: plan.tx_descriptors,
            mtu: mtu(self.id),
            promiscuous: self.promiscuous && promiscuous(self.id),
        }
    }
}

/// The device's MTU limit. Devices give it for the packet, for the frame, or for both.
fn largest_mtu(info: &dpdk_sys::rte_eth_dev_info) -> u16 {
    if info.max_mtu < u16::MAX {
        return info.max_mtu;
    }
    u16::try_from(info.max_rx_pktlen.saturating_sub(FRAME_HEADER_AND_CHECK)).unwrap_or(u16::MAX)
}

fn mac(id: PortId) -> [u8; 6] {
    let mut mac = dpdk_sys::rte_ether_addr { addr_bytes: [0; 6] };
    // SAFETY: writes six bytes; failure leaves them zero.
    unsafe { dpdk_sys::rte_eth_macaddr_get(id.as_u16(), &mut mac) };
    mac.addr_bytes
}

fn mtu(id: PortId) -> u16 {
    let mut mtu = 0;
    // SAFETY: writes one number; failure leaves it zero.
    unsafe { dpdk_sys::rte_eth_dev_get_mtu(id.as_u16(), &mut mtu) };
    mtu
}

fn promiscuous(id: PortId) -> bool {
    // SAFETY: the port is started and claimed.
    unsafe { dpdk_sys::rte_eth_promiscuous_enable(id.as_u16()) == 0 }
}

const FRAME_HEADER_AND_CHECK: u32 = 14 + 4;
/// The same with two VLAN tags.
const FRAME_OVERHEAD: u32 = FRAME_HEADER_AND_CHECK + 2 * 4;
