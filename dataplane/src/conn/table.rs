//! The flow table: finds the connection a packet belongs to, in either direction.
//!
//! It holds the index (`index`: buckets of short tags), the hot and the cold lines of all entries,
//! and the queue of vacant slots (`vacant`). One worker makes it, owns it and alone touches it. All
//! memory is taken and written to when it is made; it never grows.
//!
//! **Invariants.** A slot is live exactly when its `hot.request` is not [`Key::ZERO`]. Each key of
//! a live slot that `keys_of` names is in the index exactly once, and nothing else is. No key is
//! in the index twice.
//!
//! **Bursts.** Keys are looked for a burst at a time, so that the cache misses of its packets
//! overlap: all are approached ([`FlowTable::approach`]), then guessed at ([`FlowTable::guess`]),
//! then those that may be elsewhere ([`FlowTable::guess_away`]). What that finds are guesses:
//! between it and [`FlowTable::confirm`] earlier packets make and end connections. A guess that
//! names a slot is checked against that slot's key. A guess that names none holds until something
//! is inserted, which the table's version tells.
//!
//! **Reuse.** Vacant slots queue up first in, first out: an id comes back as late as can be, never
//! in the burst that freed it unless the table is all but full. Whoever keeps ids (the wheel,
//! `control` of another entry) must still be able to tell that the slot has another tenant.

use crate::conn::entry::{Cold, ConnId, Direction, Flags, Hot};
use crate::conn::key::{FlowKey, Key, Words};
use crate::conn::track::Track;

pub(crate) use self::arch::prefetch;
use self::hash::Hasher;
use self::index::{Index, Place, Slot};
use self::pages::Pages;
use self::vacant::Vacant;

mod arch;
mod hash;
mod index;
pub mod pages;
#[cfg(test)]
mod tests;
mod vacant;

/// Vacant slots whose lines are sent for ahead of their use.
const VACANT_AHEAD: usize = 6;

/// Why an entry was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// No slot is vacant, or (all but impossible) the index has no room for the keys.
    Full,
    /// One of the keys is another connection's, or both are the same, or the request key is zero.
    Duplicate,
}

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

/// A worker's connections.
pub struct FlowTable<K: Key = FlowKey> {
    index: Index,
    hot: Pages<Hot<K>>,
    cold: Pages<Cold>,
    hasher: Hasher,
    vacant: Vacant,
    /// Counts insertions; skips 0.
    version: u32,
}

impl<K: Key> FlowTable<K> {
    /// The largest possible capacity: a slot number and a direction share 32 bits.
    pub const MAX_CAPACITY: u32 = (1 << 31) - 1;

    /// A table of `capacity` slots (at most [`Self::MAX_CAPACITY`]); `seed` should differ at each
    /// start so that nobody can choose colliding keys.
    pub fn new(capacity: u32, seed: u64) -> Self {
        let capacity = capacity.min(Self::MAX_CAPACITY);
        Self {
            index: Index::new(2 * capacity as usize),
            hot: Pages::new(capacity as usize, |_| Hot::<K>::VACANT),
            cold: Pages::new(capacity as usize, |_| Cold::VACANT),
            hasher: Hasher::new(seed),
            vacant: Vacant::all(capacity),
            version: 1,
        }
    }

    /// Inserts an entry under its keys (see `keys_of`), or changes nothing.
    pub fn insert(&mut self, hot: Hot<K>, cold: Cold) -> Result<ConnId, InsertError> {
        if self.find(hot.request).is_some() {
            return Err(InsertError::Duplicate);
        }
        let id = self.begin(hot, cold)?;
        match self.complete(id) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.remove(id);
                Err(error)
            }
        }
    }

    /// The first half of [`Self::insert`], or no change: inserts the entry under its request key,
    /// which must not be in the table, has the line fetched that its reply key goes to, and
    /// marks it as opening when it has one. [`Self::complete`] does the rest.
    pub fn begin(&mut self, hot: Hot<K>, cold: Cold) -> Result<ConnId, InsertError> {
        let [request, reply] = keys_of(&hot);
        let Some(request) = request else { return Err(InsertError::Duplicate) };
        let mut flags = hot.flags;
        if let Some(reply) = reply {
            self.prefetch_key(reply);
            flags = flags.with(Flags::OPENING);
        }
        let home = self.place(request);
        debug_assert!(self.find_at(request, home).is_none(), "the caller has looked");
        if reply == Some(request) {
            return Err(InsertError::Duplicate);
        }
        let Some(id) = self.vacant.peek(0) else {
            let taken = reply.is_some_and(|reply| self.find(reply).is_some());
            return Err(if taken { InsertError::Duplicate } else { InsertError::Full });
        };
        if !self.index.enter(home, Slot::new(id, Direction::Request)) {
            return Err(InsertError::Full);
        }
        let line = &mut self.hot[id.index()];
        (line.request, line.reply) = (hot.request, hot.reply);
        line.track = Track { flags, ..hot.track }.in_slot_of(&line.track);
        self.cold[id.index()].succeed(&cold);
        self.vacant.take();
        if let Some(later) = self.vacant.peek(VACANT_AHEAD) {
            self.prefetch_hot(later);
            self.prefetch_cold(later);
        }
        self.bump();
        Ok(id)
    }

    /// Fetches the other bucket of the reply key. Call it after [`Self::begin`], once the first
    /// bucket has arrived. [`Self::complete`] reads both.
    #[inline]
    pub fn prepare(&self, id: ConnId) {
        self.index.prefetch_away(self.place(self.hot(id).reply));
    }

    /// The second half of [`Self::insert`]: has the entry found by its reply key too. An error
    /// changes nothing: the entry stays, and is opening still.
    pub fn complete(&mut self, id: ConnId) -> Result<(), InsertError> {
        let hot = &self.hot[id.index()];
        if !hot.flags.has(Flags::OPENING) {
            return Ok(());
        }
        let (reply, slot) = (hot.reply, Slot::new(id, Direction::Reply));
        let place = self.place(reply);
        if self.find_at(reply, place).is_some() {
            return Err(InsertError::Duplicate);
        }
        if !self.index.enter(place, slot) {
            return Err(InsertError::Full);
        }
        let hot = &mut self.hot[id.index()];
        hot.flags = hot.flags.without(Flags::OPENING);
        self.bump();
        Ok(())
    }

    /// Takes an entry and its keys out. A vacant `id` is left as it is.
    pub fn remove(&mut self, id: ConnId) {
        if !self.is_live(id) {
            return;
        }
        let [request, reply] = keys_of(self.hot(id));
        if let Some(request) = request {
            self.leave(self.place(request), Slot::new(id, Direction::Request));
        }
        if let Some(reply) = reply {
            self.leave(self.place(reply), Slot::new(id, Direction::Reply));
        }
        let line = &mut self.hot[id.index()];
        (line.request, line.reply) = (K::ZERO, K::ZERO);
        line.track = Track::VACANT.in_slot_of(&line.track);
        self.vacant.put(id);
    }

    /// Gives the entry another request key of the same kind, or changes nothing. A vacant `id` is
    /// left as it is.
    pub fn rekey_request(&mut self, id: ConnId, request: K) -> Result<(), InsertError> {
        if !self.is_live(id) {
            return Ok(());
        }
        let old = self.hot(id).request;
        debug_assert_eq!(old.is_template(), request.is_template());
        if request == old {
            return Ok(());
        }
        if request == K::ZERO || self.find(request).is_some() {
            return Err(InsertError::Duplicate);
        }
        // Out first: its room is then free for the new key.
        let (slot, place) = (Slot::new(id, Direction::Request), self.place(old));
        self.leave(place, slot);
        if !self.index.enter(self.place(request), slot) {
            // Fits: the stash is full, so nothing came out of it into the lane that the old key
            // left.
            let back = self.index.enter(place, slot);
            debug_assert!(back);
            return Err(InsertError::Full);
        }
        self.hot[id.index()].request = request;
        self.bump();
        Ok(())
    }

    /// The hot line, to change. Its keys must stay as they are ([`Self::rekey_request`] changes
    /// one).
    ///
    /// # Panics
    /// When `id` is not below the capacity; so do the three below.
    #[inline]
    pub fn hot_mut(&mut self, id: ConnId) -> &mut Hot<K> {
        &mut self.hot[id.index()]
    }

    /// The cold line, to change.
    #[inline]
    pub fn cold_mut(&mut self, id: ConnId) -> &mut Cold {
        &mut self.cold[id.index()]
    }

    /// The hot line.
    #[inline]
    pub fn hot(&self, id: ConnId) -> &Hot<K> {
        &self.hot[id.index()]
    }

    /// The cold line.
    #[inline]
    pub fn cold(&self, id: ConnId) -> &Cold {
        &self.cold[id.index()]
    }

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

    /// Whether `id` is a connection at present.
    #[inline]
    pub fn is_live(&self, id: ConnId) -> bool {
        self.hot.get(id.index()).is_some_and(|hot| hot.request != K::ZERO)
    }

    /// The live ones among the `n` slots from `cursor` on. To list all, page by page, go on at
    /// `cursor + n` until the capacity is reached.
    pub fn iter_from(&self, cursor: u32, n: u32) -> impl Iterator<Item = ConnId> + '_ {
        let end = cursor.saturating_add(n).min(self.capacity());
        (cursor..end).map(ConnId::new).filter(|id| self.is_live(*id))
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

    /// Slots in all.
    pub fn capacity(&self) -> u32 {
        self.hot.len() as u32
    }

    /// Live slots.
    pub fn len(&self) -> u32 {
        self.capacity() - self.vacant.len() as u32
    }

    /// Whether no slot is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory taken when the table was made.
    pub fn memory_bytes(&self) -> usize {
        let lines = self.hot.memory_bytes() + self.cold.memory_bytes();
        size_of::<Self>() + self.index.memory_bytes() + lines + self.vacant.memory_bytes()
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
    fn place(&self, key: K) -> Place {
        self.index.place(self.hasher.hash(key))
    }

    fn find_at(&self, key: K, place: Place) -> Option<(ConnId, Direction)> {
        let slot = self.index.find(place, |slot| self.names(slot, key))?;
        Some(slot.parts())
    }

    #[inline(never)]
    fn leave(&mut self, place: Place, slot: Slot) {
        let moves = self.index.has_waiting();
        let left = self.index.leave(place, slot);
        debug_assert!(left, "a key was changed behind the table's back");
        if moves {
            // A key that waited may have a lane now, where a guess has not seen it.
            self.bump();
        }
    }

    fn bump(&mut self) {
        self.version = self.version.checked_add(1).unwrap_or(1);
    }
}

/// Equality without a branch.
#[inline]
fn same<K: Key>(one: K, two: K) -> bool {
    one.words().are(two.words())
}

/// The request and the reply key under which an entry is found: those that are not zero, and of a
/// template or of what is opening the request key alone.
fn keys_of<K: Key>(hot: &Hot<K>) -> [Option<K>; 2] {
    let some = |key| (key != K::ZERO).then_some(key);
    let alone = hot.request.is_template() || hot.flags.has(Flags::OPENING);
    [some(hot.request), some(hot.reply).filter(|_| !alone)]
}
