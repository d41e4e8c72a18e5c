//! `lc`: the fewest connections; the weight matters only if it is 0.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_lc.c: ip_vs_lc_schedule`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// Connection overhead.
pub(crate) struct Lc;

impl Measure for Lc {
    fn score<L: Loads>(_: u64, dest: &Dest, loads: &L) -> Score {
        if available(dest, loads) { Score::new(loads.overhead(dest.id), 1) } else { Score::NEVER }
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn lc1_weight_is_ignored_unless_zero() {
        let mut farm = Farm::new(Kind::Lc);
        farm.add(11, 1).add(12, 10).add(13, 0);
        assert_eq!(farm.udp(6), "12 11 12 11 12 11");
    }

    #[test]
    fn lc2_active_connections_spread_evenly() {
        let mut farm = Farm::new(Kind::Lc);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.syn(16), "13 12 11 13 12 11 13 12 11 13 12 11 13 12 11 13");
    }
}
