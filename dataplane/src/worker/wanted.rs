//! What a packet without a connection wants, and the connection that is made of it.

use std::sync::Arc;

use sched::DestId;

use crate::conn::key::FlowKey;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::service::Selector;
use crate::snapshot::service::Service;

/// A packet that wants a connection, and the service it is for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) service: &'a Arc<Service>,
    /// The packet's flow.
    pub(crate) key: FlowKey,
    /// The packet's firewall mark; 0 for none.
    pub(crate) mark: u32,
    /// The adjacency towards the client, or `NONE`.
    pub(crate) client: u32,
}

impl<'a> Wanted<'a> {
    /// Whether the packet came by another port than the service's own: such are only served
    /// persistently.
    pub(crate) fn misses(&self) -> bool {
        matches!(self.service.key, Selector::Address { port, .. } if port != self.key.dport())
    }

    /// The real server's port for a packet that was scheduled by itself.
    pub(crate) fn scheduled_port(&self, info: &DestInfo) -> u16 {
        if info.port == 0 { self.key.dport() } else { info.port }
    }

    /// The real server's port for a packet of a persistent service: other ports than the service's
    /// stay, so all of a mark's do.
    pub(crate) fn sticky_port(&self, info: &DestInfo) -> u16 {
        let own = self.key.dport() == self.service.key.port() && info.port != 0;
        if own { info.port } else { self.key.dport() }
    }

    /// The packet's connection to `dest`, hanging on the template `control`.
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

/// A connection about to be made.
pub(crate) struct Intent<'a> {
    pub(crate) service: &'a Service,
    /// The packet's flow, or the template's key.
    pub(crate) key: FlowKey,
    /// The packet's firewall mark; 0 for none.
    pub(crate) mark: u32,
    /// The adjacency towards the client, or `NONE`.
    pub(crate) client: u32,
    pub(crate) dest: DestId,
    pub(crate) info: &'a DestInfo,
    /// Real-server port, host order.
    pub(crate) dport: u16,
    /// The template it hangs on, or [`NONE`].
    pub(crate) control: u32,
}
