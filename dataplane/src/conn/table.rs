//! The flow table: finds the connection of a packet, in both directions.
//!
//! It holds the index (`index`: buckets of short tags), the hot and the cold lines of all entries,
//! and the queue of vacant slots (`vacant`). One worker makes it and owns it, and only this worker
//! touches it. All memory is taken and written when the table is made. The table never grows.
//!
//! **Invariants.** A slot is live exactly if its `hot.request` is not [`Key::ZERO`]. The index
//! holds the keys of the live slots that `keys_of` names, each exactly once, and nothing else.
//!
//! **Reuse.** Vacant slots wait in a queue, first in, first out. So an id is used again as late as
//! possible, and not in the burst that freed it, unless the table is nearly full. Code that keeps
//! ids (the wheel, `control` of another entry) must still notice that the slot has another
//! connection.

use crate::conn::entry::{Cold, ConnId, Direction, Flags, Hot};
use crate::conn::key::{FlowKey, Key};
use crate::conn::track::Track;

pub(crate) use self::arch::prefetch;
use self::bucket::Slot;
use self::hash::Hasher;
use self::index::{Index, Place};
pub use self::lookup::{Approach, Candidate};
use self::pages::Pages;
use self::vacant::Vacant;

mod arch;
mod bucket;
mod hash;
mod index;
mod lookup;
pub mod pages;
#[cfg(test)]
mod tests;
mod vacant;

/// The lines of a vacant slot are fetched this many insertions before the slot is used.
const VACANT_AHEAD: usize = 6;

/// Why an entry was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// No slot is vacant, or the index has no room for the keys (which is nearly impossible).
    Full,
    /// One of the keys belongs to another connection, or both keys are the same, or the request key
    /// is zero.
    Duplicate,
}

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
    /// The largest possible capacity, in slots. A slot number and a direction share 32 bits.
    pub const MAX_CAPACITY: u32 = (1 << 31) - 1;

    /// A table of `capacity` slots (at most [`Self::MAX_CAPACITY`]); `seed` should differ at each
    /// start, so that nobody can choose keys that collide.
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

    /// Inserts an entry under its keys (see `keys_of`). An error changes nothing.
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

    /// The first half of [`Self::insert`]: inserts the entry under its request key, which must not
    /// be in the table. If the entry has a reply key, has the bucket of that key fetched and marks
    /// the entry as opening. An error changes nothing. [`Self::complete`] is the second half.
    pub fn begin(&mut self, hot: Hot<K>, cold: Cold) -> Result<ConnId, InsertError> {
        let [request, reply] = keys_of(&hot);
        let Some(request) = request else { return Err(InsertError::Duplicate) };
        let mut flags = hot.flags;
        if let Some(reply) = reply {
            self.prefetch_key(reply);
            flags = flags.with(Flags::OPENING);
        }
        let home = self.place(request);
        debug_assert!(self.find_at(request, home).is_none(), "the request key must be new");
        if reply == Some(request) {
            return Err(InsertError::Duplicate);
        }
        // Whether the reply key is taken is another question: whoever asks for a local port may get
        // another one, once there is a slot.
        let id = self.vacant.peek(0).ok_or(InsertError::Full)?;
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

    /// The second half of [`Self::insert`]: inserts the entry under its reply key too. An error
    /// changes nothing: the entry stays and is still opening.
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

    /// Removes an entry and its keys. Does nothing if the slot is vacant.
    pub fn remove(&mut self, id: ConnId) {
        if !self.is_live(id) {
            return;
        }
        let [request, reply] = keys_of(self.hot(id));
        if let Some(request) = request {
            self.take_out(self.place(request), Slot::new(id, Direction::Request));
        }
        if let Some(reply) = reply {
            self.take_out(self.place(reply), Slot::new(id, Direction::Reply));
        }
        let line = &mut self.hot[id.index()];
        (line.request, line.reply) = (K::ZERO, K::ZERO);
        line.track = Track::VACANT.in_slot_of(&line.track);
        self.vacant.put(id);
    }

    /// Gives the entry another request key of the same kind. An error changes nothing. Does nothing
    /// if the slot is vacant.
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
        // The old key leaves first: then its lane is free for the new key.
        let (slot, place) = (Slot::new(id, Direction::Request), self.place(old));
        self.take_out(place, slot);
        if !self.index.enter(self.place(request), slot) {
            // The old key fits again: the stash is full, so no key came out of it into the lane
            // that the old key left.
            let back = self.index.enter(place, slot);
            debug_assert!(back);
            return Err(InsertError::Full);
        }
        self.hot[id.index()].request = request;
        self.bump();
        Ok(())
    }

    /// The hot line, mutable. Do not change its keys; [`Self::rekey_request`] changes one.
    ///
    /// # Panics
    /// If `id` is not below the capacity. The next three functions panic too.
    #[inline]
    pub fn hot_mut(&mut self, id: ConnId) -> &mut Hot<K> {
        &mut self.hot[id.index()]
    }

    /// The cold line, mutable.
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

    /// Whether the slot holds a connection.
    #[inline]
    pub fn is_live(&self, id: ConnId) -> bool {
        self.hot.get(id.index()).is_some_and(|hot| hot.request != K::ZERO)
    }

    /// The live slots among the `n` slots from `cursor` on. To list all slots page by page,
    /// continue at `cursor + n` until the capacity is reached.
    pub fn iter_from(&self, cursor: u32, n: u32) -> impl Iterator<Item = ConnId> + '_ {
        let end = cursor.saturating_add(n).min(self.capacity());
        (cursor..end).map(ConnId::new).filter(|id| self.is_live(*id))
    }

    /// The number of slots.
    pub fn capacity(&self) -> u32 {
        self.hot.len() as u32
    }

    /// The number of live slots.
    pub fn len(&self) -> u32 {
        self.capacity() - self.vacant.len() as u32
    }

    /// Whether no slot is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory of the table, in bytes. It was taken when the table was made.
    pub fn memory_bytes(&self) -> usize {
        let lines = self.hot.memory_bytes() + self.cold.memory_bytes();
        size_of::<Self>() + self.index.memory_bytes() + lines + self.vacant.memory_bytes()
    }

    #[inline(never)]
    fn take_out(&mut self, place: Place, slot: Slot) {
        let moves = self.index.has_waiting();
        let left = self.index.take_out(place, slot);
        debug_assert!(left, "the key was not in the index: somebody changed it in the hot line");
        if moves {
            // A key from the stash may now be in a lane, where an earlier guess did not find it.
            self.bump();
        }
    }

    fn bump(&mut self) {
        self.version = self.version.checked_add(1).unwrap_or(1);
    }
}

/// The request key and the reply key under which an entry is found. A key that is zero is left out.
/// So is the reply key of a template and of an opening connection.
fn keys_of<K: Key>(hot: &Hot<K>) -> [Option<K>; 2] {
    let some = |key| (key != K::ZERO).then_some(key);
    let alone = hot.request.is_template() || hot.flags.has(Flags::OPENING);
    [some(hot.request), some(hot.reply).filter(|_| !alone)]
}
