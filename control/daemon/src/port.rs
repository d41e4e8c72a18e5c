//! A port as the daemon runs it: its DPDK devices, what it stands on, and what was counted. Some
//! drivers see each receive queue as a device of its own; such a port has several devices.

use std::sync::Arc;

use dataplane::dpdk_io::{DpdkPort, PortCounts};
use dpdk::{Link, Port, PortStats};

use super::survey::Ground;
use api::words::counted;
use linux::LinkCounters;

/// A port that runs.
#[derive(Debug)]
pub(super) struct RunningPort {
    /// The devices. The first one sends.
    devices: Vec<Port>,
    ground: Ground,
    counts: Arc<PortCounts>,
    /// What the kernel had counted on the interface before the port started.
    before: LinkCounters,
}

/// Drivers that forget what they counted, as `net_memif` does when its peer goes. For their ports
/// the worker counts bytes as well.
const FORGETFUL: &[&str] = &["net_memif"];

impl RunningPort {
    /// A port of these devices; `None` if there are none. `before` is what the kernel has counted
    /// on the interface so far.
    pub(super) fn new(devices: Vec<Port>, ground: Ground, before: LinkCounters) -> Option<Self> {
        let counts = match FORGETFUL.contains(&devices.first()?.driver()) {
            true => PortCounts::with_bytes(),
            false => PortCounts::default(),
        };
        Some(Self { devices, ground, counts: Arc::new(counts), before })
    }

    /// Takes the queues out, which can be done once.
    pub(super) fn take_queues(&mut self) -> Option<DpdkPort> {
        let tx = self.devices.first_mut()?.take_tx(0)?;
        let queues = self.ground.queues;
        let rx = self
            .devices
            .iter_mut()
            .flat_map(|device| (0..queues).map_while(|i| device.take_rx(i)).collect::<Vec<_>>());
        DpdkPort::new(rx.collect(), tx, Arc::clone(&self.counts))
    }

    fn first(&self) -> Option<&Port> {
        self.devices.first()
    }

    /// Tells the devices to let frames for all MACs in. Returns whether they do.
    pub(super) fn let_all_in(&self) -> bool {
        self.devices.iter().all(Port::let_all_in)
    }

    /// The Ethernet address.
    pub(super) fn mac(&self) -> [u8; 6] {
        self.first().map_or([0; 6], Port::mac)
    }

    /// The largest IP packet, in bytes: what the Linux interface says where there is one.
    pub(super) fn mtu(&self) -> u32 {
        match &self.ground.under {
            Some(under) => under.iface.mtu,
            None => self.first().map_or(0, |port| u32::from(port.mtu())),
        }
    }

    /// What the port stands on.
    pub(super) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// The driver's name.
    pub(super) fn driver(&self) -> &str {
        self.first().map_or("", Port::driver)
    }

    /// A description of the device for the log. Over a Linux interface the driver's own words would
    /// be wrong: it believes in MTU 1500 and one queue.
    pub(super) fn describe(&self) -> String {
        let Some(granted) = self.first().map(Port::granted) else { return String::new() };
        if self.ground.under.is_none() {
            return granted.to_string();
        }
        let queues = counted(self.ground.queue_count(), "receive queue");
        format!("{queues} of {}, MTU {}", granted.rx_descriptors, self.mtu())
    }

    /// The link as the driver sees it: always up over a Linux interface.
    pub(super) fn link(&self) -> Link {
        self.first().map_or(Link { up: false, speed_mbps: None }, Port::link)
    }

    /// How many packets the interface has received since the start (`now`) and the driver has not.
    /// They are on their way, or lost.
    pub(super) fn not_fetched(&self, now: LinkCounters) -> u64 {
        let fetched = self.stats(None).rx_packets;
        now.rx_packets.saturating_sub(self.before.rx_packets).saturating_sub(fetched)
    }

    /// The counts of the drivers; where they have none, those of the worker; and what the kernel
    /// lost of the interface's packets (`now`), which no driver knows.
    pub(super) fn stats(&self, now: Option<LinkCounters>) -> PortStats {
        let mut sum = PortStats::default();
        for device in &self.devices {
            let stats = device.stats().unwrap_or_default();
            sum.rx_packets += stats.rx_packets;
            sum.rx_bytes += stats.rx_bytes;
            sum.rx_missed += stats.rx_missed;
            sum.rx_errors += stats.rx_errors;
            sum.rx_no_packet_memory += stats.rx_no_packet_memory;
            sum.tx_packets += stats.tx_packets;
            sum.tx_bytes += stats.tx_bytes;
            sum.tx_errors += stats.tx_errors;
        }
        let ours = &self.counts;
        sum.rx_packets = sum.rx_packets.max(ours.rx_packets.get());
        sum.tx_packets = sum.tx_packets.max(ours.tx_packets.get());
        sum.rx_bytes = sum.rx_bytes.max(ours.rx_bytes.get());
        sum.tx_bytes = sum.tx_bytes.max(ours.tx_bytes.get());
        if let Some(now) = now {
            // The kernel counts what its socket drops. The driver counts some of the same packets.
            sum.rx_missed = sum.rx_missed.max(now.rx_lost.saturating_sub(self.before.rx_lost));
            sum.rx_errors = sum.rx_errors.max(now.rx_errors.saturating_sub(self.before.rx_errors));
        }
        sum
    }
}
