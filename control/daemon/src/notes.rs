//! What an operator should know: lines of `vipline status`, and of the log when they come up.

use std::time::Instant;

use super::Daemon;
use director::room::{Shortage, shortages};

impl Daemon {
    /// What an operator should know, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let short = self.shortages().into_iter().map(|shortage| shortage.to_string());
        let door = self.door_note.iter().cloned();
        let own = door.chain(self.offloading_ports().map(offload)).chain(short);
        own.chain(self.director.advice()).chain(self.elsewhere_marked()).collect()
    }

    /// Logs what runs out, at most once a minute.
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
        for advice in self.director.advice().into_iter().chain(self.elsewhere_marked()) {
            tracing::warn!("{advice}");
        }
    }

    /// That Linux marks packets, when services by mark might wait for it.
    fn elsewhere_marked(&self) -> Option<String> {
        let chains = if self.director.uses_marks() { linux::netfilter::marking_chains() } else { Vec::new() };
        (!chains.is_empty()).then(|| {
            format!(
                "Linux marks packets ({}), but none that services by mark get, for these never pass it: give `vipline mark` \
                 the rules (`iptables-save -t mangle | vipline mark restore`)",
                chains.join(", ")
            )
        })
    }

    /// Logs what has come up since the last look.
    pub(super) fn log_notes(&mut self) {
        let ports = self.unfinished_ports();
        let new = ports & !self.told_unfinished;
        self.told_unfinished = ports;
        for (number, port) in self.config.ports.iter().enumerate() {
            if new & 1 << number != 0 {
                tracing::warn!("{}", offload(&port.name));
            }
        }
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

fn offload(port: &str) -> String {
    format!(
        "port {port}: senders leave checksums to their device (transmit offload); they are finished in software, \
         which `ethtool -K INTERFACE tx off` at the senders makes needless"
    )
}
