//! Whether the ports' links are up, and what else the devices are asked while they run.
//!
//! DPDK's drivers over a Linux interface say "up, 10 Gbit/s" whatever happens to it, so the
//! mirror's picture of the interface counts. When a link goes down, the host interface loses its
//! carrier: keepalived and routing daemons see it there as on any NIC. When a device is deleted,
//! the sockets of DPDK's driver are gone too, and cannot be made again. Then the daemon ends, and
//! whoever supervises it starts it again.

use std::time::Instant;

use super::link::PortLink;
use super::port::RunningPort;
use crate::config::PortConfig;
use linux::{LinkWatch, Links, MirrorState, Tap};

/// All ports' links.
pub(super) struct PortLinks {
    pub(super) ports: Vec<PortLink>,
    links: Links,
    watch: LinkWatch,
}

impl PortLinks {
    /// Opens the sockets that are needed to look, in the network namespace of the calling thread.
    pub(super) fn new(config: &[PortConfig], running: &[RunningPort], taps: &[Tap]) -> std::io::Result<Self> {
        let ports = config.iter().zip(running).zip(taps);
        let ports: Vec<_> = ports.map(|((config, port), tap)| PortLink::new(config, port, tap)).collect();
        // No link has the index 0.
        let indices = ports.iter().map(|port| port.interface().map_or(0, |(index, _)| index)).collect();
        Ok(Self { ports, links: Links::open()?, watch: LinkWatch::start(indices)? })
    }

    /// Whether some port is down or has a trouble.
    pub(super) fn degraded(&self) -> bool {
        self.ports.iter().any(|port| port.is_down() || port.troubles().next().is_some())
    }

    /// Follows what Linux says of the interfaces. After an error the daemon must end, because a
    /// device or a host interface is gone.
    pub(super) fn follow(&mut self, world: &MirrorState) -> Result<(), String> {
        let Self { ports, links, .. } = self;
        for port in ports {
            // If the picture was taken while links came and went, a link that exists may be missing
            // in it.
            let tap = match world.ifaces.get(&port.host().0) {
                Some(tap) => tap,
                None if links.exists(port.host().0) => continue,
                None => return Err(host_gone(port)),
            };
            match port.interface() {
                Some((index, name)) => match world.ifaces.get(&index) {
                    Some(iface) => port.follow_interface(iface, tap, links),
                    None if links.exists(index) => {}
                    None => return Err(gone(port.name(), name, world)),
                },
                None => port.follow_host(tap, links),
            }
            port.show_carrier(links);
            port.tell();
        }
        Ok(())
    }

    /// Asks what no event tells: the links of devices without a Linux interface, speeds, queues,
    /// lost packets. After an error the daemon must end.
    pub(super) fn look(&mut self, running: &[RunningPort], now: Instant) -> Result<(), String> {
        self.count();
        for (port, device) in self.ports.iter_mut().zip(running) {
            port.look(device, now)?;
            port.show_carrier(&mut self.links);
            port.tell();
        }
        Ok(())
    }

    /// Takes over what the kernel has counted. The counts are at most a second old.
    pub(super) fn count(&mut self) {
        for (port, report) in self.ports.iter_mut().zip(self.watch.reports()) {
            port.heard(report);
        }
    }
}

/// The line about a host interface that is gone.
fn host_gone(port: &PortLink) -> String {
    format!(
        "port {}: host interface {} is gone: it was deleted or moved to another network namespace; start viplined again, \
         which makes it anew",
        port.name(),
        port.host().1
    )
}

/// The line about a device that is gone. Another one may have its name.
fn gone(port: &str, name: &str, world: &MirrorState) -> String {
    match world.iface_named(name) {
        Some(_) => format!(
            "port {port}: interface {name} was deleted and made again; start viplined again to use the new one"
        ),
        None => format!(
            "port {port}: interface {name} is gone: it was deleted or moved to another network namespace; start viplined \
             again once it is back"
        ),
    }
}
