//! The choice of FULLNAT's local ports. Each connection of a real server's port has one of its own.
//!
//! The table knows which ports are free: its reply keys consist of the addresses, ports and
//! protocol that must differ. Each destination has a cursor that goes over all local addresses and
//! ports in turn. So no address is preferred, and a port is used again as late as possible. A new
//! connection takes the port at the cursor without checking it. If the connection opens and another
//! one has that port, others are tried: first a few at random; then that of a connection that never
//! led to anything and has been silent for longest; then more at random and one after the other, as
//! far as the tick's allowance goes.

use std::sync::Arc;

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::Direction;
use crate::conn::entry::NONE;
use crate::conn::key::FlowKey;
use crate::epoch::WorkerToken;
use crate::local::LocalAddress;
use crate::snapshot::Snapshot;
use crate::snapshot::service::Service;
use crate::snapshot::service::ServiceId;
use crate::stats::Gauge;
use crate::verdict::DropReason;
use crate::worker::create;
use crate::worker::flows::Flows;
use crate::worker::pressure::Worth;

/// How many ports are tried at random before a connection that never led to anything makes room.
const FREE_TRIED: u32 = 4;
/// How many ports are tried at random in all.
const TRIED: u32 = 64;
/// How many ports are tried one after the other at most.
const SCANNED: u32 = 1024;
/// Separates the cursors of destinations that have the same real-server port.
const APART: u32 = 0x9e37_79b9;

/// A local port for a connection: the slot of its address, and the reply key.
type Port = (u32, FlowKey);

/// The result of a search so far.
#[derive(Default)]
struct Search {
    free: Option<Port>,
    /// A port whose connection never led to anything, and for how many ticks that has been silent.
    spare: Option<(Port, ConnId, u32)>,
    /// A port whose connection has been silent for a while.
    silent: Option<(Port, ConnId)>,
    /// A port whose connection has had little traffic and has been silent.
    little: Option<(Port, ConnId)>,
}

impl Flows {
    /// The next local address and port in turn for a destination. `None` if its service has none.
    pub(super) fn next_port<'s>(
        &self,
        service: &'s Service,
        dest: DestId,
    ) -> Option<(&'s Arc<LocalAddress>, u16)> {
        let cursor = self.stats.dest(dest).map(|stats| &stats.next_port);
        let turn = cursor.map_or(0, Gauge::get);
        if let Some(cursor) = cursor {
            cursor.up();
        }
        let apart = dest.as_u32().wrapping_mul(APART);
        self.nth_port(service, turn.wrapping_add(self.first_port).wrapping_add(apart))
    }

    /// The `nth` port of a service's local addresses: first the first port of each address, then
    /// the second port of each, and so on. After the last one it begins again.
    fn nth_port<'s>(&self, service: &'s Service, nth: u32) -> Option<(&'s Arc<LocalAddress>, u16)> {
        let count = service.locals.len() as u32;
        // An address has no port if all its ports are left to Linux.
        (0..count).find_map(|step| {
            let local = &service.locals[(nth.wrapping_add(step) % count) as usize];
            Some((local, local.port(&self.token, nth / count)?))
        })
    }

    /// Opens a connection whose local port another connection has: with another port, or in the
    /// place of another connection.
    #[cold]
    pub(super) fn open_elsewhere(&mut self, snapshot: &Snapshot, id: ConnId) -> Result<(), DropReason> {
        let (hot, cold) = (self.table.hot(id), self.table.cold(id));
        let (dest, reply, own, kept) = (DestId::new(hot.dest), hot.reply, cold.local, cold.control);
        let service = snapshot.services.by_id(ServiceId::new(cold.service)).ok_or(DropReason::NoLocalPort)?;
        // Connections of other services to the same real-server port are not counted here.
        let ports: u32 = service.locals.iter().map(|local| local.share()).sum();
        let some_free =
            self.stats.dest(dest).is_some_and(|stats| stats.active.get() + stats.inactive.get() <= ports);
        let mut search = Search::default();
        self.look_at(snapshot, (own, reply), &mut search);
        for nth in 0..TRIED + SCANNED {
            let Search { free, spare, silent, little } = &search;
            let enough = free.is_some()
                || nth >= FREE_TRIED && spare.is_some()
                || nth >= TRIED && (silent.is_some() || little.is_some()) && !some_free;
            if enough || nth >= FREE_TRIED && !self.defence.may_try(self.now) {
                break;
            }
            let tried = if nth < TRIED {
                let drawn = self.defence.draw();
                self.nth_port(service, drawn)
            } else {
                self.next_port(service, dest)
            };
            let Some((local, port)) = tried else { break };
            let key = FlowKey::new(reply.protocol(), reply.src(), reply.sport(), local.addr, port);
            self.look_at(snapshot, (local.slot, key), &mut search);
        }
        let port = match search {
            Search { free: Some(port), .. } => port,
            Search { spare: Some((port, other, _)), .. } => {
                self.displace(snapshot, other, kept);
                port
            }
            Search { silent: Some((port, other)), .. } => {
                self.stats.displaced_silent.add(1);
                self.displace(snapshot, other, kept);
                port
            }
            Search { little: Some((port, other)), .. } if !some_free => {
                self.stats.displaced_silent.add(1);
                self.displace(snapshot, other, kept);
                port
            }
            _ => {
                service.locals.iter().for_each(|local| local.failed(&self.token));
                return Err(DropReason::NoLocalPort);
            }
        };
        self.move_to(snapshot, id, port);
        Ok(self.table.complete(id)?)
    }

    /// Looks up which connection has a port.
    fn look_at(&self, snapshot: &Snapshot, port: Port, search: &mut Search) {
        match self.table.find(port.1) {
            None => search.free = Some(port),
            Some((other, Direction::Reply)) => match self.worth(snapshot, other, NONE) {
                Worth::Nothing(silent) if search.spare.is_none_or(|(.., most)| silent > most) => {
                    search.spare = Some((port, other, silent));
                }
                Worth::Silent(_) if search.silent.is_none() => search.silent = Some((port, other)),
                Worth::Little(_) if search.little.is_none() => search.little = Some((port, other)),
                _ => {}
            },
            Some((_, Direction::Request)) => {}
        }
    }

    /// Gives an opening connection another local port.
    fn move_to(&mut self, snapshot: &Snapshot, id: ConnId, (slot, reply): Port) {
        let old = core::mem::replace(&mut self.table.cold_mut(id).local, slot);
        self.note_port(snapshot, old, LocalAddress::given_back);
        self.note_port(snapshot, slot, LocalAddress::taken);
        let hot = self.table.hot_mut(id);
        hot.reply = reply;
        (hot.l3_delta, hot.l4_delta) = create::deltas(hot.request, reply);
    }

    /// Counts a port at the local address in `slot`, if it is one.
    pub(super) fn note_port(
        &self,
        snapshot: &Snapshot,
        slot: u32,
        count: impl FnOnce(&LocalAddress, &WorkerToken),
    ) {
        if slot != NONE
            && let Some(Some(local)) = snapshot.locals.get(slot as usize)
        {
            count(local, &self.token);
        }
    }
}
