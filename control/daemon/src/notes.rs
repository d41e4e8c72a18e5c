//! What an operator should know: lines of `vipline status`, and of the log when they are new.

use std::time::Instant;

use dataplane::io::PortId;

use super::Daemon;
use director::room::{Shortage, shortages};

impl Daemon {
    /// What an operator should know, one sentence for each point.
    pub(super) fn notes(&self) -> Vec<String> {
        let short = self.shortages().into_iter().map(|shortage| shortage.to_string());
        let door = self.door_note.iter().cloned();
        let state = self.keeper.trouble().map(str::to_owned);
        let own =
            door.chain(state).chain(self.offloading_ports().map(offload)).chain(self.shut_out()).chain(short);
        own.chain(self.director.advice()).collect()
    }

    /// Logs what runs out, each at most once a minute.
    pub(super) fn log_shortages(&mut self) {
        for shortage in self.told_short.due(self.shortages(), Instant::now()) {
            match shortage {
                Shortage::Shared { .. } => tracing::info!("{shortage}"),
                _ => tracing::warn!("{shortage}"),
            }
        }
    }

    fn shortages(&self) -> Vec<Shortage> {
        shortages(&self.director, &self.collector, self.max_connections)
    }

    /// Logs what is odd about the rules that the daemon was started with.
    pub(super) fn log_advice(&self) {
        let marked = if self.director.uses_marks() { marked_elsewhere() } else { None };
        for advice in self.director.advice().into_iter().chain(marked) {
            tracing::warn!("{advice}");
        }
    }

    /// Logs which notes are new, and which are over, since the last look.
    pub(super) fn log_notes(&mut self) {
        let ports = self.unfinished_ports();
        let changed = ports ^ std::mem::replace(&mut self.told_unfinished, ports);
        for (number, port) in self.config.ports.iter().enumerate().filter(|(n, _)| changed & 1 << n != 0) {
            if ports & 1 << number != 0 {
                tracing::warn!("{}", offload(&port.name));
            } else {
                tracing::info!("port {}: no sender has left a checksum to its device lately", port.name);
            }
        }
    }

    /// Tells devices to let frames in for other MACs that Linux has on a host interface.
    pub(super) fn let_in(&mut self) {
        self.lets_in.resize(self.config.ports.len(), None);
        for (number, port) in self.config.ports.iter().enumerate() {
            let macs = self.director.more_macs(PortId::new(number as u16));
            let (Some(device), Some(mac), None) =
                (self.devices.ports.get(number), macs.first(), self.lets_in[number])
            else {
                continue;
            };
            let done = device.let_all_in();
            self.lets_in[number] = Some(done);
            if done {
                tracing::info!(
                    "port {}: the device lets all frames in, because Linux has the MAC {mac} on {}",
                    port.name,
                    port.host_interface
                );
            } else {
                tracing::warn!("{}", shut(&port.name));
            }
        }
    }

    fn shut_out(&self) -> impl Iterator<Item = String> {
        let ports = self.config.ports.iter().zip(&self.lets_in);
        ports.filter(|(_, lets_in)| **lets_in == Some(false)).map(|(port, _)| shut(&port.name))
    }

    fn unfinished_ports(&self) -> u32 {
        self.collector.workers().iter().fold(0, |ports, worker| ports | worker.unfinished_ports.get())
    }

    fn offloading_ports(&self) -> impl Iterator<Item = &str> {
        let ports = self.unfinished_ports();
        let named = self.config.ports.iter().enumerate();
        named.filter(move |(number, _)| ports & 1 << number != 0).map(|(_, port)| port.name.as_str())
    }
}

/// The note that Linux marks packets, which is of no use to services by mark. The kernel may need a
/// while to tell its rules.
pub(super) fn marked_elsewhere() -> Option<String> {
    let chains = linux::netfilter::marking_chains();
    (!chains.is_empty()).then(|| {
        format!(
            "Linux marks packets ({}), but packets of services by mark never pass through Linux: give the rules to \
             `vipline mark` (`iptables-save -t mangle | vipline mark restore`)",
            chains.join(", ")
        )
    })
}

fn offload(port: &str) -> String {
    format!(
        "port {port}: senders leave checksums to their device (transmit offload); the director finishes them in \
         software; `ethtool -K INTERFACE tx off` on the senders spares it that"
    )
}

fn shut(port: &str) -> String {
    format!(
        "port {port}: Linux has other MACs on the host interface (a macvlan, perhaps of VRRP), and the device cannot be \
         made promiscuous; if it does not let frames for these MACs in by itself, they do not arrive"
    )
}
