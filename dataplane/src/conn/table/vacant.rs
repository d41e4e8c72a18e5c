//! The vacant slots, in the order in which they will be used: first in, first out.
//!
//! They are in a ring of their own and not in a list through the slots. So the next ones are known
//! without waiting for their lines.

use crate::conn::entry::ConnId;
use crate::conn::table::pages::Pages;

pub(super) struct Vacant {
    /// It has as many places as there are slots.
    ring: Pages<u32>,
    /// The place of the slot that is used next.
    head: usize,
    len: usize,
}

impl Vacant {
    /// All of `slots` slots are vacant.
    pub(super) fn all(slots: u32) -> Self {
        Self { ring: Pages::new(slots as usize, |slot| slot as u32), head: 0, len: slots as usize }
    }

    /// The slot that will be used after `nth` others.
    #[inline]
    pub(super) fn peek(&self, nth: usize) -> Option<ConnId> {
        (nth < self.len).then(|| ConnId::new(self.ring[self.place(nth)]))
    }

    /// Takes the next vacant slot, if there is one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<ConnId> {
        let next = self.peek(0)?;
        self.head = self.place(1);
        self.len -= 1;
        Some(next)
    }

    /// Adds a slot that has become vacant.
    #[inline]
    pub(super) fn put(&mut self, id: ConnId) {
        debug_assert!(self.len < self.ring.len(), "a slot became vacant twice");
        let place = self.place(self.len);
        self.ring[place] = id.as_u32();
        self.len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ring.memory_bytes()
    }

    /// The place `n` places after the head. `n` is at most the number of places.
    #[inline]
    fn place(&self, n: usize) -> usize {
        let place = self.head + n;
        if place >= self.ring.len() { place - self.ring.len() } else { place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_in_the_order_in_which_they_were_freed() {
        let mut vacant = Vacant::all(3);
        let slots = |vacant: &Vacant| {
            (0..4).map_while(|nth| vacant.peek(nth)).map(ConnId::as_u32).collect::<Vec<_>>()
        };
        assert_eq!(slots(&vacant), [0, 1, 2]);
        for _ in 0..10 {
            let [a, b] = [vacant.take().unwrap(), vacant.take().unwrap()];
            assert_eq!((slots(&vacant).len(), vacant.len()), (1, 1));
            vacant.put(b);
            vacant.put(a);
            assert_eq!(slots(&vacant)[1..], [b.as_u32(), a.as_u32()]);
        }
        assert_eq!((0..3).map(|_| vacant.take().unwrap()).count(), 3);
        assert_eq!((vacant.take(), vacant.peek(0), Vacant::all(0).take()), (None, None, None));
    }
}
