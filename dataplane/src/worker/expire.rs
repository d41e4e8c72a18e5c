//! How connections end: by timers that are checked when they are due. The end of a connection also
//! undoes its effects on others.
//!
//! A packet only stamps `expires`. The wheel holds one valid record for each connection, due at
//! `wheel_at`. When the record is due, the connection is checked: it ends, or it gets a new record
//! for its present `expires`. Only a state with a shorter timeout needs an earlier record.

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

/// How many records are handled together: as many as connections can be made with one burst from
/// each of two ports.
const BATCH: usize = 2 * BURST;
/// Stands for "no record" in a record's time.
const NO_RECORD: Ticks = Ticks::new(0);

/// A batch of due records that is being handled.
#[derive(Debug, Default)]
pub(super) struct DueBatch {
    records: ArrayVec<Due, BATCH>,
    /// Whether the lines that the end of these connections touches are being fetched.
    keys_fetched: bool,
    /// Where the keys of the connections that end are in the index.
    ending: ArrayVec<[Approach; 2], BATCH>,
}

/// How long the end of a connection is delayed while others hang on it, in ticks
/// (`ip_vs_conn.c: ip_vs_conn_expire`).
const POSTPONED: u32 = 60 * Ticks::PER_SECOND;

impl Flows {
    /// Checks a batch of due records, and ends the connections whose time is over. Returns the
    /// number of records; 0 means that none is due. In a poll that carried packets (`busy`) it
    /// takes only one step, and later calls take the next ones. Lines that one step has fetched
    /// have arrived when the next step runs.
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
                // Many records wait. So handle a batch in each call, even if it must wait for
                // memory.
                self.fetch_keys();
            }
        }
        done
    }

    /// Takes the next batch of due records, if the last one is done, and has their hot lines
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

    /// Has the lines fetched that the end of the batch's connections touches.
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

    /// Checks the connection of a due record. Returns whether it ended.
    fn fall_due(&mut self, snapshot: &Snapshot, record: Due) -> bool {
        let id = ConnId::new(record.id);
        let Track { wheel_at, flags, .. } = self.table.hot(id).track;
        // The record is no longer in the wheel. It may belong to an earlier connection of the slot.
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
        // This store must come after `end`: `end` reads the whole line and would have to wait for
        // the store.
        self.table.hot_mut(id).wheel_at = NO_RECORD;
        if ends || !live {
            return ends;
        }
        if over {
            // From now on this is the timeout of the template, as in Linux. Its next use extends it
            // only by this.
            self.table.cold_mut(id).timeout = POSTPONED;
            self.table.hot_mut(id).expires = self.now.plus(POSTPONED);
        }
        if self.claim_record(id) {
            return false;
        }
        match self.wheel.renew(id.as_u32(), self.table.hot(id).expires) {
            Some(at) => self.table.hot_mut(id).wheel_at = at,
            // This cannot happen, because the wheel keeps room for the record. A connection without
            // a record would never end.
            None => self.end(snapshot, id),
        }
        false
    }

    /// Ensures that a new connection has a record in the wheel. Returns false if there is no room
    /// for one.
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

    /// Ensures that the connection is checked in time. Call it when its timeout may have become
    /// shorter.
    pub(crate) fn wind(&mut self, id: ConnId) {
        let Track { expires, wheel_at, .. } = self.table.hot(id).track;
        if wheel_at.not_after(expires) {
            return;
        }
        // If there is no room for another record, the old one stays valid. The connection then ends
        // late, by at most one horizon.
        let at = self.wheel.hasten(id.as_u32(), expires, wheel_at);
        if at != wheel_at {
            self.put_before(id, at);
        }
    }

    /// Whether the slot already has a record in the wheel that is due early enough. If so, makes it
    /// the valid one. Otherwise connections that end early (a port used again, a reset) would fill
    /// the wheel with stale records.
    fn claim_record(&mut self, id: ConnId) -> bool {
        let (now, Track { expires, wheel_at, flags, .. }) = (self.now, self.table.hot(id).track);
        // A record whose time is later than now is still in the wheel, because the wheel pops only
        // due records.
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

    /// Notes a new record that is due at `at`, earlier than the present one.
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

    /// Removes a connection from the table. Its destination still counts it.
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

    /// Its destination no longer counts the connection.
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
