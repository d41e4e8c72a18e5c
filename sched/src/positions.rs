//! From a destination's slot to its place in the list.

use alloc::boxed::Box;
use alloc::vec;

use crate::Dest;
use crate::DestId;

/// Finds a destination's place in the list from its slot, in constant time.
///
/// Short lists are searched; longer ones have an open-addressed table, at most half full.
#[derive(Debug)]
pub(crate) struct Positions {
    slots: Box<[u32]>,
}

impl Positions {
    /// The places of `dests`; an id that occurs twice is the error.
    pub(crate) fn of(dests: &[Dest]) -> Result<Self, DestId> {
        if dests.len() <= SHORT {
            let twice = dests.iter().enumerate().find(|(at, d)| dests.iter().take(*at).any(|e| e.id == d.id));
            return match twice {
                Some((_, dest)) => Err(dest.id),
                None => Ok(Self { slots: Box::default() }),
            };
        }
        let mut slots = vec![EMPTY; (dests.len() * 2).next_power_of_two()].into_boxed_slice();
        for (at, dest) in dests.iter().enumerate() {
            let mut slot = home(dest.id, slots.len());
            while let Some(&held) = slots.get(slot).filter(|&&held| held != EMPTY) {
                if dests.get(held as usize).is_some_and(|d| d.id == dest.id) {
                    return Err(dest.id);
                }
                slot = (slot + 1) & (slots.len() - 1);
            }
            if let Some(free) = slots.get_mut(slot) {
                *free = at as u32;
            }
        }
        Ok(Self { slots })
    }

    /// The place of `id` in `dests`, which must be the list that this was made of.
    pub(crate) fn find(&self, dests: &[Dest], id: DestId) -> Option<usize> {
        if self.slots.is_empty() {
            return dests.iter().position(|d| d.id == id);
        }
        let mut slot = home(id, self.slots.len());
        loop {
            let at = *self.slots.get(slot)? as usize;
            // An empty slot holds a position beyond the end of every list.
            if dests.get(at)?.id == id {
                return Some(at);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

/// The first slot to try for `id`, in a table of `len` slots. `len` is a power of two.
const fn home(id: DestId, len: usize) -> usize {
    ((id.as_u32().wrapping_mul(0x9E37_79B1) as u64 * len as u64) >> 32) as usize
}

const SHORT: usize = 16;
const EMPTY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_destination_is_found_at_its_place_and_no_other() {
        for len in [0, 1, 15, 16, 17, 100, 1000] {
            let dests: Vec<Dest> = (0..len).map(|i| testing::dest(i * 7919 % 100_003, 1)).collect();
            let positions = Positions::of(&dests).unwrap();
            for (at, dest) in dests.iter().enumerate() {
                assert_eq!(positions.find(&dests, dest.id), Some(at));
            }
            assert_eq!(positions.find(&dests, DestId::new(100_004)), None);
        }
    }

    #[test]
    fn an_id_that_occurs_twice_is_named() {
        for len in [2, 40] {
            let mut dests: Vec<Dest> = (0..len).map(|i| testing::dest(i, 1)).collect();
            let twin = dests[0];
            dests.push(twin);
            assert_eq!(Positions::of(&dests).unwrap_err(), twin.id);
        }
    }
}
