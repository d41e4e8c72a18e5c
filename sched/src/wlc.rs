//! `wlc`: the fewest connections for its weight.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_wlc.c: ip_vs_wlc_schedule`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// Connection overhead over weight.
pub(crate) struct Wlc;

impl Measure for Wlc {
    fn score<L: Loads>(_: u64, dest: &Dest, loads: &L) -> Score {
        if available(dest, loads) { Score::new(loads.overhead(dest.id), dest.share()) } else { Score::NEVER }
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn wlc1_shares_follow_weights() {
        let cycle = "13 12 11 13 12 13 13 12 11 13 12 13 13 12 11 13 12 13";
        let mut farm = Farm::new(Kind::Wlc);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.syn(18), cycle);
        let mut farm = Farm::new(Kind::Wlc);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.udp(18), cycle);
    }

    #[test]
    fn an_active_connection_weighs_as_256_inactive_ones() {
        for (inactive, picked) in [(255, "11"), (256, "11"), (257, "12")] {
            let mut farm = Farm::new(Kind::Wlc);
            farm.add(12, 1).add(11, 1).load(12, 1, 0).load(11, 0, inactive);
            assert_eq!(farm.syn(1), picked, "{inactive} inactive");
        }
    }
}
