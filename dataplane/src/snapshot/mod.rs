//! The compiled rules. Workers read them and nobody changes them.
//!
//! Control keeps a master [`Snapshot`], changes it, and publishes copies through [`crate::epoch`].
//! Its parts are shared by reference, so a copy costs only microseconds, even with many rules. A
//! worker looks for a new snapshot at the start of a poll and uses it for the whole poll.

pub mod cow;
pub mod dest;
pub mod master;
pub mod route;
pub mod rules;
pub mod servers;
pub mod service;
pub mod tunables;

use std::sync::Arc;
use std::vec::Vec;

use sched::DestId;

use crate::local::LocalAddress;
use crate::marks::Marks;
use crate::snapshot::cow::CowArray;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::route::Paths;
use crate::snapshot::servers::Servers;
use crate::snapshot::service::ServiceId;
use crate::snapshot::service::Services;
use crate::snapshot::tunables::Tunables;

/// An edit of a service's destination list. Workers replay it on their scheduler state.
#[derive(Clone, Debug)]
pub struct SchedEdit {
    /// The epoch of the first snapshot that contains it.
    pub epoch: u64,
    /// Its number; edits and new scheduler states are numbered together. See
    /// [`service::SchedCells::fresh_at`].
    pub serial: u64,
    /// The service.
    pub service: ServiceId,
    /// The change.
    pub edit: sched::Edit,
}

/// All that a worker knows about rules, routes and ports.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The number of the snapshot.
    pub epoch: u64,
    /// Counts the changes after which connections must be judged again: destinations, routes, lost
    /// neighbours.
    pub generation: u32,
    /// The services.
    pub services: Services,
    /// Which packets have which firewall mark.
    pub marks: Arc<Marks>,
    /// The destinations, indexed by slot.
    pub dests: CowArray<DestInfo>,
    /// The addresses of real servers whose replies are rewritten.
    pub servers: Servers,
    /// FULLNAT's local addresses, indexed by slot. An address stays while any connection may name
    /// it.
    pub locals: CowArray<Option<Arc<LocalAddress>>>,
    /// Routes, next hops and ports.
    pub paths: Paths,
    /// Timeouts and switches.
    pub tunables: Tunables,
    /// Recent edits, oldest first: all that some worker may not have seen.
    pub edits: Arc<Vec<SchedEdit>>,
}

impl Snapshot {
    /// The facts about a destination.
    #[inline]
    pub fn dest(&self, id: DestId) -> Option<&DestInfo> {
        self.dests.get(id.index())
    }
}
