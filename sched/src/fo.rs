//! `fo`: the heaviest destination that is available.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_fo.c: ip_vs_fo_schedule`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// One over weight.
pub(crate) struct Fo;

impl Measure for Fo {
    fn score<L: Loads>(_: u64, dest: &Dest, loads: &L) -> Score {
        if available(dest, loads) { Score::new(1, dest.share()) } else { Score::NEVER }
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn fo1_the_heaviest_takes_all() {
        let mut farm = Farm::new(Kind::Fo);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.udp(5), "13 13 13 13 13");
    }

    #[test]
    fn fo2_the_first_of_equals_takes_all() {
        let mut farm = Farm::new(Kind::Fo);
        farm.add(11, 5).add(12, 5);
        assert_eq!(farm.udp(3), "12 12 12");
    }

    #[test]
    fn fo3_the_overloaded_is_replaced_by_the_next() {
        let mut farm = Farm::new(Kind::Fo);
        farm.add(11, 1).add(12, 2).add(13, 3).limit(13, 2);
        assert_eq!(farm.udp(6), "13 13 12 12 12 12");
    }

    #[test]
    fn the_quiesced_is_replaced_by_the_next() {
        let mut farm = Farm::new(Kind::Fo);
        farm.add(11, 1).add(12, 2).weigh(12, 0);
        assert_eq!(farm.udp(1), "11");
        farm.delete(11);
        assert_eq!(farm.udp(1), "-");
    }
}
