//! The index: finds the slots that may hold a key, from the key's hash.
//!
//! A bucket is one cache line of ten lanes. A lane holds a 16-bit tag and a slot with a direction.
//! A key has two buckets. Its hash gives its *home*; home and tag give the *other* one, and in the
//! same way other and tag give the home. A new key goes into its home if there is room, otherwise
//! into the other bucket. If both are full, a key in one of them moves to its own other bucket. If
//! that is not possible either, the new key waits in a small stash; this was seen only at loads
//! that a table does not reach.
//!
//! **Invariants.** A lane is empty exactly if its tag is 0. `away` of a bucket counts the keys that
//! have their home there and live elsewhere. So most searches end at home. `guests` says which
//! lanes hold keys that have their home elsewhere. So a key can be moved without reading its entry.

use arrayvec::ArrayVec;

use crate::conn::table::arch::{LANES, prefetch};
use crate::conn::table::bucket::{Bucket, Slot};
use crate::conn::table::hash::Hash;
use crate::conn::table::pages::Pages;

/// How many keys the index holds when it is full, in percent of its lanes.
const LOAD_PERCENT: usize = 80;
/// How many keys may wait for a lane.
const STASH: usize = 32;

/// Where a key belongs. Valid only for the index that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    home: u32,
    tag: u16,
}

impl Place {
    #[inline]
    fn home(self) -> usize {
        self.home as usize
    }
}

/// A key without a lane.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    place: Place,
    slot: Slot,
}

pub(super) struct Index {
    buckets: Pages<Bucket>,
    stash: ArrayVec<Waiting, STASH>,
}

impl Index {
    /// An index for `keys` keys.
    pub(super) fn new(keys: usize) -> Self {
        let buckets = (keys * 100).div_ceil(LANES * LOAD_PERCENT).max(1);
        Self { buckets: Pages::new(buckets, |_| Bucket::EMPTY), stash: ArrayVec::new() }
    }

    /// Adds a key that is not in the index, at `place`. Returns false if there is no room.
    pub(super) fn enter(&mut self, place: Place, slot: Slot) -> bool {
        let key = Waiting { place, slot };
        if self.settle(key) {
            return true;
        }
        if self.stash.try_push(key).is_err() {
            return false;
        }
        self.buckets[place.home()].key_leaves();
        true
    }

    /// Removes a key. Returns false if it was not in the index.
    #[inline]
    pub(super) fn take_out(&mut self, place: Place, slot: Slot) -> bool {
        let (home, other) = (place.home(), self.other(place));
        if let Some(lane) = self.buckets[home].lane_of(place.tag, slot) {
            self.buckets[home].clear(lane);
        } else if let Some(lane) = self.buckets[other].lane_of(place.tag, slot) {
            self.buckets[other].clear(lane);
            self.buckets[home].key_returns();
        } else if let Some(nth) = self.stash.iter().position(|key| key.slot == slot) {
            self.stash.swap_remove(nth);
            self.buckets[home].key_returns();
            return true;
        } else {
            return false;
        }
        // A lane is free now. A waiting key may be able to use it.
        if let Some(key) = self.stash.pop() {
            self.buckets[key.place.home()].key_returns();
            if !self.settle(key) {
                self.stash.push(key);
                self.buckets[key.place.home()].key_leaves();
            }
        }
        true
    }

    /// The first slot that may be the key's and that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, place: Place, is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        let home = &self.buckets[place.home()];
        if let Some(slot) = home.slots_with(place.tag).find(|slot| is_it(*slot)) {
            return Some(slot);
        }
        if home.away == 0 {
            return None;
        }
        self.slots_away(place).find(|slot| is_it(*slot))
    }

    /// Where the key with this hash belongs. The home is computed by a multiply and a shift, which
    /// works for any number of buckets.
    #[inline]
    pub(super) fn place(&self, hash: Hash) -> Place {
        Place { home: scale(hash.0 >> 32, self.buckets.len()) as u32, tag: (hash.0 as u16).max(1) }
    }

    /// Has the key's home bucket fetched.
    #[inline]
    pub(super) fn prefetch_home(&self, place: Place) {
        prefetch(&self.buckets, place.home());
    }

    /// The first slot at home that may be the key's, or [`Slot::NONE`].
    #[inline]
    pub(super) fn guess_home(&self, place: Place) -> Slot {
        self.buckets[place.home()].slots_with(place.tag).next().unwrap_or(Slot::NONE)
    }

    /// Whether a key that is not at home may live elsewhere. If so, has its other bucket fetched.
    #[inline]
    pub(super) fn prefetch_away(&self, place: Place) -> bool {
        let away = self.buckets[place.home()].away != 0;
        if away {
            prefetch(&self.buckets, self.other(place));
        }
        away
    }

    /// The first slot away from home that may be the key's, or [`Slot::NONE`].
    pub(super) fn guess_away(&self, place: Place) -> Slot {
        self.slots_away(place).next().unwrap_or(Slot::NONE)
    }

    /// Whether keys wait for a lane. If a key leaves, one of them may get its lane.
    pub(super) fn has_waiting(&self) -> bool {
        !self.stash.is_empty()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.buckets.memory_bytes()
    }

    /// Checks the invariants. Returns the number of keys, and how many of them wait.
    #[cfg(test)]
    pub(super) fn audit(&self, hash_of: impl Fn(Slot) -> Hash) -> (usize, usize) {
        use crate::conn::table::bucket::EMPTY;

        let mut away = vec![0; self.buckets.len()];
        let mut keys = self.stash.len();
        for waiting in &self.stash {
            assert_eq!(waiting.place, self.place(hash_of(waiting.slot)));
            away[waiting.place.home()] += 1;
        }
        for (nth, bucket) in self.buckets.iter().enumerate() {
            for (lane, (tag, slot)) in bucket.tags.0.into_iter().zip(bucket.slots).enumerate() {
                if tag == EMPTY {
                    assert_eq!((slot, bucket.has_guest(lane)), (Slot::NONE, false));
                    continue;
                }
                let place = self.place(hash_of(slot));
                let other = self.other(place);
                assert_eq!(tag, place.tag);
                assert_eq!(self.other(Place { home: other as u32, tag }), place.home());
                assert!(nth == place.home() || nth == other);
                assert_eq!(bucket.has_guest(lane), nth != place.home());
                away[place.home()] += u16::from(nth != place.home());
                keys += 1;
            }
        }
        assert!(self.buckets.iter().map(|bucket| bucket.away).eq(away));
        (keys, self.stash.len())
    }

    /// Finds a lane for a key. If both buckets are full, moves one other key. Returns false if no
    /// key can move.
    fn settle(&mut self, key: Waiting) -> bool {
        let Waiting { place, slot } = key;
        let (home, other) = (place.home(), self.other(place));
        if let Some(lane) = self.buckets[home].empty_lane() {
            self.buckets[home].set(lane, place.tag, slot, false);
            return true;
        }
        if let Some(lane) = self.buckets[other].empty_lane() {
            self.buckets[other].set(lane, place.tag, slot, true);
            self.buckets[home].key_leaves();
            return true;
        }
        for bucket in [home, other] {
            for lane in 0..LANES {
                if self.make_room(bucket, lane) {
                    self.buckets[bucket].set(lane, place.tag, slot, bucket != home);
                    if bucket != home {
                        self.buckets[home].key_leaves();
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Moves the key in a lane to its other bucket, if that has an empty lane. Returns whether it
    /// did. The caller must then set the old lane, which is not cleared.
    fn make_room(&mut self, bucket: usize, lane: usize) -> bool {
        let (tag, moved) = (self.buckets[bucket].tags.0[lane], self.buckets[bucket].slots[lane]);
        let target = self.other(Place { home: bucket as u32, tag });
        let Some(room) = self.buckets[target].empty_lane() else { return false };
        let comes_home = self.buckets[bucket].has_guest(lane);
        if comes_home {
            self.buckets[target].key_returns();
        } else {
            self.buckets[bucket].key_leaves();
        }
        self.buckets[target].set(room, tag, moved, !comes_home);
        true
    }

    /// The slots away from home that may be the key's.
    fn slots_away(&self, place: Place) -> impl Iterator<Item = Slot> + '_ {
        let waiting = self.stash.iter().filter(move |key| key.place == place).map(|key| key.slot);
        self.buckets[self.other(place)].slots_with(place.tag).chain(waiting)
    }

    /// The other bucket of a key. The function is its own inverse: the numbers of the two buckets
    /// add up to a number that depends only on the tag, modulo the number of buckets.
    #[inline]
    fn other(&self, Place { home, tag }: Place) -> usize {
        let sum = scale(u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32, self.buckets.len());
        let home = home as usize;
        if sum >= home { sum - home } else { sum + self.buckets.len() - home }
    }
}

/// Maps 0..2^32 evenly to 0..`to`.
#[inline]
fn scale(word: u64, to: usize) -> usize {
    ((word * to as u64) >> 32) as usize
}
