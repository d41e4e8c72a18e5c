//! How schedulers that look for the best destination compare two of them.

use crate::Dest;
use crate::Loads;
use crate::rank::Rank;

/// How a scheduler that looks for the best destination compares two of them.
pub(crate) trait Measure {
    /// A number about all destinations together that scores depend on.
    fn survey<L: Loads>(dests: &[Dest], loads: &L) -> u64 {
        let _ = (dests, loads);
        0
    }

    /// How good a choice `dest` is, or [`Score::NEVER`].
    fn score<L: Loads>(survey: u64, dest: &Dest, loads: &L) -> Score;
}

/// The cost of choosing a destination, a fraction. The lowest wins; among equals, the first in list
/// order.
///
/// Linux replaces its candidate if `cost(candidate) * weight(d) > cost(d) * weight(candidate)`. As
/// long as no weight is 0, that is an order of fractions. So the minimum does not depend on the
/// order of comparisons, and a tournament finds the same destination as Linux's walk. A destination
/// that may not be chosen has the score 1/0: under the same formula it loses to everything and
/// beats nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Score {
    cost: u64,
    /// Decides between equal scores; it is divided by the weight, like the cost.
    tie: u64,
    weight: u32,
    /// Not compared; see [`Score::spare`].
    spare: bool,
}

impl Score {
    /// `cost / weight`. `weight` must be above 0.
    pub(crate) const fn new(cost: u64, weight: u32) -> Self {
        Self { cost, tie: 0, weight, spare: false }
    }

    /// The same with `tie / weight` to decide between equal costs.
    pub(crate) const fn with_tie(self, tie: u64) -> Self {
        Self { tie, ..self }
    }

    /// The same with a note whether the destination has much to spare.
    pub(crate) const fn with_spare(self, spare: bool) -> Self {
        Self { spare, ..self }
    }

    /// Whether this is strictly better than `other`.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        // 128 bits cannot overflow: a cost has 64, a weight 32.
        let (mine, theirs) = (u128::from(self.weight), u128::from(other.weight));
        let (a, b) = (u128::from(self.cost) * theirs, u128::from(other.cost) * mine);
        a < b || (a == b && u128::from(self.tie) * theirs < u128::from(other.tie) * mine)
    }

    /// A number that is never lower for a worse score. It does not include the tie.
    #[inline]
    pub(crate) fn rank(&self) -> Rank {
        Rank::of(self.cost, self.weight)
    }

    /// Whether the rank alone tells how good this score is: plain scores of equal rank are equal.
    /// `cheap` is [`Rank::cost_told_apart`].
    #[inline]
    pub(crate) const fn is_plain(&self, cheap: u64) -> bool {
        self.tie == 0 && self.cost < cheap && self.weight <= Rank::LIGHT
    }

    /// Whether the destination has much to spare, whether or not it may be chosen.
    pub(crate) const fn spare(&self) -> bool {
        self.spare
    }

    /// May not be chosen.
    pub(crate) const NEVER: Self = Self { cost: 1, tie: 0, weight: 0, spare: false };
}

/// Neither quiesced nor overloaded.
pub(crate) fn available<L: Loads>(dest: &Dest, loads: &L) -> bool {
    dest.weight > 0 && !loads.overloaded(dest.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ineligible_lose_to_all_and_beat_none() {
        let worst = Score::new(u64::MAX, 1).with_tie(u64::MAX);
        assert!(worst.beats(&Score::NEVER));
        assert!(!Score::NEVER.beats(&worst));
        assert!(!Score::NEVER.beats(&Score::NEVER));
    }

    #[test]
    fn equal_fractions_do_not_beat_each_other_unless_by_tie() {
        let (a, b) = (Score::new(2, 1), Score::new(6, 3));
        assert!(!a.beats(&b) && !b.beats(&a));
        assert!(a.with_tie(1).beats(&b.with_tie(4)));
        assert!(!a.with_tie(1).beats(&b.with_tie(3)));
    }
}
