//! `lt` and `wlt`: the least traffic, and the least traffic for its weight.
//!
//! No Linux kernel has them. Between two ticks of the estimator the measured rate does not change.
//! So each connection scheduled since the last tick counts as an average connection.
//! [`State::loads_changed`](crate::State::loads_changed) makes the next choice compute that
//! average again.

use crate::Dest;
use crate::Loads;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// Traffic.
pub(crate) struct Lt;

impl Measure for Lt {
    fn survey<L: Loads>(dests: &[Dest], loads: &L) -> u64 {
        average(dests, loads)
    }

    fn score<L: Loads>(average: u64, dest: &Dest, loads: &L) -> Score {
        score(average, dest, loads, 1)
    }
}

/// Traffic over weight.
pub(crate) struct Wlt;

impl Measure for Wlt {
    fn survey<L: Loads>(dests: &[Dest], loads: &L) -> u64 {
        average(dests, loads)
    }

    fn score<L: Loads>(average: u64, dest: &Dest, loads: &L) -> Score {
        score(average, dest, loads, dest.share())
    }
}

fn score<L: Loads>(average: u64, dest: &Dest, loads: &L, weight: u32) -> Score {
    if !available(dest, loads) {
        return Score::NEVER;
    }
    let pending = u64::from(loads.pending(dest.id)).saturating_mul(average);
    let traffic = loads.traffic(dest.id).saturating_add(pending);
    Score::new(traffic, weight).with_tie(loads.overhead(dest.id))
}

/// The traffic of an average connection, bytes per second, at least 1.
fn average<L: Loads>(dests: &[Dest], loads: &L) -> u64 {
    let (mut traffic, mut connections) = (0_u64, 0_u64);
    for dest in dests.iter().filter(|dest| available(dest, loads)) {
        traffic = traffic.saturating_add(loads.traffic(dest.id));
        connections += u64::from(loads.active(dest.id)) + u64::from(loads.inactive(dest.id));
    }
    (traffic / connections.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crate::Kind;
    use crate::testing::Farm;

    fn traffic(farm: &mut Farm, rates: &[(u32, u64)]) {
        for &(id, rate) in rates {
            farm.change(id, |load| (load.traffic, load.pending) = (rate, 0));
        }
        farm.state.loads_changed();
    }

    #[test]
    fn lt_a_pending_connections_count_as_average_ones() {
        let mut farm = Farm::new(Kind::Lt);
        farm.add(3, 1).add(2, 1).add(1, 1).load(1, 0, 10);
        farm.loads.flat = true;
        traffic(&mut farm, &[(1, 3000), (2, 5000), (3, 2000)]);
        assert_eq!(farm.syn(9), "3 1 3 1 3 1 2 3 1");
    }

    #[test]
    fn lt_ties_go_to_the_fewer_connections_then_to_list_order() {
        let mut farm = Farm::new(Kind::Lt);
        farm.add(3, 1).add(2, 1).add(1, 1).load(1, 1, 0).load(2, 0, 2).load(3, 0, 2);
        assert_eq!(farm.pick(&crate::testing::key(2, 1)).map(|d| d.as_u32()), Some(2));
    }

    #[test]
    fn wlt_a_traffic_is_shared_by_weight() {
        let mut farm = Farm::new(Kind::Wlt);
        farm.add(2, 2).add(1, 1).load(1, 0, 1).load(2, 0, 1);
        traffic(&mut farm, &[(1, 1000), (2, 1000)]);
        assert_eq!(farm.syn(5), "2 1 2 2 1");
    }

    #[test]
    fn the_average_stays_between_ticks_however_many_loads_change() {
        let mut farm = Farm::new(Kind::Lt);
        (1..=20).for_each(|id| _ = farm.add(id, 1));
        let rates: Vec<_> =
            (1..=20).map(|id| (id, if id < 3 { 10 * u64::from(id) } else { 1_000_000 })).collect();
        traffic(&mut farm, &rates);
        assert_eq!(farm.syn(1), "1");
        // If the average were computed with so many connections, it would be almost 0, and server
        // 1 would still be the least busy.
        (3..=8).for_each(|id| _ = farm.load(id, 0, 1_000_000));
        assert_eq!(farm.syn(2), "2 20");
    }

    #[test]
    fn a_tick_brings_new_rates() {
        let mut farm = Farm::new(Kind::Lt);
        farm.add(2, 1).add(1, 1);
        traffic(&mut farm, &[(1, 10), (2, 9)]);
        assert_eq!(farm.syn(1), "2");
        traffic(&mut farm, &[(1, 500), (2, 1_000_000)]);
        assert_eq!(farm.syn(3), "1 2 1", "the average connection is 1 000 500");
    }
}
