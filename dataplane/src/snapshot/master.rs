//! Control's own copy of the rules. Snapshots are released from it.
//!
//! Control changes the master piece by piece and then releases it, so workers see a change
//! completely or not at all. The master also keeps recent edits of destination lists until every
//! worker has seen them. And it makes larger scheduler states if a list no longer fits them. It
//! belongs to one control thread.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::Weak;
use std::vec::Vec;

use hashbrown::HashMap;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Flags;
use sched::Kind;
use sched::MhSize;
use sched::Options;
use sched::Plan;
use sched::PlanError;
use sched::Room;
use sched::Stagger;
use sched::State;

use crate::epoch::PerWorker;
use crate::epoch::Workers;
use crate::local::LocalAddress;
use crate::marks::Marks;
use crate::snapshot::SchedEdit;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::route::Paths;
use crate::snapshot::service::Persistence;
use crate::snapshot::service::SchedCells;
use crate::snapshot::service::Selector;
use crate::snapshot::service::Service;
use crate::snapshot::service::ServiceId;
use crate::snapshot::tunables::Tunables;

/// A service without its destinations.
#[derive(Clone, Debug)]
pub struct ServiceFacts {
    /// Its slot.
    pub id: ServiceId,
    /// Which packets it serves.
    pub key: Selector,
    /// Scheduler.
    pub kind: Kind,
    /// Scheduler flags.
    pub flags: Flags,
    /// Persistence (`-p`).
    pub persistence: Option<Persistence>,
    /// One-packet scheduling (`-o`).
    pub one_packet: bool,
    /// Slots of FULLNAT's local addresses.
    pub locals: Vec<u32>,
}

/// The rules as control holds them. A copy is cheap, so a copy can be kept to go back to.
#[derive(Clone, Debug)]
pub struct Master {
    current: Snapshot,
    workers: Workers,
    rooms: HashMap<ServiceId, Room>,
    /// Counts edits of destination lists and new scheduler states.
    serial: u64,
    /// Plans that have lookup tables, indexed by a fingerprint of the tables' input. Services with
    /// the same servers share a table.
    tables: HashMap<u64, Weak<Plan>>,
    mh_size: MhSize,
}

impl Master {
    /// A master without rules. `mh_size` is the size of the lookup tables of `mh`.
    pub fn new(workers: Workers, mh_size: MhSize) -> Self {
        let (rooms, tables) = (HashMap::new(), HashMap::new());
        Self { current: Snapshot::default(), workers, rooms, serial: 0, tables, mh_size }
    }

    /// The rules with all changes, also those that are not released yet.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.current
    }

    /// Routes, next hops and ports, mutable.
    pub const fn paths_mut(&mut self) -> &mut Paths {
        &mut self.current.paths
    }

    /// Timeouts and switches, mutable. All connections are judged again, because timers may end
    /// earlier.
    pub const fn tunables_mut(&mut self) -> &mut Tunables {
        self.rejudge();
        &mut self.current.tunables
    }

    /// Has every connection judged again when its next packet comes. Call it after a change of
    /// routes, adjacencies or availability.
    pub const fn rejudge(&mut self) {
        self.current.generation = self.current.generation.wrapping_add(1);
    }

    /// Adds a service, or edits the one in its slot. A service that keeps its scheduler keeps the
    /// scheduler's state.
    pub fn set_service(&mut self, spec: &ServiceFacts, dests: Vec<Dest>) -> Result<(), PlanError> {
        let plan = self.plan(spec.kind, spec.flags, dests)?;
        let kept = self.current.services.by_id(spec.id).filter(|old| old.plan.kind() == spec.kind);
        let cells = match kept {
            Some(old) => old.cells.clone(),
            None => {
                self.serial += 1;
                self.fresh_cells(spec.id, &plan, self.serial)
            }
        };
        self.place(spec, plan, cells);
        Ok(())
    }

    /// Replaces the destination list of a service by `dests`. `edit` is the change that led to it.
    pub fn set_dests(&mut self, id: ServiceId, dests: Vec<Dest>, edit: Edit) -> Result<(), PlanError> {
        let Some(old) = self.current.services.by_id(id).cloned() else { return Ok(()) };
        let plan = self.plan(old.plan.kind(), old.plan.flags(), dests)?;
        let cells = match self.rooms.get(&id) {
            Some(room) if room.holds(&plan) => old.cells.clone(),
            // These states are larger. The workers move their values into them and replay the edits
            // that came since.
            _ => self.fresh_cells(id, &plan, old.cells.fresh_at),
        };
        let service = Service {
            id,
            key: old.key,
            plan,
            cells,
            persistence: old.persistence,
            one_packet: old.one_packet,
            locals: old.locals.clone(),
        };
        self.current.services.set(Arc::new(service));
        self.serial += 1;
        let edit = SchedEdit { epoch: self.current.epoch + 1, serial: self.serial, service: id, edit };
        Arc::make_mut(&mut self.current.edits).push(edit);
        Ok(())
    }

    /// Removes a service. The facts about its destinations stay until control replaces them.
    pub fn remove_service(&mut self, id: ServiceId) {
        self.current.services.remove(id);
        self.rooms.remove(&id);
    }

    /// Replaces the facts about a destination.
    pub fn set_dest(&mut self, id: DestId, info: DestInfo) {
        // If the service does not exist yet, it may get any scheduler.
        let weighed = self
            .current
            .services
            .by_id(info.service)
            .is_none_or(|service| service.plan.kind().remembers_loads());
        let slot = self.current.dests.entry(id.index());
        let judged_anew = (slot.available, slot.hop) != (info.available, info.hop);
        let raised = info.upper == 0 || info.upper > slot.upper;
        self.current.servers.follow(slot, &info);
        *slot = DestInfo { raised: slot.raised.wrapping_add(raised.into()), weighed, ..info };
        if judged_anew {
            self.rejudge();
        }
    }

    /// Forgets the facts about a deleted destination. No connection names it any more.
    pub fn forget_dest(&mut self, id: DestId) {
        let slot = self.current.dests.entry(id.index());
        self.current.servers.follow(slot, &DestInfo::default());
        *slot = DestInfo { raised: slot.raised, ..DestInfo::default() };
    }

    /// Adds a FULLNAT local address in `slot`, with all its ports free. It is never removed.
    pub fn set_local(&mut self, slot: u32, addr: core::net::Ipv4Addr) {
        let local = LocalAddress::new(addr, slot, self.workers);
        *self.current.locals.entry(slot as usize) = Some(Arc::new(local));
    }

    /// Replaces the mark rules. Connections stay as they are, because a mark is looked up only when
    /// one is made.
    pub fn set_marks(&mut self, marks: Arc<Marks>) {
        self.current.marks = marks;
    }

    /// Returns the next snapshot. `seen` is an epoch that every worker has reached. Edits of this
    /// epoch and older ones are forgotten.
    pub fn release(&mut self, seen: u64) -> Snapshot {
        self.current.epoch += 1;
        if self.current.edits.first().is_some_and(|edit| edit.epoch <= seen) {
            Arc::make_mut(&mut self.current.edits).retain(|edit| edit.epoch > seen);
        }
        self.current.clone()
    }

    /// Builds a plan. If another service has the same lookup table, they share it.
    fn plan(&mut self, kind: Kind, flags: Flags, dests: Vec<Dest>) -> Result<Arc<Plan>, PlanError> {
        if !matches!(kind, Kind::Sh | Kind::Mh) {
            return Ok(Arc::new(Plan::build(kind, flags, dests)?));
        }
        let mark = fingerprint(kind, &dests);
        let like = self.tables.get(&mark).and_then(Weak::upgrade);
        let options = Options { mh_size: self.mh_size, like: like.as_deref() };
        let plan = Arc::new(Plan::build_with(kind, flags, dests, options)?);
        self.tables.insert(mark, Arc::downgrade(&plan));
        if self.tables.len() > 2 * self.rooms.len() + FORGET {
            self.tables.retain(|_, plan| plan.strong_count() != 0);
        }
        Ok(plan)
    }

    fn place(&mut self, spec: &ServiceFacts, plan: Arc<Plan>, cells: Arc<SchedCells>) {
        let weighed = plan.kind().remembers_loads();
        for dest in plan.dests() {
            if self.current.dest(dest.id).is_some_and(|info| info.weighed != weighed) {
                self.current.dests.entry(dest.id.index()).weighed = weighed;
            }
        }
        let locals = spec.locals.iter().filter_map(|&slot| self.current.locals.get(slot as usize)?.clone());
        let service = Service {
            id: spec.id,
            key: spec.key,
            plan,
            cells,
            persistence: spec.persistence,
            one_packet: spec.one_packet,
            locals: locals.collect(),
        };
        self.current.services.set(Arc::new(service));
    }

    fn fresh_cells(&mut self, id: ServiceId, plan: &Plan, fresh_at: u64) -> Arc<SchedCells> {
        let count = self.workers.count() as u32;
        let mut states =
            PerWorker::new(self.workers, |worker| State::new(plan, Stagger::new(worker as u32, count)));
        if let Some(state) = states.each_mut().next() {
            self.rooms.insert(id, state.room());
        }
        Arc::new(SchedCells { states, fresh_at })
    }
}

/// How many fingerprints of freed plans may be kept before they are removed.
const FORGET: usize = 64;

/// A hash of the input of the lookup tables of `sh` and `mh`. Equal fingerprints do not prove equal
/// tables, so the tables are compared too.
fn fingerprint(kind: Kind, dests: &[Dest]) -> u64 {
    let mut hasher = DefaultHasher::new();
    kind.name().hash(&mut hasher);
    for dest in dests {
        let weight = if kind == Kind::Mh { dest.last_weight } else { dest.weight };
        (dest.addr, dest.port, weight).hash(&mut hasher);
    }
    hasher.finish()
}
