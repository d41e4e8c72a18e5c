//! How connections end: timers that are only looked at when due, and what an end undoes.
//!
//! A packet stamps `expires` and no more. The wheel holds one valid record a connection, due at
//! `wheel_at`; when it comes due the connection is looked at: over, or wound up again for its
//! present end. Only a state that shortens the life needs an earlier record.

use arrayvec::ArrayVec;
use sched::DestId;

use crate::BURST;
use crate::conn::entry::Cold;
use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::entry::Hot;
use crate::conn::entry::NONE;
use crate::conn::table::Approach;
use crate::conn::tcp::TcpState;
use crate::conn::track::Track;
use crate::conn::wheel::Due;
use crate::local::LocalAddress;
use crate::snapshot::Snapshot;
use crate::time::Ticks;
use crate::worker::defence::is_half_open;
use crate::worker::flows::Flows;

/// Records handled together: as many as connections can be made in a poll of two ports.
const BATCH: usize = 2 * BURST;
/// In the place of a record's time: there is none.
const NO_RECORD: Ticks = Ticks::new(0);

/// A batch of due records on its way.
#[derive(Debug, Default)]
pub(super) struct DueBatch {
    records: ArrayVec<Due, BATCH>,
    /// Whether what their end touches has been sent for.
    keys_fetched: bool,
    /// Where the keys are of those that are over.
    ending: ArrayVec<[Approach; 2], BATCH>,
}

/// How long an end is put off while other connections hang on this one (`ip_vs_conn.c:
/// ip_vs_conn_expire`).
const POSTPONED: u32 = 60 * Ticks::PER_SECOND;

impl Flows {
    /// Ends what is over, a batch of due records at a time; how many records there were, so 0 when
    /// none is due. In a poll that carried packets (`busy`) it takes one step and leaves the
    /// others to the polls that follow: what a step has fetched is there by the next.
    pub(crate) fn expire(&mut self, snapshot: &Snapshot, busy: bool) -> usize {
        if !busy {
            self.pop_due();
            self.fetch_keys();
        }
        let mut done = self.due.records.len();
        if self.due.keys_fetched {
            self.handle_due(snapshot);
        } else if !self.due.records.is_empty() {
            self.fetch_keys();
        }
        if busy && self.due.records.is_empty() {
            done += self.pop_due();
            if self.due.records.is_full() {
                // A backlog: a batch a poll, however long its lines take.
                self.fetch_keys();
            }
        }
        done
    }

    /// Takes the next batch of due records, if there is none at hand, and has their connections
    /// fetched.
    fn pop_due(&mut self) -> usize {
        if !self.due.records.is_empty() {
            return 0;
        }
        self.wheel.pop_due(self.now, &mut self.due.records);
        for record in &self.due.records {
            self.table.prefetch_hot(ConnId::new(record.id));
        }
        self.due.records.len()
    }

    /// Has what removing the batch's connections will touch fetched, of those that are over.
    fn fetch_keys(&mut self) {
        self.due.ending.clear();
        for record in &self.due.records {
            let id = ConnId::new(record.id);
            if self.table.hot(id).expires.not_after(self.now) {
                self.due.ending.push(self.table.prefetch_keys(id));
            }
            if self.table.hot(id).flags.bits() & (Flags::TIED.bits() | Flags::FAR.bits()) != 0 {
                self.table.prefetch_cold(id);
            }
        }
        self.due.keys_fetched = true;
    }

    fn handle_due(&mut self, snapshot: &Snapshot) {
        let mut ended = 0;
        for approaches in self.due.ending.drain(..) {
            self.table.prefetch_keys_away(approaches);
        }
        for nth in 0..self.due.records.len() {
            let record = self.due.records[nth];
            ended += u64::from(self.fall_due(snapshot, record));
        }
        self.due.records.clear();
        self.due.keys_fetched = false;
        if ended != 0 {
            self.stats.expired.add(ended);
        }
    }

    /// Looks at the connection of a due record; whether it ended.
    fn fall_due(&mut self, snapshot: &Snapshot, record: Due) -> bool {
        let id = ConnId::new(record.id);
        let Track { wheel_at, flags, .. } = self.table.hot(id).track;
        // The record is in the wheel no longer, whosever it is now.
        if wheel_at != record.at {
            if flags.has(Flags::FAR) && self.table.cold(id).wheel_far == record.at {
                self.table.hot_mut(id).flags = flags.without(Flags::FAR);
            }
            return false;
        }
        let (live, over) = (self.table.is_live(id), self.table.hot(id).expires.not_after(self.now));
        let ends = live && over && (!flags.has(Flags::TIED) || self.table.cold(id).controlled == 0);
        if ends {
            self.end(snapshot, id);
        }
        // Not before: the whole line is read then, and would wait for this store.
        self.table.hot_mut(id).wheel_at = NO_RECORD;
        if ends || !live {
            return ends;
        }
        if over {
            // From now on this is its timeout, as in Linux: the next use of a template winds it no
            // further.
            self.table.cold_mut(id).timeout = POSTPONED;
            self.table.hot_mut(id).expires = self.now.plus(POSTPONED);
        }
        if self.claim_record(id) {
            return false;
        }
        match self.wheel.renew(id.as_u32(), self.table.hot(id).expires) {
            Some(at) => self.table.hot_mut(id).wheel_at = at,
            // The wheel keeps room for this; a connection without a record would never end.
            None => self.end(snapshot, id),
        }
        false
    }

    /// Sees to it that a new connection has a record; false when there is no room for one.
    pub(crate) fn start_timer(&mut self, id: ConnId) -> bool {
        if self.claim_record(id) {
            return true;
        }
        let made = self.wheel.schedule(id.as_u32(), self.table.hot(id).expires);
        if let Some(at) = made {
            self.put_before(id, at);
        }
        made.is_some()
    }

    /// Makes sure that the connection is looked at in time, after its end may have come nearer.
    pub(crate) fn wind(&mut self, id: ConnId) {
        let Track { expires, wheel_at, .. } = self.table.hot(id).track;
        if wheel_at.not_after(expires) {
            return;
        }
        // Without room for another record the old, later one serves: at most one horizon late.
        let at = self.wheel.hasten(id.as_u32(), expires, wheel_at);
        if at != wheel_at {
            self.put_before(id, at);
        }
    }

    /// Whether a record that the slot already has in the wheel comes soon enough; it is then the
    /// valid one. Without this, connections that end before their time (a port used again, a
    /// reset) would fill the wheel with records that mean nothing.
    fn claim_record(&mut self, id: ConnId) -> bool {
        let (now, Track { expires, wheel_at, flags, .. }) = (self.now, self.table.hot(id).track);
        // What lies ahead has not been popped: the wheel gives out what is due and no more.
        let wanted = self.wheel.due_for(expires);
        let serves = |at: Ticks| at.since(now) > 0 && at.not_after(wanted) && at != NO_RECORD;
        if !serves(wheel_at) {
            let far = if flags.has(Flags::FAR) { self.table.cold(id).wheel_far } else { NO_RECORD };
            if !serves(far) {
                return false;
            }
            let hot = self.table.hot_mut(id);
            hot.wheel_at = far;
            hot.flags = flags.without(Flags::FAR);
        }
        true
    }

    /// Notes a new record, `at`, that comes before the one there may be.
    fn put_before(&mut self, id: ConnId, at: Ticks) {
        let hot = self.table.hot_mut(id);
        let old = core::mem::replace(&mut hot.wheel_at, at);
        if old.since(self.now) > 0 {
            hot.flags = hot.flags.with(Flags::FAR);
            self.table.cold_mut(id).wheel_far = old;
        }
    }

    /// Ends a connection now (`ip_vs_conn.c: ip_vs_conn_expire, ip_vs_unbind_dest`).
    pub(crate) fn end(&mut self, snapshot: &Snapshot, id: ConnId) {
        let old = self.unlink(snapshot, id);
        self.unbind(snapshot, &old);
    }

    /// Takes a connection out of the table; its destination still counts it.
    pub(crate) fn unlink(&mut self, snapshot: &Snapshot, id: ConnId) -> Hot {
        let hot = *self.table.hot(id);
        if is_half_open(&hot) {
            self.defence.note(TcpState::from_raw(hot.state), TcpState::None);
        }
        self.table.remove(id);
        if hot.flags.has(Flags::TIED) {
            let Cold { control, local, .. } = *self.table.cold(id);
            if control != NONE {
                self.note_end(&hot, control);
                let control = self.table.cold_mut(ConnId::new(control));
                control.controlled = control.controlled.saturating_sub(1);
            }
            self.note_port(snapshot, local, LocalAddress::given_back);
        }
        self.stats.connections.set(self.table.len());
        self.stats.ended.add(1);
        hot
    }

    /// Has the destination of a connection no longer count it.
    pub(crate) fn unbind(&mut self, snapshot: &Snapshot, hot: &Hot) {
        let dest = DestId::new(hot.dest);
        let Some(stats) = self.stats.dest(dest) else { return };
        if hot.flags.has(Flags::TEMPLATE) {
            stats.persistent.down();
            return;
        }
        if hot.flags.has(Flags::INACTIVE) {
            stats.inactive.down()
        } else {
            stats.active.down()
        }
        let conns = stats.active.get() + stats.inactive.get();
        if stats.overloaded.get() != 0 && snapshot.dest(dest).is_none_or(|info| info.recovers(conns)) {
            stats.overloaded.set(0);
        }
        self.load_changed(snapshot, dest);
    }
}
