//! `sed`: the shortest expected delay, counting the connection to come.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_sed.c: ip_vs_sed_schedule, ip_vs_sed_dest_overhead`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// Active connections and one more, over weight.
pub(crate) struct Sed;

impl Measure for Sed {
    fn score<L: Loads>(_: u64, dest: &Dest, loads: &L) -> Score {
        if available(dest, loads) {
            Score::new(u64::from(loads.active(dest.id)) + 1, dest.share())
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
    fn sed1_the_faster_get_the_first() {
        let mut farm = Farm::new(Kind::Sed);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.syn(16), "13 12 13 13 12 11 13 12 13 13 12 11 13 12 13 13");
    }

    #[test]
    fn inactive_connections_do_not_count() {
        let mut farm = Farm::new(Kind::Sed);
        farm.add(11, 3).add(12, 3).add(13, 2);
        assert_eq!(farm.udp(4), "12 12 12 12");
    }
}
