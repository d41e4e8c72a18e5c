//! The timer wheel: says which entries to look at, not which are dead.
//!
//! A packet never touches it. It only stamps `hot.expires`; when the entry's record comes due the
//! worker compares, and either ends the connection or records it anew. One worker makes the wheel,
//! owns it and alone touches it. All memory is taken when it is made; it never grows.
//!
//! 256 slots of 250 ms make a horizon of 64 s. A record is an id; its due time is that of its slot.
//! Later times are cut to the horizon and judged again then. Records lie in chunks of four cache
//! lines: about as many are looked at together, and meanwhile the next chunk is fetched.
//!
//! **The protocol.** Whoever schedules stores the due time that [`Wheel::schedule`] gives back in
//! `hot.wheel_at`. A record is valid if the slot is live and `hot.wheel_at == due.at`; else it is
//! stale and dropped. Whoever takes a valid record removes the entry or calls [`Wheel::renew`],
//! before the next [`Wheel::pop_due`]. When a timeout
//!
//! * lengthens, nothing is done: the record comes early and the entry is recorded anew;
//! * shortens to an earlier slot, the entry gets a second record, and the first is stale from then
//!   on ([`Wheel::hasten`]). When there is no room for it, the entry keeps the later record: it
//!   ends late, never early. `wheel_at` is rounded up and mostly lies a little after `expires`, so
//!   comparing the two would add a record with every packet; slots must be compared.
//!
//! **Why stale records do no harm.** New records only ever go to slots due at `front` or later, and
//! everything popped was due before `front`. So while a record is at large no later tenant of its
//! slot id has the same `wheel_at`, unless both were scheduled for the same slot before it came
//! due. Then the first of the two to be popped is as good as the other, for both say "look at this
//! id now", and handling it either ends the entry or moves `wheel_at` to `front` or later, which
//! makes the second stale.
//!
//! **Room.** The pool holds two records for each connection. Records just popped keep their room
//! until the next [`Wheel::pop_due`], so that renewing one cannot fail; only a new or a second
//! record can.

use arrayvec::ArrayVec;

use crate::conn::entry::NONE;
use crate::conn::table::pages::Pages;
use crate::conn::table::prefetch;
use crate::time::Ticks;

/// Ticks in a slot: 250 ms.
pub const SLOT_TICKS: u32 = 25;
const SLOTS: usize = 256;
/// Ids in a chunk.
const IDS: usize = 61;
/// Bytes in a cache line.
const LINE: usize = 64;

/// A record that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The entry to look at, if the record is valid.
    pub id: u32,
    /// The record's due time: the entry's `wheel_at` if the record is valid.
    pub at: Ticks,
}

/// Ids due at the same time.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Chunk {
    /// The next chunk of the same chain, or of the free ones.
    next: u32,
    at: Ticks,
    /// Ids in it, from the front; good once it is part of the backlog.
    len: u32,
    ids: [u32; IDS],
}

const _: () = assert!(size_of::<Chunk>() == 4 * LINE);

/// Chunks in the order they were filled.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
    /// Ids in the last chunk, or [`IDS`] when there is no chunk.
    fill: u32,
}

impl Chain {
    const EMPTY: Self = Self { first: NONE, last: NONE, fill: IDS as u32 };
}

/// A worker's timers.
pub struct Wheel {
    chunks: Pages<Chunk>,
    first_free: u32,
    slots: [Chain; SLOTS],
    /// The slot that comes due next, at `front`.
    cursor: u8,
    front: Ticks,
    /// What has come due and was not popped yet; all of it before `front`.
    backlog: Chain,
    /// Ids already popped from the backlog's first chunk.
    popped: usize,
    /// Records held.
    len: usize,
    /// Records that `schedule` leaves room for: those popped last and not renewed.
    owed: usize,
    room: usize,
}

impl Wheel {
    /// A wheel for `capacity` entries, ids below `capacity`, that starts at `now`.
    pub fn new(capacity: u32, now: Ticks) -> Self {
        let room = 2 * capacity as usize;
        // Part-filled are at most: the last chunk of each slot, the last that each brought to the
        // backlog, and the backlog's first.
        let chunks = (room.div_ceil(IDS) + 2 * SLOTS + 1) as u32;
        let link = |chunk: u32| if chunk + 1 < chunks { chunk + 1 } else { NONE };
        Self {
            chunks: Pages::new(chunks as usize, |n| Chunk {
                next: link(n as u32),
                at: now,
                len: 0,
                ids: [NONE; IDS],
            }),
            first_free: 0,
            slots: [Chain::EMPTY; SLOTS],
            cursor: 0,
            front: now.plus(SLOT_TICKS),
            backlog: Chain::EMPTY,
            popped: 0,
            len: 0,
            owed: 0,
            room,
        }
    }

    /// Records that `id` is to be looked at when `at` has come. Gives back the record's due time:
    /// `at` rounded up to a slot, or the horizon if that is earlier. `None` when there is no
    /// room.
    pub fn schedule(&mut self, id: u32, at: Ticks) -> Option<Ticks> {
        if self.len + self.owed >= self.room {
            return None;
        }
        self.record(id, at)
    }

    /// Records anew an entry whose record was popped by the last [`Self::pop_due`]. Has room for
    /// each of those once; `None` only beyond that, when the wheel is full.
    pub fn renew(&mut self, id: u32, at: Ticks) -> Option<Ticks> {
        self.owed = self.owed.saturating_sub(1);
        self.schedule(id, at)
    }

    /// Sees to it that `id`, whose valid record is due at `held`, is looked at by `at`, rounded up:
    /// makes an earlier record if that takes one. Gives back when the valid record is due from
    /// now on.
    #[must_use]
    pub fn hasten(&mut self, id: u32, at: Ticks, held: Ticks) -> Ticks {
        let (_, due) = self.slot_for(at);
        if held.not_after(due) { held } else { self.schedule(id, at).unwrap_or(held) }
    }

    /// When a record for `at` would come due.
    pub fn due_for(&self, at: Ticks) -> Ticks {
        self.slot_for(at).1
    }

    /// Takes the records that are due by `now`, oldest first, until `out` is full: when it is not
    /// full afterwards, no more are due. What is left over comes first next time.
    pub fn pop_due<const N: usize>(&mut self, now: Ticks, out: &mut ArrayVec<Due, N>) {
        self.owed = 0;
        loop {
            if self.backlog.first == NONE {
                self.turn(now);
            }
            let first = self.backlog.first as usize;
            if self.popped == 0
                && let Some(chunk) = self.chunks.get(first)
            {
                self.prefetch(chunk.next);
            }
            let Some(chunk) = self.chunks.get_mut(first) else { return };
            let ids = chunk.ids[..chunk.len as usize].get(self.popped..).unwrap_or_default();
            let taken = ids.len().min(out.remaining_capacity());
            out.extend(ids[..taken].iter().map(|id| Due { id: *id, at: chunk.at }));
            self.popped += taken;
            self.len -= taken;
            self.owed += taken;
            if taken < ids.len() {
                return;
            }
            let next = core::mem::replace(&mut chunk.next, self.first_free);
            self.first_free = core::mem::replace(&mut self.backlog.first, next);
            self.popped = 0;
        }
    }

    /// Records held, valid or stale.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no record is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory taken when the wheel was made.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.chunks.memory_bytes()
    }

    /// Moves all slots due by `now` to the backlog, which must be empty. At most one turn of the
    /// wheel, however far `now` is: after that all slots are empty.
    fn turn(&mut self, now: Ticks) {
        let Ok(late) = u32::try_from(now.since(self.front)) else { return };
        let steps = late / SLOT_TICKS + 1;
        self.backlog = Chain::EMPTY;
        for step in 0..steps.min(SLOTS as u32) {
            let slot = self.cursor.wrapping_add(step as u8);
            let chain = core::mem::replace(&mut self.slots[usize::from(slot)], Chain::EMPTY);
            let Some(last) = self.chunks.get_mut(chain.last as usize) else { continue };
            last.len = chain.fill;
            match self.backlog.first {
                NONE => self.backlog = chain,
                _ => {
                    self.chunks[self.backlog.last as usize].next = chain.first;
                    self.backlog.last = chain.last;
                }
            }
        }
        self.cursor = self.cursor.wrapping_add(steps as u8);
        self.front = self.front.plus(steps * SLOT_TICKS);
    }

    /// Has a chunk fetched, if there is such a one.
    fn prefetch(&self, chunk: u32) {
        let Some(chunk) = self.chunks.get(chunk as usize) else { return };
        // The header's line, then an id of each other line.
        prefetch(core::slice::from_ref(chunk), 0);
        for line in 1..4 {
            prefetch(&chunk.ids, line * LINE / size_of::<u32>());
        }
    }

    /// The slot for records at `at`, and when it comes due.
    fn slot_for(&self, at: Ticks) -> (usize, Ticks) {
        let ahead = u32::try_from(at.since(self.front)).unwrap_or(0);
        let ahead = ahead.div_ceil(SLOT_TICKS).min(SLOTS as u32 - 1);
        (usize::from(self.cursor.wrapping_add(ahead as u8)), self.front.plus(ahead * SLOT_TICKS))
    }

    fn record(&mut self, id: u32, at: Ticks) -> Option<Ticks> {
        let (slot, due) = self.slot_for(at);
        let chain = &mut self.slots[slot];
        if chain.fill as usize == IDS {
            let fresh = self.first_free;
            // Always there: see the count of chunks in `new`.
            let chunk = self.chunks.get_mut(fresh as usize)?;
            self.first_free = core::mem::replace(&mut chunk.next, NONE);
            chunk.at = due;
            chunk.len = IDS as u32;
            prefetch(&self.chunks, self.first_free as usize);
            match chain.first {
                NONE => chain.first = fresh,
                _ => self.chunks[chain.last as usize].next = fresh,
            }
            chain.last = fresh;
            chain.fill = 0;
        }
        self.chunks[chain.last as usize].ids[chain.fill as usize] = id;
        chain.fill += 1;
        self.len += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pop(wheel: &mut Wheel, now: Ticks) -> Vec<Due> {
        let mut out = ArrayVec::<_, 32>::new();
        wheel.pop_due(now, &mut out);
        out.to_vec()
    }

    fn pop_all(wheel: &mut Wheel, now: Ticks) -> Vec<Due> {
        let mut all = Vec::new();
        loop {
            let some = pop(wheel, now);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    #[test]
    fn a_record_comes_when_its_slot_is_over_and_not_before() {
        let start = Ticks::new(u32::MAX - 30);
        let mut wheel = Wheel::new(10, start);
        assert_eq!(wheel.schedule(7, start.plus(26)), Some(start.plus(50)));
        assert_eq!(pop(&mut wheel, start.plus(49)), []);
        assert_eq!(pop(&mut wheel, start.plus(50)), [Due { id: 7, at: start.plus(50) }]);
        assert_eq!(pop(&mut wheel, start.plus(5000)), []);
    }

    #[test]
    fn a_far_time_is_cut_to_the_horizon_and_a_past_one_comes_next() {
        let mut wheel = Wheel::new(10, Ticks::new(1000));
        assert_eq!(wheel.schedule(1, Ticks::from_secs(3600)), Some(Ticks::new(1000 + 256 * SLOT_TICKS)));
        assert_eq!(wheel.schedule(2, Ticks::new(3)), Some(Ticks::new(1000 + SLOT_TICKS)));
    }

    #[test]
    fn the_second_record_of_an_id_in_one_slot_is_stale_once_the_first_was_handled() {
        let mut wheel = Wheel::new(10, Ticks::new(0));
        let at = wheel.schedule(4, Ticks::new(90)).unwrap();
        assert_eq!(wheel.schedule(4, Ticks::new(80)), Some(at));
        assert_eq!(pop(&mut wheel, at), [Due { id: 4, at }; 2]);
        // Even when it wants to be looked at in the past: the slot is a later one.
        assert!(wheel.renew(4, Ticks::new(1)).unwrap().since(at) > 0);
    }

    #[test]
    fn only_an_earlier_slot_takes_a_second_record() {
        let mut wheel = Wheel::new(10, Ticks::new(0));
        let held = wheel.schedule(4, Ticks::new(90)).unwrap();
        for at in [80, 90, 99, 100, 101, 9000] {
            assert_eq!(wheel.hasten(4, Ticks::new(at), held), held);
        }
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.hasten(4, Ticks::new(75), held), Ticks::new(75));
        assert_eq!(wheel.len(), 2);
        for n in 0..18 {
            wheel.schedule(n, Ticks::new(900)).unwrap();
        }
        assert_eq!(wheel.hasten(4, Ticks::new(50), Ticks::new(75)), Ticks::new(75));
    }

    #[test]
    fn a_full_wheel_refuses_new_records_and_renews_popped_ones() {
        let mut wheel = Wheel::new(100, Ticks::new(0));
        // Each in a slot of its own as far as there are slots: the most part-filled chunks.
        for n in 0..200 {
            assert!(wheel.schedule(n, Ticks::new(SLOT_TICKS * (n + 1))).is_some());
        }
        assert_eq!(wheel.schedule(9, Ticks::new(1)), None);
        let due = pop(&mut wheel, Ticks::new(10 * SLOT_TICKS));
        assert_eq!(due.len(), 10);
        assert_eq!(wheel.schedule(9, Ticks::new(1)), None);
        for due in due {
            assert!(wheel.renew(due.id, Ticks::new(1)).is_some());
        }
        assert_eq!(wheel.renew(9, Ticks::new(1)), None);
        assert_eq!(wheel.len(), 200);
    }

    #[test]
    fn a_jump_of_a_month_gives_everything_back_at_once() {
        let mut wheel = Wheel::new(1000, Ticks::new(0));
        for n in 0..1000 {
            wheel.schedule(n, Ticks::new(n * 10)).unwrap();
        }
        let later = Ticks::from_secs(30 * 86_400);
        assert_eq!(pop_all(&mut wheel, later).len(), 1000);
        let at = wheel.schedule(1, later.plus(100)).unwrap();
        assert!((100..100 + SLOT_TICKS as i32).contains(&at.since(later)));
    }

    #[test]
    fn two_records_a_connection_cost_at_most_ten_bytes() {
        assert!(Wheel::new(1 << 20, Ticks::new(0)).memory_bytes() <= 10 << 20);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Schedule { id: u32, after: i32 },
        Wait(u32),
        Pop,
    }

    fn op() -> impl Strategy<Value = Op> {
        let after = prop_oneof![-100..200_i32, 0..10_000_i32];
        prop_oneof![
            6 => (0..40_u32, after).prop_map(|(id, after)| Op::Schedule { id, after }),
            2 => (0..60_u32).prop_map(Op::Wait),
            1 => (0..20_000_u32).prop_map(Op::Wait),
            4 => Just(Op::Pop),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Against a sorted list of what was scheduled.
        #[test]
        fn records_come_in_order_never_early_never_lost(
            start: u32,
            ops in proptest::collection::vec(op(), 1..300),
        ) {
            let start = Ticks::new(start);
            let (mut now, mut polled, mut emptied) = (start, start, start);
            let mut wheel = Wheel::new(40, start);
            // By ticks since the start: the ids due then, in the order scheduled.
            let mut held = BTreeMap::<i32, Vec<u32>>::new();
            let mut owed = 0;
            for op in ops {
                let count = held.values().map(Vec::len).sum::<usize>();
                prop_assert_eq!(wheel.len(), count);
                match op {
                    Op::Wait(ticks) => now = now.plus(ticks),
                    Op::Schedule { id, after } => {
                        let at = now.plus(after.cast_unsigned());
                        let due = wheel.schedule(id, at);
                        prop_assert_eq!(due.is_some(), count + owed < 80);
                        let Some(due) = due else { continue };
                        let slot = SLOT_TICKS as i32;
                        prop_assert!(due.since(at) >= 0 || due.since(emptied) > 255 * slot, "early");
                        prop_assert!(due.since(at) < slot || due.since(polled) <= slot, "late");
                        held.entry(due.since(start)).or_default().push(id);
                    }
                    Op::Pop => {
                        let due = pop(&mut wheel, now);
                        owed = due.len();
                        for due in &due {
                            prop_assert!(due.at.not_after(now));
                            let mut first = held.first_entry().unwrap();
                            prop_assert_eq!(due.at.since(start), *first.key());
                            prop_assert_eq!(due.id, first.get_mut().remove(0));
                            if first.get().is_empty() {
                                first.remove();
                            }
                        }
                        polled = now;
                        if due.len() < 32 {
                            emptied = now;
                            let next = held.first_key_value().map(|(at, _)| *at);
                            prop_assert!(next.is_none_or(|at| at > now.since(start)));
                        }
                    }
                }
            }
        }
    }
}
