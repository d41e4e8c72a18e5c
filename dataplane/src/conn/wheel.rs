//! The timer wheel: says which entries to check, not which have expired.
//!
//! A packet never touches the wheel. It only stamps `hot.expires`. When the entry's record is due,
//! the worker compares the times: it ends the connection or makes a new record for the entry. One
//! worker makes the wheel and owns it, and only this worker touches it. All memory is taken when
//! the wheel is made. The wheel never grows.
//!
//! 256 slots of 250 ms make a horizon of 64 s. A record is an id; its due time is that of its slot.
//! Times beyond the horizon are cut to the horizon, and the entry is checked again then. Records
//! are in chunks of four cache lines. About one chunk of entries is checked at a time, and
//! meanwhile the next chunk is fetched.
//!
//! **The protocol.** The caller of [`Wheel::schedule`] stores the due time that it returns in
//! `hot.wheel_at`. A record is valid if the table's slot is live and `hot.wheel_at == due.at`.
//! Otherwise it is stale, and it is dropped. The caller of [`Wheel::pop_due`] removes the entry of
//! each valid record or calls [`Wheel::renew`] for it, before the next [`Wheel::pop_due`]. If a
//! timeout
//!
//! * becomes longer, nothing is done: the record comes early, and the entry gets a new one;
//! * becomes so much shorter that it ends in an earlier slot, the entry gets a second record, and
//!   the first is stale from then on ([`Wheel::hasten`]). If there is no room for a second record,
//!   the entry keeps the first: it ends late, never early. `wheel_at` is rounded up, so it is
//!   mostly a little later than `expires`. Therefore slots must be compared; comparing the two
//!   times would add a record with every packet.
//!
//! **Why stale records do no harm.** New records go only to slots that are due at `front` or later,
//! and every popped record was due before `front`. So a stale record can match the `wheel_at` of a
//! later connection with the same id only if both were scheduled for the same slot of the wheel
//! before it was due. Then it does not matter which of the two records is popped first: both say
//! "check this id now". Handling the first one ends the entry or moves `wheel_at` to `front` or
//! later, and that makes the second one stale.
//!
//! **Room.** The pool holds two records for each connection. Popped records keep their room until
//! the next [`Wheel::pop_due`], so that [`Wheel::renew`] cannot fail for them. Only a new or a
//! second record can find no room.

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

/// A record that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The entry to check, if the record is valid.
    pub id: u32,
    /// The record's due time. If the record is valid, it equals the entry's `wheel_at`.
    pub at: Ticks,
}

/// Ids that are due at the same time.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Chunk {
    /// The next chunk of the same chain, or of the list of free chunks.
    next: u32,
    at: Ticks,
    /// How many ids it has, from the front. Valid once the chunk is part of the backlog.
    len: u32,
    ids: [u32; IDS],
}

const _: () = assert!(size_of::<Chunk>() == 4 * LINE);

/// A list of chunks, in the order in which they were filled.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
    /// How many ids the last chunk has, or [`IDS`] if there is no chunk.
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
    /// The slot that is due next, at `front`.
    cursor: u8,
    front: Ticks,
    /// Records that are due and not popped yet. All of them were due before `front`.
    backlog: Chain,
    /// How many ids of the backlog's first chunk are popped.
    popped: usize,
    /// How many records the wheel holds.
    len: usize,
    /// For how many records `schedule` must leave room: those that were popped last and are not
    /// renewed.
    owed: usize,
    room: usize,
}

impl Wheel {
    /// A wheel for `capacity` entries that starts at `now`. Ids are below `capacity`.
    pub fn new(capacity: u32, now: Ticks) -> Self {
        let room = 2 * capacity as usize;
        // At most these chunks are partly filled: the last chunk of each slot, the last chunk that
        // each slot brought to the backlog, and the backlog's first chunk.
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

    /// Makes a record: `id` is to be checked at `at`. Returns the record's due time: `at` rounded
    /// up to a slot, or the horizon if that is earlier. Returns `None` if there is no room.
    pub fn schedule(&mut self, id: u32, at: Ticks) -> Option<Ticks> {
        if self.len + self.owed >= self.room {
            return None;
        }
        self.record(id, at)
    }

    /// Makes a new record for an entry whose record was popped by the last [`Self::pop_due`]. There
    /// is room for one new record for each popped one. Returns `None` only if it is called more
    /// often and the wheel is full.
    pub fn renew(&mut self, id: u32, at: Ticks) -> Option<Ticks> {
        self.owed = self.owed.saturating_sub(1);
        self.schedule(id, at)
    }

    /// Ensures that `id` is checked by `at`, rounded up to a slot. Its valid record is due at
    /// `held`; if that is later, makes a second record. Returns the due time of the valid record
    /// from now on.
    #[must_use]
    pub fn hasten(&mut self, id: u32, at: Ticks, held: Ticks) -> Ticks {
        let (_, due) = self.slot_for(at);
        if held.not_after(due) { held } else { self.schedule(id, at).unwrap_or(held) }
    }

    /// The due time of a record for `at`.
    pub fn due_for(&self, at: Ticks) -> Ticks {
        self.slot_for(at).1
    }

    /// Takes the records that are due by `now`, oldest first, until `out` is full. If `out` is not
    /// full afterwards, no more are due. Remaining records come first next time.
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

    /// How many records the wheel holds, valid and stale.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the wheel holds no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory of the wheel, in bytes. It was taken when the wheel was made.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.chunks.memory_bytes()
    }

    /// Moves all slots that are due by `now` to the backlog, which must be empty. Goes at most once
    /// round the wheel, even if `now` is farther away: then all slots are empty.
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

    /// Has a chunk fetched, if it exists.
    fn prefetch(&self, chunk: u32) {
        let Some(chunk) = self.chunks.get(chunk as usize) else { return };
        // The first line with the header, then one id of each other line.
        prefetch(core::slice::from_ref(chunk), 0);
        for line in 1..4 {
            prefetch(&chunk.ids, line * LINE / size_of::<u32>());
        }
    }

    /// The slot for a record at `at`, and when this slot is due.
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
            // There is always a free chunk: see the number of chunks in `new`.
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
