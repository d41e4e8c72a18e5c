//! The settings for a device, and the steps that apply them: configure, set up each queue, start.
//!
//! The builder makes a plan from what is wanted and what the device offers. Control carries it out,
//! while the builder holds the claim on the port and the set-up lock.

use core::mem::MaybeUninit;
use core::ptr;

use crate::errno::Errno;
use crate::errno::check;
use crate::mempool::Mempool;
use crate::port::PortId;
use crate::port::builder::Step;
use crate::port::offload::Offloads;
use crate::port::rss::RssFields;

/// The settings for a device.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) id: PortId,
    pub(crate) rx_queues: u16,
    pub(crate) tx_queues: u16,
    pub(crate) rx_descriptors: u16,
    pub(crate) tx_descriptors: u16,
    pub(crate) mtu: Option<u16>,
    pub(crate) offloads: Offloads,
    pub(crate) rss_fields: RssFields,
    pub(crate) rss_key: Vec<u8>,
}

impl Plan {
    /// The same without anything that a driver could refuse.
    pub(crate) fn modest(&self) -> Self {
        Self { offloads: Offloads::NONE, rss_fields: RssFields::NONE, mtu: None, ..self.clone() }
    }

    /// Configures and starts the device. Returns the plan with the numbers that the device chose.
    pub(crate) fn carry_out(&self, pool: &Mempool) -> Result<Self, (Step, Errno)> {
        let mut done = self.clone();
        done.configure().map_err(|errno| (Step::Configure, errno))?;
        let id = done.id.as_u16();
        // SAFETY: asks a configured port; -1 stands for "any" here and below.
        let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(id) } as u32;
        for queue in 0..done.rx_queues {
            // SAFETY: the port is configured for this queue; Running will keep the pool longer than
            // the port.
            let code = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(
                    id,
                    queue,
                    done.rx_descriptors,
                    socket,
                    ptr::null(),
                    pool.as_ptr(),
                )
            };
            check(code).map_err(|errno| (Step::RxQueue(queue), errno))?;
        }
        for queue in 0..done.tx_queues {
            // SAFETY: the port is configured for this queue.
            let code = unsafe {
                dpdk_sys::rte_eth_tx_queue_setup(id, queue, done.tx_descriptors, socket, ptr::null())
            };
            check(code).map_err(|errno| (Step::TxQueue(queue), errno))?;
        }
        // SAFETY: configured, and all its queues are set up.
        check(unsafe { dpdk_sys::rte_eth_dev_start(id) }).map_err(|errno| (Step::Start, errno))?;
        Ok(done)
    }

    fn configure(&mut self) -> Result<(), Errno> {
        let id = self.id.as_u16();
        // SAFETY: zero is a valid value of every member, and the default of each.
        let mut conf = unsafe { MaybeUninit::<dpdk_sys::rte_eth_conf>::zeroed().assume_init() };
        conf.rxmode.offloads = self.offloads.rx_bits();
        conf.txmode.offloads = self.offloads.tx_bits();
        conf.rxmode.mtu = self.mtu.map_or(0, u32::from);
        if self.rss_fields != RssFields::NONE {
            conf.rxmode.mq_mode = dpdk_sys::rte_eth_rx_mq_mode::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = self.rss_fields.bits();
            if !self.rss_key.is_empty() {
                conf.rx_adv_conf.rss_conf.rss_key = self.rss_key.as_mut_ptr();
                conf.rx_adv_conf.rss_conf.rss_key_len = self.rss_key.len() as u8;
            }
        }
        // SAFETY: the port is stopped and claimed; `conf` and the key it points to outlive the
        // call.
        check(unsafe { dpdk_sys::rte_eth_dev_configure(id, self.rx_queues, self.tx_queues, &conf) })?;
        // SAFETY: the port is configured; the call clamps both numbers.
        check(unsafe {
            dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut self.rx_descriptors, &mut self.tx_descriptors)
        })?;
        if let Some(mtu) = self.mtu {
            // A device that cannot change its MTU keeps it. The builder reads the MTU after the
            // start.
            // SAFETY: the port is configured and not started.
            unsafe { dpdk_sys::rte_eth_dev_set_mtu(id, mtu) };
        }
        Ok(())
    }
}
