//! A bucket of the index: one cache line of tags and slots.

use crate::conn::entry::{ConnId, Direction};
use crate::conn::table::arch::{LANES, Tags};

/// The tag of an empty lane.
pub(super) const EMPTY: u16 = 0;

/// A slot of the table and the direction of one of its keys: 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Slot(u32);

impl Slot {
    /// No slot. [`FlowTable::MAX_CAPACITY`](super::FlowTable::MAX_CAPACITY) ensures that no slot
    /// has this number.
    pub(super) const NONE: Self = Self(u32::MAX);
    const REPLY: u32 = 1 << 31;

    #[inline]
    pub(super) const fn new(id: ConnId, direction: Direction) -> Self {
        Self(id.as_u32() | (direction as u32) << 31)
    }

    #[inline]
    pub(super) const fn id(self) -> ConnId {
        ConnId::new(self.0 & !Self::REPLY)
    }

    #[inline]
    pub(super) const fn parts(self) -> (ConnId, Direction) {
        let direction = if self.0 & Self::REPLY == 0 { Direction::Request } else { Direction::Reply };
        (self.id(), direction)
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) tags: Tags,
    pub(super) slots: [Slot; LANES],
    /// How many keys have their home here but live elsewhere. Once it reaches its largest value, it
    /// stays there.
    pub(super) away: u16,
    /// Bit n is set if the key in lane n has its home elsewhere.
    guests: u16,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    pub(super) const EMPTY: Self =
        Self { tags: Tags([EMPTY; LANES]), slots: [Slot::NONE; LANES], away: 0, guests: 0 };

    /// The slots of the lanes with this tag.
    #[inline]
    pub(super) fn slots_with(&self, tag: u16) -> impl Iterator<Item = Slot> + '_ {
        lanes(self.tags.lanes_with(tag)).map(|lane| self.slots[lane])
    }

    pub(super) fn lane_of(&self, tag: u16, slot: Slot) -> Option<usize> {
        lanes(self.tags.lanes_with(tag)).find(|lane| self.slots[*lane] == slot)
    }

    pub(super) fn empty_lane(&self) -> Option<usize> {
        lanes(self.tags.lanes_with(EMPTY)).next()
    }

    pub(super) fn set(&mut self, lane: usize, tag: u16, slot: Slot, guest: bool) {
        self.tags.0[lane] = tag;
        self.slots[lane] = slot;
        self.guests = self.guests & !(1 << lane) | u16::from(guest) << lane;
    }

    pub(super) fn clear(&mut self, lane: usize) {
        self.set(lane, EMPTY, Slot::NONE, false);
    }

    /// A key that has its home here lives elsewhere from now on.
    pub(super) const fn key_leaves(&mut self) {
        self.away = self.away.saturating_add(1);
    }

    /// A key that has its home here no longer lives elsewhere.
    pub(super) const fn key_returns(&mut self) {
        if self.away != u16::MAX {
            self.away -= 1;
        }
    }

    pub(super) fn has_guest(&self, lane: usize) -> bool {
        self.guests >> lane & 1 != 0
    }
}

/// The numbers of the bits that are set, lowest first.
#[inline]
fn lanes(mut bits: u16) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let lane = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_whose_count_overflowed_always_says_that_keys_are_away() {
        let mut bucket = Bucket { away: u16::MAX - 1, ..Bucket::EMPTY };
        for away in [u16::MAX, u16::MAX] {
            bucket.key_leaves();
            assert_eq!(bucket.away, away);
        }
        bucket.key_returns();
        assert_eq!(bucket.away, u16::MAX);
        let mut bucket = Bucket::EMPTY;
        bucket.key_leaves();
        bucket.key_returns();
        assert_eq!(bucket.away, 0);
    }
}
