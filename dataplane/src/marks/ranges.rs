//! Sets of numbers as ranges. The ranges are sorted, and they neither overlap nor touch.

use std::vec;
use std::vec::Vec;

/// A set of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// All numbers.
    pub(super) fn all() -> Self {
        Self(vec![(0, u32::MAX)])
    }

    /// The numbers of `ranges`, with first and last number. The ranges may overlap and be in any
    /// order.
    pub(super) fn new(ranges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<_> = ranges.filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// If `negated`, the numbers that are not in the set; otherwise the set itself.
    pub(super) fn negated(self, negated: bool) -> Self {
        if !negated {
            return self;
        }
        let mut others = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(0);
        for (first, last) in self.0 {
            if let Some(from) = next.filter(|from| *from < first) {
                others.push((from, first - 1));
            }
            next = last.checked_add(1);
        }
        others.extend(next.map(|from| (from, u32::MAX)));
        Self(others)
    }

    /// The numbers that are in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let both = self.0.iter().flat_map(|a| other.0.iter().map(|b| (a.0.max(b.0), a.1.min(b.1))));
        Self::new(both)
    }

    pub(super) fn is_all(&self) -> bool {
        self.0 == [(0, u32::MAX)]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First and last number of each range.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(u32, u32)]) -> Ranges {
        Ranges::new(of.iter().copied())
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        assert_eq!(ranges(&[(5, 9), (1, 2), (3, 3), (8, 20), (30, 29)]).0, [(1, 3), (5, 20)]);
        assert_eq!(ranges(&[(7, u32::MAX), (u32::MAX, u32::MAX)]).0, [(7, u32::MAX)]);
    }

    #[test]
    fn a_negated_set_has_all_other_numbers() {
        assert_eq!(ranges(&[(5, 9), (11, 11)]).negated(true).0, [(0, 4), (10, 10), (12, u32::MAX)]);
        assert_eq!(ranges(&[(0, 9)]).negated(true).0, [(10, u32::MAX)]);
        assert!(ranges(&[]).negated(true).is_all() && Ranges::all().negated(true).is_empty());
        assert_eq!(ranges(&[(4, u32::MAX)]).negated(true).0, [(0, 3)]);
    }

    #[test]
    fn an_intersection_has_the_numbers_of_both_sets() {
        let both = ranges(&[(0, 10), (20, 30)]).intersection(&ranges(&[(5, 25), (30, 40)]));
        assert_eq!(both.0, [(5, 10), (20, 25), (30, 30)]);
    }
}
