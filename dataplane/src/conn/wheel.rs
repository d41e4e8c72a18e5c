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

#[cfg(test)]
mod tests;

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
