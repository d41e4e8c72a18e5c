//! Following the rules: the work of a worker that sees a new snapshot for the first time.
//!
//! Scheduler state survives edits, as in Linux. The edits that the worker has not seen are replayed
//! on its own state, in order. A worker may have skipped snapshots; the newest one has the edits of
//! all of them.

use std::sync::Arc;

use sched::DestId;

use crate::epoch::WorkerToken;
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;

/// Brings this worker's scheduler states from `old` to `new`. Allocates nothing.
pub(crate) fn follow(old: &Snapshot, new: &Snapshot, token: &mut WorkerToken, stats: &WorkerStats) {
    let first = new.edits.partition_point(|edit| edit.epoch <= old.epoch);
    let unseen = &new.edits[first..];
    for edit in unseen {
        relieve(old, new, edit.edit.dest, stats);
    }
    // If a list outgrew a state, move the worker's values to the larger state. This happens once
    // for each service, before its edits are replayed.
    for (at, edit) in unseen.iter().enumerate() {
        let (Some(was), Some(is)) = (old.services.by_id(edit.service), new.services.by_id(edit.service))
        else {
            continue;
        };
        if Arc::ptr_eq(&was.cells, &is.cells) || was.cells.fresh_at != is.cells.fresh_at {
            continue;
        }
        if unseen[..at].iter().any(|earlier| earlier.service == edit.service) {
            continue;
        }
        if let Some((new_state, old_state)) = is.cells.states.pair_mut(&was.cells.states, token) {
            new_state.adopt(old_state);
        }
    }
    for edit in unseen {
        let Some(service) = new.services.by_id(edit.service) else { continue };
        if edit.serial > service.cells.fresh_at {
            service.cells.states.get_mut(token).replay(&edit.edit);
        }
    }
    for edit in unseen {
        if let Some(service) = new.services.by_id(edit.service) {
            service.cells.states.get_mut(token).rebase(&service.plan);
        }
    }
}

/// Clears a destination's overload if an edit has removed or raised its upper threshold, whatever
/// its number of connections (`ip_vs_ctl.c: __ip_vs_update_dest`). A new destination in an old slot
/// is not overloaded either.
fn relieve(old: &Snapshot, new: &Snapshot, dest: DestId, stats: &WorkerStats) {
    let (Some(info), Some(counts)) = (new.dest(dest), stats.dest(dest)) else { return };
    let raised = old.dest(dest).is_none_or(|before| before.raised != info.raised);
    if raised || counts.active.get() + counts.inactive.get() == 0 {
        counts.overloaded.set(0);
    }
}
