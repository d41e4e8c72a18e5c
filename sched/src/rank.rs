//! Fractions as whole numbers.

/// A fraction as a whole number. The greater of two fractions never has the lower rank.
///
/// It is made of the bits of the fraction in floating point, rounded to the nearest: such bits have
/// the order of the numbers. It keeps all 53 significant bits, and as few bits of the exponent as
/// the fractions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u64);

impl Rank {
    /// The rank of `cost / weight`; [`Rank::LAST`] if `weight` is 0.
    #[inline]
    pub(crate) fn of(cost: u64, weight: u32) -> Self {
        let fraction =
            if cost < EXACT { cost as f64 / f64::from(weight) } else { rounded_once(cost, weight) };
        // The bits of infinity and of NaN are a greater number than those of any fraction.
        Self(fraction.to_bits().saturating_sub(BELOW_ALL).min(Self::LAST.0))
    }

    /// Below this cost, unequal fractions have unequal ranks, even when the lowest `cut` bits of
    /// the ranks are cut off. It holds for weights up to [`Rank::LIGHT`].
    ///
    /// Two such fractions differ by at least one part in `cost * weight`, with the cost of one and
    /// the weight of the other. Two numbers that become equal when the lowest bits are cut off
    /// differ by at most `2^cut` parts in 2^52; the rounding may add one bit.
    pub(crate) const fn cost_told_apart(cut: u32) -> u64 {
        1 << 35 >> cut
    }

    #[inline]
    pub(crate) const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// Above all fractions.
    pub(crate) const LAST: Self = Self(((1023 + 65) << 52) - BELOW_ALL);
    /// The greatest weight for which [`Rank::cost_told_apart`] holds. Usual weights are below it.
    pub(crate) const LIGHT: u32 = 1 << 16;
}

/// `cost / weight` for a cost that floating point cannot hold exactly. Converting the cost first
/// would round twice.
#[cold]
#[inline(never)]
fn rounded_once(cost: u64, weight: u32) -> f64 {
    let (cost, weight) = (u128::from(cost) << 63, u128::from(weight));
    let (Some(whole), Some(rest)) = (cost.checked_div(weight), cost.checked_rem(weight)) else {
        return f64::INFINITY;
    };
    // This number has more than 55 bits. Its lowest bit stands for all bits that were cut off, so
    // it rounds as the exact quotient would.
    ((whole << 1) | u128::from(rest != 0)) as f64 / TWO_TO_64
}

/// Floating point holds whole numbers up to this one exactly.
const EXACT: u64 = 1 << 53;
/// The bits of 2^-33. All fractions but 0 are greater.
const BELOW_ALL: u64 = (1023 - 33) << 52;
const TWO_TO_64: f64 = (1_u128 << 64) as f64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_and_the_greatest_are_told_apart_from_all_else() {
        let ranks = [(0, 1), (1, u32::MAX), (1, u32::MAX - (1 << 16)), (u64::MAX - (1 << 20), 1), (1, 0)];
        let ranks = ranks.map(|(cost, weight)| Rank::of(cost, weight));
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        assert_eq!([ranks[0].0, Rank::of(0, u32::MAX).0], [0, 0]);
        for nothing in [Rank::of(0, 0), Rank::of(u64::MAX, 0), Rank::of(1, 0)] {
            assert_eq!(nothing, Rank::LAST);
        }
        assert!(Rank::of(u64::MAX, 1) < Rank::LAST);
        assert_eq!(Rank::LAST.as_i64().leading_zeros(), 5);
    }

    /// Numbers of all lengths, often next to a power of two.
    fn numbers(bits: u32) -> impl Strategy<Value = u64> {
        let any = (0..bits, any::<u64>()).prop_map(move |(cut, number)| number >> (64 - bits) >> cut);
        let round = (0..bits, -2_i64..3).prop_map(move |(power, more)| {
            (1_u64 << power).saturating_add_signed(more).min(u64::MAX >> (64 - bits))
        });
        prop_oneof![any, round]
    }

    /// A fraction, and another that is equal or almost equal.
    fn neighbours() -> impl Strategy<Value = [(u64, u32); 2]> {
        let weights = || numbers(32).prop_map(|weight| weight.max(1) as u32);
        (numbers(64), weights(), weights(), -2_i64..3).prop_map(|(cost, weight, other, more)| {
            let near =
                (u128::from(cost) * u128::from(other) / u128::from(weight)).min(u64::MAX.into()) as u64;
            [(cost, weight), (near.saturating_add_signed(more), other)]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn ranks_never_order_otherwise_than_fractions([a, b] in neighbours()) {
            let exact = (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1)));
            let ranks = Rank::of(a.0, a.1).cmp(&Rank::of(b.0, b.1));
            prop_assert!(ranks.is_eq() || ranks == exact, "{a:?} {b:?}");
            if exact.is_eq() || ([a, b].iter().all(|(cost, weight)| *cost < Rank::cost_told_apart(0) && *weight <= Rank::LIGHT)) {
                prop_assert_eq!(ranks, exact, "{:?} {:?}", a, b);
            }
        }

        #[test]
        fn low_costs_are_told_apart_without_the_lowest_bits(
            cut in 0_u32..24,
            cost in any::<u64>(),
            [one, other] in [1..=Rank::LIGHT, 1..=Rank::LIGHT],
        ) {
            let cost = cost % Rank::cost_told_apart(cut);
            let near = (u128::from(cost) * u128::from(other) / u128::from(one)) as u64;
            let rank = |cost, weight| (Rank::LAST.as_i64() - Rank::of(cost, weight).as_i64()) >> cut;
            for near in [near, near + 1].into_iter().filter(|near| *near < Rank::cost_told_apart(cut)) {
                let exact = (u128::from(cost) * u128::from(other)).cmp(&(u128::from(near) * u128::from(one)));
                prop_assert_eq!(rank(near, other).cmp(&rank(cost, one)), exact);
            }
        }
    }
}
