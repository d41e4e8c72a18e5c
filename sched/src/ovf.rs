//! `ovf`: the heaviest destination, until it has more active connections than weight.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_ovf.c: ip_vs_ovf_schedule`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// One over weight, while active connections are not above the weight.
pub(crate) struct Ovf;

impl Measure for Ovf {
    fn score<L: Loads>(_: u64, dest: &Dest, loads: &L) -> Score {
        if available(dest, loads) && loads.active(dest.id) <= dest.share() {
            Score::new(1, dest.share())
        } else {
            Score::NEVER
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn ovf1_each_takes_its_weight_and_one_more() {
        let mut farm = Farm::new(Kind::Ovf);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.syn(11), "13 13 13 13 12 12 12 11 11 - -");
        farm.load(12, 2, 0);
        assert_eq!(farm.syn(2), "12 -");
    }
}
