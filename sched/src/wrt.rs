//! `wrt`: the shortest response time, counting connections, for its weight.
//!
//! No Linux kernel has it. With all response times equal it is `sed`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// Response time by active connections and one more, over weight.
///
/// Where no response time is known yet the least known one is assumed, so that new servers get
/// work; it is found when the times are new, see [`State::loads_changed`](crate::State::loads_changed).
pub(crate) struct Wrt;

impl Measure for Wrt {
    fn survey<L: Loads>(dests: &[Dest], loads: &L) -> u64 {
        let known = dests.iter().filter(|dest| available(dest, loads));
        known.filter_map(|dest| loads.response_time(dest.id)).min().map_or(1, |time| u64::from(time.max(1)))
    }

    fn score<L: Loads>(least: u64, dest: &Dest, loads: &L) -> Score {
        if !available(dest, loads) {
            return Score::NEVER;
        }
        let time = loads.response_time(dest.id).map_or(least, |time| u64::from(time.max(1)));
        // Below 2^32 each, one of them at most 2^32: the product fits.
        Score::new(time.saturating_mul(u64::from(loads.active(dest.id)) + 1), dest.share())
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn wrt_a_three_times_as_fast_gets_three_times_as_many() {
        let mut farm = Farm::new(Kind::Wrt);
        farm.add(2, 1)
            .add(1, 1)
            .change(1, |l| l.response = Some(1000))
            .change(2, |l| l.response = Some(3000));
        assert_eq!(farm.syn(9), "1 1 1 2 1 1 1 2 1");
    }

    #[test]
    fn with_equal_times_it_is_sed() {
        let mut farm = Farm::new(Kind::Wrt);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.syn(16), "13 12 13 13 12 11 13 12 13 13 12 11 13 12 13 13");
    }

    #[test]
    fn the_unknown_is_taken_for_the_fastest_known() {
        let mut farm = Farm::new(Kind::Wrt);
        farm.add(2, 1).add(1, 1).change(1, |l| l.response = Some(500));
        assert_eq!(farm.syn(4), "1 2 1 2");
    }
}
