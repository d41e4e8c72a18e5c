//! Finds the next destination that is heavy enough.

use alloc::boxed::Box;
use alloc::vec;

use crate::Dest;

/// Finds the next destination in the list that is heavy enough, in logarithmic time.
///
/// A binary tree of greatest weights, in an array. Node 1 spans the list; nodes `2n` and `2n + 1`
/// each span half of what node `n` spans. The second half of the array is the list itself.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    nodes: Box<[u32]>,
}

impl Peaks {
    pub(crate) fn of(dests: &[Dest]) -> Self {
        let leaves = dests.len().next_power_of_two();
        let mut nodes = vec![0; 2 * leaves].into_boxed_slice();
        for (at, dest) in dests.iter().enumerate() {
            let mut node = leaves + at;
            while let Some(peak) = nodes.get_mut(node).filter(|peak| **peak < dest.share()) {
                *peak = dest.share();
                node /= 2;
            }
        }
        Self { nodes }
    }

    /// The first position, not before `from`, that has at least this `weight`. `weight` must be
    /// above 0.
    pub(crate) fn next(&self, from: usize, weight: u32) -> Option<usize> {
        let leaves = self.nodes.len() / 2;
        if from >= leaves {
            return None;
        }
        let mut node = leaves + from;
        // Go right, in the largest possible steps.
        while self.peak(node) < weight {
            node += 1;
            if node.is_power_of_two() {
                return None;
            }
            node >>= node.trailing_zeros();
        }
        while node < leaves {
            node *= 2;
            node += usize::from(self.peak(node) < weight);
        }
        Some(node - leaves)
    }

    fn peak(&self, node: usize) -> u32 {
        self.nodes.get(node).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn finds_what_a_walk_finds() {
        for len in [0, 1, 2, 7, 8, 33] {
            let weight = |at: u32| (at * 7919 % 11) as i32;
            let dests: Vec<Dest> = (0..len).map(|at| testing::dest(at, weight(at))).collect();
            let peaks = Peaks::of(&dests);
            for from in 0..dests.len() + 2 {
                for weight in 1..12 {
                    let walk = (from..dests.len()).find(|&at| dests[at].share() >= weight);
                    assert_eq!(peaks.next(from, weight), walk, "{weight} from {from} of {len}");
                }
            }
        }
        assert_eq!(Peaks::default().next(0, 1), None);
    }
}
