//! A packet that needs a connection, and the plan of that connection.

use std::sync::Arc;

use sched::DestId;

use crate::conn::key::FlowKey;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::service::Selector;
use crate::snapshot::service::Service;

/// A packet that needs a connection, and its service.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) service: &'a Arc<Service>,
    /// The packet's key.
    pub(crate) key: FlowKey,
    /// The packet's firewall mark; 0 for none.
    pub(crate) mark: u32,
    /// Number of the adjacency towards the client, or `NONE`.
    pub(crate) client: u32,
}

impl<'a> Wanted<'a> {
    /// Whether the packet goes to another port than the service's own. Such packets are served only
    /// if the service is persistent.
    pub(crate) fn misses(&self) -> bool {
        matches!(self.service.key, Selector::Address { port, .. } if port != self.key.dport())
    }

    /// The real server's port for a packet of a service without persistence.
    pub(crate) fn scheduled_port(&self, info: &DestInfo) -> u16 {
        if info.port == 0 { self.key.dport() } else { info.port }
    }

    /// The real server's port for a packet of a persistent service. Ports other than the service's
    /// own are not changed; for a mark these are all ports.
    pub(crate) fn sticky_port(&self, info: &DestInfo) -> u16 {
        let own = self.key.dport() == self.service.key.port() && info.port != 0;
        if own { info.port } else { self.key.dport() }
    }

    /// The plan of the packet's connection to `dest`. It hangs on the template `control`, or on
    /// none.
    pub(crate) fn intent(&self, dest: DestId, info: &'a DestInfo, dport: u16, control: u32) -> Intent<'a> {
        Intent {
            service: self.service,
            key: self.key,
            mark: self.mark,
            client: self.client,
            dest,
            info,
            dport,
            control,
        }
    }
}

/// The plan of a connection or template.
pub(crate) struct Intent<'a> {
    pub(crate) service: &'a Service,
    /// The packet's key, or the template's key.
    pub(crate) key: FlowKey,
    /// The packet's firewall mark; 0 for none.
    pub(crate) mark: u32,
    /// Number of the adjacency towards the client, or `NONE`.
    pub(crate) client: u32,
    pub(crate) dest: DestId,
    pub(crate) info: &'a DestInfo,
    /// Port of the real server, host byte order.
    pub(crate) dport: u16,
    /// Slot of the template on which it hangs, or [`NONE`].
    pub(crate) control: u32,
}
