//! A bounded slab of stable slots. Values never move. Freed slots are used again in the order in
//! which they were freed; slots that were never used come last.

use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
    limit: u32,
}

/// A slot goes from free to taken, to retired, and to free again.
#[derive(Clone, Debug)]
enum Slot<T> {
    Taken(T),
    /// It has no value and may not be used again yet.
    Retired,
    Free,
}

impl<T> Slab<T> {
    pub(super) fn new(limit: u32) -> Self {
        Self { slots: Vec::new(), free: VecDeque::new(), limit }
    }

    /// Puts a value into a free slot; `None` if there is none.
    pub(super) fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(number) = self.free.pop_front() {
            *self.slots.get_mut(number as usize)? = Slot::Taken(value);
            return Some(number);
        }
        let number = u32::try_from(self.slots.len()).ok().filter(|number| *number < self.limit)?;
        self.slots.push(Slot::Taken(value));
        Some(number)
    }

    /// Takes the value out of a slot. Something may still name the slot.
    pub(super) fn retire(&mut self, number: u32) -> Option<T> {
        let slot = self.slots.get_mut(number as usize)?;
        match std::mem::replace(slot, Slot::Retired) {
            Slot::Taken(value) => Some(value),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Frees a retired slot. Returns `false` and does nothing if the slot is not retired.
    pub(super) fn release(&mut self, number: u32) -> bool {
        match self.slots.get_mut(number as usize) {
            Some(slot @ Slot::Retired) => *slot = Slot::Free,
            _ => return false,
        }
        self.free.push_back(number);
        true
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slots.get_mut(number as usize)? {
            Slot::Taken(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.value()
    }

    /// The values from slot `from` on, in slot order.
    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.slots.iter().enumerate().skip(from as usize);
        numbered.filter_map(|(number, slot)| Some((number as u32, slot.value()?)))
    }
}

impl<T> Slot<T> {
    fn value(&self) -> Option<&T> {
        match self {
            Self::Taken(value) => Some(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_dense_bounded_and_reused_in_the_order_they_were_freed() {
        let mut slab = Slab::new(3);
        assert_eq!([slab.insert('a'), slab.insert('b'), slab.insert('c')], [Some(0), Some(1), Some(2)]);
        assert_eq!(slab.insert('d'), None);
        assert_eq!((slab.retire(1), slab.retire(1)), (Some('b'), None));
        assert_eq!(slab.insert('d'), None, "a retired slot is not free");
        assert_eq!(slab.retire(0), Some('a'));
        assert_eq!(
            [slab.release(1), slab.release(0), slab.release(0), slab.release(2)],
            [true, true, false, false]
        );
        assert_eq!(slab.insert('e'), Some(1));
        assert_eq!(slab.iter_from(0).collect::<Vec<_>>(), [(1, &'e'), (2, &'c')]);
        assert_eq!(slab.iter_from(2).collect::<Vec<_>>(), [(2, &'c')]);
        assert_eq!(slab.iter_from(u32::MAX).count(), 0);
    }
}
