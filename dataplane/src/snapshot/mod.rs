//! The rules, compiled: what workers read and nobody changes.
//!
//! Control keeps a master [`Snapshot`], changes it, and publishes copies through [`crate::epoch`];
//! its parts are shared by reference, so a copy costs microseconds whatever it holds. A worker
//! looks for a new one at the start of a poll and uses it whole until the next.

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

/// An edit of a service's destination list, for workers to replay on their scheduler state.
#[derive(Clone, Debug)]
pub struct SchedEdit {
    /// The epoch of the snapshot that first has it.
    pub epoch: u64,
    /// Its place among all edits and makings of scheduler states; see
    /// [`service::SchedCells::fresh_at`].
    pub serial: u64,
    /// The service.
    pub service: ServiceId,
    /// What changed.
    pub edit: sched::Edit,
}

/// All that a worker knows of the rules and the world.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts snapshots.
    pub epoch: u64,
    /// Counts changes that connections must be judged anew for: destinations, routes, lost
    /// neighbours.
    pub generation: u32,
    /// The services.
    pub services: Services,
    /// Which packets bear which firewall mark.
    pub marks: Arc<Marks>,
    /// The destinations, by slot.
    pub dests: CowArray<DestInfo>,
    /// The addresses of those whose packets are rewritten on their way back.
    pub servers: Servers,
    /// FULLNAT's local addresses, by slot; one stays while any connection may name it.
    pub locals: CowArray<Option<Arc<LocalAddress>>>,
    /// Routes, next hops and ports.
    pub paths: Paths,
    /// Timeouts and switches.
    pub tunables: Tunables,
    /// Recent edits, oldest first: all that some worker may not have seen.
    pub edits: Arc<Vec<SchedEdit>>,
}

impl Snapshot {
    /// A destination's facts.
    #[inline]
    pub fn dest(&self, id: DestId) -> Option<&DestInfo> {
        self.dests.get(id.index())
    }
}
