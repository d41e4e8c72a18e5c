//! The weight levels that weighted round robin steps through.

use crate::Dest;
use crate::DestId;

/// The weight levels that weighted round robin steps through: from `top` down by `step`.
///
/// Linux: `net/netfilter/ipvs/ip_vs_wrr.c: ip_vs_wrr_gcd_weight, ip_vs_wrr_max_weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The greatest common divisor of all weights above 0; 1 if there are none.
    pub step: u32,
    /// The greatest weight minus `step - 1`; 0 if there is no weight above 0.
    pub top: u32,
}

impl Levels {
    /// The levels of a list.
    pub fn of(dests: &[Dest]) -> Self {
        Self::of_weights(dests.iter().map(Dest::share))
    }

    /// The levels of a list after its member with the id of `changed` becomes `changed`.
    pub(crate) fn of_replaced(dests: &[Dest], changed: &Dest) -> Self {
        Self::of_weights(dests.iter().map(|d| if d.id == changed.id { changed.share() } else { d.share() }))
    }

    /// The levels of a list without `gone`.
    pub(crate) fn of_without(dests: &[Dest], gone: DestId) -> Self {
        Self::of_weights(dests.iter().filter(|d| d.id != gone).map(Dest::share))
    }

    /// The levels of a list and one more.
    pub(crate) fn of_with(dests: &[Dest], more: &Dest) -> Self {
        Self::of_weights(dests.iter().chain([more]).map(Dest::share))
    }

    fn of_weights(weights: impl Iterator<Item = u32>) -> Self {
        let (mut divisor, mut max) = (0, 0);
        for weight in weights {
            divisor = gcd(divisor, weight);
            max = max.max(weight);
        }
        let step = divisor.max(1);
        Self { step, top: max - (step - 1).min(max) }
    }
}

/// The greatest common divisor; `gcd(0, a)` is `a`.
pub(crate) const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(weights: &[u32]) -> (u32, u32) {
        let Levels { step, top } = Levels::of_weights(weights.iter().copied());
        (step, top)
    }

    #[test]
    fn levels_follow_gcd_and_maximum() {
        assert_eq!(levels(&[]), (1, 0));
        assert_eq!(levels(&[0, 0]), (1, 0));
        assert_eq!(levels(&[4, 3, 2]), (1, 4));
        assert_eq!(levels(&[0, 20, 10]), (10, 11));
        assert_eq!(levels(&[5, 5]), (5, 1));
        assert_eq!(levels(&[i32::MAX.unsigned_abs()]), (i32::MAX.unsigned_abs(), 1));
    }
}
