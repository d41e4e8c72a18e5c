//! Look-ups in the flow table.
//!
//! **Bursts.** The keys of a burst are looked up together, so that the cache misses of its packets
//! overlap. Each step goes over all keys of the burst: [`FlowTable::approach`], then
//! [`FlowTable::guess`], then [`FlowTable::guess_away`] for the keys that may be in their other
//! bucket. The results are guesses, because earlier packets make and end connections before
//! [`FlowTable::confirm`] is called. If a guess names a slot, it is compared with that slot's key.
//! If a guess names no slot, it is right until something is inserted; the table's version shows
//! that.

use crate::conn::entry::{ConnId, Direction, Hot};
use crate::conn::key::{Key, Words};
use crate::conn::table::FlowTable;
use crate::conn::table::arch::prefetch;
use crate::conn::table::bucket::Slot;
use crate::conn::table::index::Place;

/// The guess of [`FlowTable::guess`]: an entry or none. It may be out of date when it is used.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    slot: Slot,
    /// The table's version when the guess was made. No table has version 0.
    version: u32,
}

impl Candidate {
    /// No guess. [`FlowTable::confirm`] then looks the key up.
    pub const UNKNOWN: Self = Self { slot: Slot::NONE, version: 0 };

    /// The connection that the guess names, if it names one.
    pub fn id(self) -> Option<ConnId> {
        (self.slot != Slot::NONE).then(|| self.slot.id())
    }
}

/// The place of a key in the index. [`FlowTable::approach`] returns it, and [`FlowTable::guess`]
/// takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Approach(Place);

impl<K: Key> FlowTable<K> {
    /// The first step of a look-up: has the home bucket of `key` fetched. The caller does something
    /// else meanwhile.
    #[inline]
    pub fn approach(&self, key: K) -> Approach {
        let place = self.place(key);
        self.index.prefetch_home(place);
        Approach(place)
    }

    /// The second step: looks at the home bucket, which has arrived. If a tag matches, has that
    /// entry's hot line fetched for [`Self::confirm`]. If not, the key may be in its other bucket;
    /// then has that bucket fetched and returns true beside the candidate. The caller then calls
    /// [`Self::guess_away`].
    #[inline(always)]
    pub fn guess(&self, Approach(place): Approach) -> (Candidate, bool) {
        let slot = self.index.guess_home(place);
        let mut away = false;
        if slot != Slot::NONE {
            prefetch(&self.hot, slot.id().index());
        } else {
            away = self.index.prefetch_away(place);
        }
        (Candidate { slot, version: self.version }, away)
    }

    /// The third step, if [`Self::guess`] returned true: looks at the other bucket. `candidate` is
    /// the result of the second step.
    pub fn guess_away(&self, Approach(place): Approach, candidate: Candidate) -> Candidate {
        let slot = self.index.guess_away(place);
        if slot != Slot::NONE {
            prefetch(&self.hot, slot.id().index());
        }
        Candidate { slot, ..candidate }
    }

    /// The connection that packets with `key` belong to now, and their direction. `candidate` is
    /// the guess about `key`.
    #[inline]
    pub fn confirm(&self, key: K, candidate: Candidate) -> Option<(ConnId, Direction)> {
        if candidate.slot == Slot::NONE {
            if candidate.version == self.version {
                return None;
            }
        } else if self.names(candidate.slot, key) {
            return Some(candidate.slot.parts());
        }
        self.find(key)
    }

    /// The entry that a guess names, if the entry has this key, and the direction. `key` must not
    /// be zero. [`Self::confirm`] would return the same entry. For a template the answer may be
    /// wrong: the table finds a template only under its request key, and that is not checked here.
    #[inline(always)]
    pub fn guessed(&mut self, key: K, candidate: Candidate) -> Option<(&mut Hot<K>, Direction)> {
        let (id, direction) = candidate.slot.parts();
        let hot = self.hot.get_mut(id.index())?;
        let own = match direction {
            Direction::Request => hot.request,
            Direction::Reply => hot.reply,
        };
        same(own, key).then_some((hot, direction))
    }

    /// The destination and the adjacency of the entry that a guess names. Does not check whether
    /// the guess is right.
    #[inline(always)]
    pub fn leads_to(&self, candidate: Candidate) -> Option<(u32, u32)> {
        let (id, direction) = candidate.slot.parts();
        let hot = self.hot.get(id.index())?;
        Some((hot.dest, hot.hops[direction as usize]))
    }

    /// The connection that packets with `key` belong to, and their direction.
    pub fn find(&self, key: K) -> Option<(ConnId, Direction)> {
        self.find_at(key, self.place(key))
    }

    /// Has the hot line fetched.
    #[inline]
    pub fn prefetch_hot(&self, id: ConnId) {
        prefetch(&self.hot, id.index());
    }

    /// Has the cold line fetched.
    #[inline]
    pub fn prefetch_cold(&self, id: ConnId) {
        prefetch(&self.cold, id.index());
    }

    /// Has the bucket of a key fetched.
    #[inline]
    pub fn prefetch_key(&self, key: K) {
        self.index.prefetch_home(self.place(key));
    }

    /// Has the home buckets of the entry's keys fetched: [`Self::remove`] reads them. Reads the hot
    /// line. Pass the result to [`Self::prefetch_keys_away`].
    #[inline]
    pub fn prefetch_keys(&self, id: ConnId) -> [Approach; 2] {
        let hot = self.hot(id);
        // A key that is zero has a bucket too, so no check is needed.
        [hot.request, hot.reply].map(|key| self.approach(key))
    }

    /// Has the other buckets of an entry's keys fetched. Call it once the buckets of
    /// [`Self::prefetch_keys`] have arrived. [`Self::remove`] reads both.
    #[inline]
    pub fn prefetch_keys_away(&self, approaches: [Approach; 2]) {
        for Approach(place) in approaches {
            self.index.prefetch_away(place);
        }
    }

    /// Whether `slot` is live and is found under `key`.
    #[inline]
    fn names(&self, slot: Slot, key: K) -> bool {
        let (id, direction) = slot.parts();
        self.hot.get(id.index()).is_some_and(|hot| {
            // The processor cannot predict the direction, so a branch on it would be costly.
            // Compare both keys.
            let request = same(hot.request, key) & (direction == Direction::Request);
            let reply = same(hot.reply, key) & (direction == Direction::Reply);
            (request | (reply & !hot.request.is_template())) & !same(key, K::ZERO)
        })
    }

    #[inline]
    pub(super) fn place(&self, key: K) -> Place {
        self.index.place(self.hasher.hash(key))
    }

    pub(super) fn find_at(&self, key: K, place: Place) -> Option<(ConnId, Direction)> {
        let slot = self.index.find(place, |slot| self.names(slot, key))?;
        Some(slot.parts())
    }
}

/// Whether two keys are equal. Compares without a branch.
#[inline]
fn same<K: Key>(one: K, two: K) -> bool {
    one.words().are(two.words())
}
