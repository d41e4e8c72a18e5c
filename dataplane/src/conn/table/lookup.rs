//! Look-ups in the flow table.
//!
//! **Bursts.** Keys are looked for a burst at a time, so that the cache misses of its packets
//! overlap: all are approached ([`FlowTable::approach`]), then guessed at ([`FlowTable::guess`]),
//! then those that may be elsewhere ([`FlowTable::guess_away`]). What that finds are guesses:
//! between it and [`FlowTable::confirm`] earlier packets make and end connections. A guess that
//! names a slot is checked against that slot's key. A guess that names none holds until something
//! is inserted, which the table's version tells.

use crate::conn::entry::{ConnId, Direction, Hot};
use crate::conn::key::{Key, Words};
use crate::conn::table::FlowTable;
use crate::conn::table::arch::prefetch;
use crate::conn::table::bucket::Slot;
use crate::conn::table::index::Place;

/// What [`FlowTable::guess`] makes of a key: maybe an entry, maybe outdated by the time it is used.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    slot: Slot,
    /// The table's version at the time; never 0 in a table.
    version: u32,
}

impl Candidate {
    /// Nothing is known: confirming it looks the key up.
    pub const UNKNOWN: Self = Self { slot: Slot::NONE, version: 0 };

    /// The connection that this may turn out to be.
    pub fn id(self) -> Option<ConnId> {
        (self.slot != Slot::NONE).then(|| self.slot.id())
    }
}

/// Where a key may be: what [`FlowTable::approach`] gives and [`FlowTable::guess`] takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Approach(Place);

impl<K: Key> FlowTable<K> {
    /// The first step of looking a key up: has the line fetched that says where `key` may be. The
    /// caller does something else meanwhile.
    #[inline]
    pub fn approach(&self, key: K) -> Approach {
        let place = self.place(key);
        self.index.prefetch_home(place);
        Approach(place)
    }

    /// The second step: looks at the line that was fetched by then, and has the one fetched that
    /// [`Self::confirm`] will read. The flag says that the key may be elsewhere: that line is
    /// fetched then, for [`Self::guess_away`].
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

    /// The third step, when it takes one: looks at the other line. `candidate` is what the second
    /// step gave.
    pub fn guess_away(&self, Approach(place): Approach, candidate: Candidate) -> Candidate {
        let slot = self.index.guess_away(place);
        if slot != Slot::NONE {
            prefetch(&self.hot, slot.id().index());
        }
        Candidate { slot, ..candidate }
    }

    /// What `key` is now, given what [`Self::guess`] or [`Self::guess_away`] made of it.
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

    /// The entry that a guess names, if it is `key`'s (which is not zero): what [`Self::confirm`]
    /// finds without looking further. Of a template it may name the wrong key.
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

    /// The destination and the adjacency that a guess leads to, without a look whether it is right.
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

    /// Has what removing the entry will touch fetched: the buckets of its keys. Reads the hot line.
    /// What it gives is for [`Self::prefetch_keys_away`].
    #[inline]
    pub fn prefetch_keys(&self, id: ConnId) -> [Approach; 2] {
        let hot = self.hot(id);
        // Where there is no such key there is still such a bucket.
        [hot.request, hot.reply].map(|key| self.approach(key))
    }

    /// Fetches the other buckets of an entry's keys. Call it once what [`Self::prefetch_keys`]
    /// fetched has arrived. [`Self::remove`] reads both.
    #[inline]
    pub fn prefetch_keys_away(&self, approaches: [Approach; 2]) {
        for Approach(place) in approaches {
            self.index.prefetch_away(place);
        }
    }

    /// Whether `slot` is live and known by `key`.
    #[inline]
    fn names(&self, slot: Slot, key: K) -> bool {
        let (id, direction) = slot.parts();
        self.hot.get(id.index()).is_some_and(|hot| {
            // Nothing predicts the direction: look at both keys rather than branch on it.
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

/// Equality without a branch.
#[inline]
fn same<K: Key>(one: K, two: K) -> bool {
    one.words().are(two.words())
}
