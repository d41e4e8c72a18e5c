//! `nq`: the first idle destination; if there is none, the choice of `sed`.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_nq.c: ip_vs_nq_schedule`.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// Like [`Sed`](crate::sed::Sed), but an idle destination costs nothing, so the first idle one
/// wins.
pub(crate) struct Nq;

impl Measure for Nq {
    fn score<L: Loads>(_: u64, dest: &Dest, loads: &L) -> Score {
        if !available(dest, loads) {
            return Score::NEVER;
        }
        match u64::from(loads.active(dest.id)) {
            0 => Score::new(0, dest.share()),
            active => Score::new(active + 1, dest.share()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn nq1_the_idle_go_first_then_the_fastest() {
        let mut farm = Farm::new(Kind::Nq);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.syn(16), "13 12 11 13 13 12 13 12 13 13 12 11 13 12 13 13");
    }

    #[test]
    fn an_idle_destination_must_be_available() {
        let mut farm = Farm::new(Kind::Nq);
        farm.add(11, 1).add(12, 0).add(13, 1).limit(13, 1).load(13, 0, 1).load(11, 5, 0);
        assert_eq!(farm.syn(1), "11");
    }
}
