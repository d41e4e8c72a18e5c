//! Running sums of numbers that change one at a time.

use alloc::vec;
use alloc::vec::Vec;

/// Running sums of numbers that change one at a time: a binary indexed tree (Fenwick 1994).
#[derive(Debug)]
pub(crate) struct Sums {
    values: Vec<u32>,
    /// Numbered from 1. Node `n` sums the values of the `n & -n` positions that end at `n - 1`.
    nodes: Vec<u64>,
    /// A power of two, above every position in use.
    len: usize,
}

impl Sums {
    pub(crate) fn with_room(room: usize) -> Self {
        let room = if room == 0 { 0 } else { room.next_power_of_two() };
        Self { values: vec![0; room], nodes: vec![0; room + 1], len: 0 }
    }

    /// Replaces all values.
    pub(crate) fn fill(&mut self, values: impl ExactSizeIterator<Item = u32>) {
        self.len = values.len().next_power_of_two().min(self.room());
        let padded = values.chain(core::iter::repeat(0));
        self.values.iter_mut().take(self.len).zip(padded).for_each(|(slot, value)| *slot = value);
        self.nodes.fill(0);
        for node in 1..=self.len {
            let value = self.values.get(node - 1).copied().unwrap_or(0);
            self.add(node, u64::from(value));
            let sum = self.node(node);
            if node < self.len {
                self.add(parent(node), sum);
            }
        }
    }

    /// Replaces the value of one position.
    pub(crate) fn set(&mut self, position: usize, value: u32) {
        let old = match self.values.get_mut(position) {
            Some(slot) if position < self.len => core::mem::replace(slot, value),
            _ => return,
        };
        let change = u64::from(value).wrapping_sub(u64::from(old));
        let mut node = position + 1;
        while change != 0 && node <= self.len {
            self.add(node, change);
            node = parent(node);
        }
    }

    /// The sum of all values.
    pub(crate) fn total(&self) -> u64 {
        self.node(self.len)
    }

    /// The first position at which the running sum reaches `sum`.
    pub(crate) fn holder(&self, mut sum: u64) -> Option<usize> {
        if sum > self.total() {
            return None;
        }
        let (mut at, mut step) = (0, self.len);
        while step > 0 {
            // The first node spans all values. Its sum is not below `sum`, so it is never stepped
            // over.
            let below = self.node(at + step);
            if at + step <= self.len && below < sum {
                at += step;
                sum -= below;
            }
            step /= 2;
        }
        Some(at)
    }

    /// How many positions there is room for.
    pub(crate) const fn room(&self) -> usize {
        self.values.len()
    }

    fn add(&mut self, node: usize, change: u64) {
        if let Some(sum) = self.nodes.get_mut(node) {
            *sum = sum.wrapping_add(change);
        }
    }

    fn node(&self, node: usize) -> u64 {
        self.nodes.get(node).copied().unwrap_or(0)
    }
}

/// The next node that sums the same positions and more.
const fn parent(node: usize) -> usize {
    node + (node & node.wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_adding_up() {
        let mut values = [3, 0, 5, 1, 0, 0, 2, 9, 4];
        let mut sums = Sums::with_room(9);
        sums.fill(values.into_iter());
        for (at, value) in [(0, 0), (8, 7), (4, 1), (7, 0), (2, 6), (2, 6)] {
            check(&sums, &values);
            sums.set(at, value);
            values[at] = value;
        }
        check(&sums, &values);
        sums.set(16, 1);
        check(&sums, &values);
    }

    fn check(sums: &Sums, values: &[u32]) {
        let total = values.iter().map(|&v| u64::from(v)).sum();
        assert_eq!(sums.total(), total);
        for sum in 1..=total {
            let mut run = 0;
            let holder = values.iter().position(|&v| {
                run += u64::from(v);
                run >= sum
            });
            assert_eq!(sums.holder(sum), holder, "{sum} in {values:?}");
        }
        assert_eq!(sums.holder(total + 1), None);
    }

    #[test]
    fn nothing_sums_to_nothing() {
        let mut sums = Sums::with_room(0);
        assert_eq!((sums.total(), sums.holder(1)), (0, None));
        sums.fill([].into_iter());
        assert_eq!((sums.total(), sums.holder(1)), (0, None));
    }
}
