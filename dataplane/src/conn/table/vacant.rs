//! The vacant slots, in the order in which they will be used: first in, first out.
//!
//! They lie in a ring of their own rather than being linked through the slots, so that which ones
//! come next is known without waiting for their lines.

use crate::conn::entry::ConnId;
use crate::conn::table::pages::Pages;

pub(super) struct Vacant {
    /// As many places as there are slots.
    ring: Pages<u32>,
    /// The place of the slot to use next.
    head: usize,
    len: usize,
}

impl Vacant {
    /// All of so many slots.
    pub(super) fn all(slots: u32) -> Self {
        Self { ring: Pages::new(slots as usize, |slot| slot as u32), head: 0, len: slots as usize }
    }

    /// The slot that is used `nth` from now, 0 being the next one.
    #[inline]
    pub(super) fn peek(&self, nth: usize) -> Option<ConnId> {
        (nth < self.len).then(|| ConnId::new(self.ring[self.place(nth)]))
    }

    /// Takes the next one, if there is one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<ConnId> {
        let next = self.peek(0)?;
        self.head = self.place(1);
        self.len -= 1;
        Some(next)
    }

    /// A slot has become vacant.
    #[inline]
    pub(super) fn put(&mut self, id: ConnId) {
        debug_assert!(self.len < self.ring.len(), "a slot is vacant once");
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

    /// `n` places, at most as many as there are, after the head.
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
    fn slots_come_back_in_the_order_they_went() {
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
