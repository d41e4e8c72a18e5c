//! A started port: a network device with its receive and transmit queues.
//!
//! [`PortBuilder`](builder::PortBuilder) makes it. Its owner takes the queues out and gives each to
//! one worker. The device runs until the port and all its queues are dropped. The last drop, on any
//! thread, stops and closes the device and releases its pool.

pub(crate) mod builder;
pub(crate) mod granted;
pub(crate) mod offload;
mod plan;
pub(crate) mod queue;
pub(crate) mod rss;
pub(crate) mod stats;

use core::ffi::CStr;
use core::ffi::c_char;
use core::fmt;
use core::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::eal::Alive;
use crate::errno::Errno;
use crate::errno::check;
use crate::log::Setup;
use crate::mempool::Mempool;
use crate::port::granted::Granted;
use crate::port::queue::RxQueue;
use crate::port::queue::TxQueue;

/// A port's number, as [`crate::Eal::attach`] gives it. Numbers of closed ports are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(u16);

impl PortId {
    #[inline]
    pub(crate) fn new(id: u16) -> Self {
        Self(id)
    }

    /// The number.
    #[inline]
    pub fn as_u16(self) -> u16 {
        self.0
    }

    /// The name of the port's device, while it has one.
    pub(crate) fn device(self) -> Option<String> {
        let mut name: [c_char; NAME_LEN] = [0; NAME_LEN];
        // SAFETY: `name` has the size that the call is documented to need; a bad number is an
        // error.
        let code = unsafe { dpdk_sys::rte_eth_dev_get_name_by_port(self.0, name.as_mut_ptr()) };
        check(code).ok()?;
        // SAFETY: the call succeeded, so it wrote a terminated string.
        Some(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A queue's number within its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(u16);

impl QueueId {
    pub(crate) fn new(id: u16) -> Self {
        Self(id)
    }

    /// The number.
    pub fn as_u16(self) -> u16 {
        self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A started port.
#[must_use]
#[derive(Debug)]
pub struct Port {
    running: Arc<Running>,
    rx: Vec<Option<RxQueue>>,
    tx: Vec<Option<TxQueue>>,
    mac: [u8; 6],
    device: String,
    driver: String,
    interface: Option<u32>,
    granted: Granted,
}

impl Port {
    /// Takes receive queue `i` out, once.
    pub fn take_rx(&mut self, i: u16) -> Option<RxQueue> {
        self.rx.get_mut(usize::from(i))?.take()
    }

    /// Takes transmit queue `i` out, once.
    pub fn take_tx(&mut self, i: u16) -> Option<TxQueue> {
        self.tx.get_mut(usize::from(i))?.take()
    }

    /// The port's number.
    pub fn id(&self) -> PortId {
        self.running.id
    }

    /// The hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The largest IP packet in bytes, as the device reports it. A software device over a Linux
    /// interface may report 1500 although the interface has another limit.
    pub fn mtu(&self) -> u16 {
        self.granted.mtu
    }

    /// The device's name, for example `0000:01:00.0` or `net_af_xdp0`.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The driver's name, for example `net_ixgbe`.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The index of the Linux interface that the device sits on, if there is one.
    pub fn interface(&self) -> Option<u32> {
        self.interface
    }

    /// Makes the device receive frames for all MAC addresses; returns whether it does. Closing the
    /// port ends it.
    pub fn let_all_in(&self) -> bool {
        // SAFETY: the port is started, and claimed as long as this lives.
        unsafe { dpdk_sys::rte_eth_promiscuous_enable(self.id().as_u16()) == 0 }
    }

    /// What the device granted.
    pub fn granted(&self) -> &Granted {
        &self.granted
    }
}

/// A started device. The port and its queues share it; dropping the last share stops the device.
#[derive(Debug)]
pub(crate) struct Running {
    id: PortId,
    /// Dropped first: that closes the device, which then gives its packets back.
    _claim: Claim,
    _pool: Mempool,
}

/// Stops and closes a port that nobody polls any more. If the device refuses, it stays open until
/// the process ends.
fn close(id: PortId) {
    // A Linux interface would stay in promiscuous mode. Drivers without that mode return an error,
    // which is fine.
    // SAFETY: the port is open and claimed by the caller.
    unsafe { dpdk_sys::rte_eth_promiscuous_disable(id.as_u16()) };
    // SAFETY: the port is open and claimed by the caller, and no queue of it is left.
    unsafe { dpdk_sys::rte_eth_dev_stop(id.as_u16()) };
    // SAFETY: as above, and the port is stopped.
    unsafe { dpdk_sys::rte_eth_dev_close(id.as_u16()) };
}

/// The right to configure and run a port. There is at most one for each port number.
#[derive(Debug)]
pub(crate) struct Claim {
    id: PortId,
    alive: Arc<Alive>,
    /// Whether the port is closed when the claim ends.
    closes: bool,
}

impl Claim {
    pub(crate) fn take(id: PortId, alive: &Arc<Alive>) -> Option<Self> {
        let mut ports = alive.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.contains(&id) {
            return None;
        }
        ports.push(id);
        Some(Self { id, alive: Arc::clone(alive), closes: false })
    }

    /// Notes that the port was started, so that the end of the claim closes it.
    fn closing(self) -> Self {
        let mut claim = self;
        claim.closes = true;
        claim
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // This lock is always taken before the lock of the list of ports.
        let _setup = self.closes.then(Setup::begin);
        // As soon as the port is closed, DPDK gives its number to the next device. The claim for
        // that device waits for the list, so it finds the number free.
        let mut ports = self.alive.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closes {
            close(self.id);
        }
        ports.retain(|&id| id != self.id);
    }
}

/// What a device says about itself.
pub(crate) fn info(id: PortId) -> Result<dpdk_sys::rte_eth_dev_info, Errno> {
    let mut info = MaybeUninit::zeroed();
    // SAFETY: writes one struct; a bad number is an error.
    check(unsafe { dpdk_sys::rte_eth_dev_info_get(id.as_u16(), info.as_mut_ptr()) })?;
    // SAFETY: zeroed above, for which every member has a meaning, and filled in by the call.
    Ok(unsafe { info.assume_init() })
}

pub(crate) fn driver_name(info: &dpdk_sys::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return String::new();
    }
    // SAFETY: a constant string of the driver's, which stays loaded.
    unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
}

const NAME_LEN: usize = dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize;
