//! `wrt`: the shortest response time for its weight, with connections counted.
//!
//! No Linux kernel has it. With all response times equal it is `sed`.
//!
//! A server that gets no connections is not measured again. So a few connections go to servers that
//! have had none for some time: [`Probes`].

use crate::Dest;
use crate::DestId;
use crate::Loads;
use crate::Plan;
use crate::board::Board;
use crate::measure::Measure;
use crate::measure::Score;
use crate::measure::available;

/// One worker's `wrt`.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) board: Board,
    probes: Probes,
}

impl Timed {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { board: Board::new(plan), probes: Probes::default() }
    }

    pub(crate) fn pick(&mut self, plan: &Plan, loads: &impl Loads, now: u64) -> Option<DestId> {
        let position = self.probes.due(plan.dests(), loads, now);
        let position = position.or_else(|| self.board.best::<Wrt>(plan, loads));
        Some(plan.dests().get(position?)?.id)
    }
}

/// Chooses servers to measure again, although another server would be chosen.
///
/// One choice in [`EVERY`] may be such a probe, so a server that is really slow gets no more than
/// that share. A destination is probed only when it has had no connection for some time
/// ([`Loads::to_be_probed`]).
#[derive(Debug, Default)]
struct Probes {
    /// Choices since the last one that could be a probe.
    choices: u32,
    /// The position to look at next.
    next: usize,
}

impl Probes {
    /// The position of the destination to probe, if this choice may be a probe and a destination
    /// needs one.
    fn due(&mut self, dests: &[Dest], loads: &impl Loads, now: u64) -> Option<usize> {
        self.choices += 1;
        if self.choices < EVERY {
            return None;
        }
        self.choices = 0;
        // Look at a bounded part of the list: at most one position for each choice since the last
        // probe.
        for _ in 0..dests.len().min(EVERY as usize) {
            self.next = if self.next < dests.len() { self.next } else { 0 };
            let at = self.next;
            self.next += 1;
            let due = |dest: &Dest| available(dest, loads) && loads.to_be_probed(dest.id, now);
            if dests.get(at).is_some_and(due) {
                return Some(at);
            }
        }
        None
    }
}

/// One choice in this many may be a probe.
const EVERY: u32 = 32;

/// Response time times (active connections plus 1), over weight.
///
/// A destination without a known response time counts as a little faster than the fastest known
/// one. So new servers get work even if they are last in the list. That time is computed again
/// after [`State::loads_changed`](crate::State::loads_changed).
pub(crate) struct Wrt;

impl Measure for Wrt {
    fn survey<L: Loads>(dests: &[Dest], loads: &L) -> u64 {
        let known = dests.iter().filter(|dest| available(dest, loads));
        known
            .filter_map(|dest| loads.response_time(dest.id))
            .min()
            .map_or(1, |time| u64::from(time.saturating_sub(1).max(1)))
    }

    fn score<L: Loads>(least: u64, dest: &Dest, loads: &L) -> Score {
        if !available(dest, loads) {
            return Score::NEVER;
        }
        let time = loads.response_time(dest.id).map_or(least, |time| u64::from(time.max(1)));
        // The time is below 2^32, the connections are at most 2^32: the product fits.
        Score::new(time.saturating_mul(u64::from(loads.active(dest.id)) + 1), dest.share())
    }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;
    use crate::testing::key;

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
    fn an_unmeasured_server_counts_as_fast_as_the_fastest_measured() {
        let mut farm = Farm::new(Kind::Wrt);
        farm.add(2, 1).add(1, 1).change(1, |l| l.response = Some(500));
        assert_eq!(farm.syn(4), "2 1 2 1");
    }

    #[test]
    fn an_unmeasured_server_comes_before_the_measured_wherever_in_the_list() {
        let mut farm = Farm::new(Kind::Wrt);
        farm.add(1, 1).add(2, 1).change(2, |l| l.response = Some(500));
        assert_eq!(farm.syn(4), "1 2 1 2");
    }

    #[test]
    fn one_choice_in_32_probes_a_server_without_recent_connections() {
        let mut farm = Farm::new(Kind::Wrt);
        farm.add(3, 1).add(2, 1).add(1, 1);
        for (id, response) in [(1, 1000), (2, 90_000), (3, 90_000)] {
            farm.change(id, |l| l.response = Some(response));
        }
        // No connection is counted, so the fastest server is always the best.
        let picks =
            |farm: &mut Farm| (0..128).map(|_| farm.pick(&key(2, 0)).unwrap().as_u32()).collect::<Vec<_>>();
        assert!(picks(&mut farm).iter().all(|id| *id == 1), "nobody is to be probed");
        farm.change(2, |l| l.to_be_probed = true).change(3, |l| l.to_be_probed = true);
        let probed: Vec<_> = picks(&mut farm).into_iter().enumerate().filter(|(_, id)| *id != 1).collect();
        assert_eq!(probed, [(31, 2), (63, 3), (95, 2), (127, 3)], "in turn");
        farm.weigh(2, 0).limit(3, 1).load(3, 1, 0);
        assert!(picks(&mut farm).iter().all(|id| *id == 1), "who may not be chosen is not probed");
    }

    #[test]
    fn each_probe_looks_at_few_destinations_and_in_the_end_at_all() {
        let mut farm = Farm::new(Kind::Wrt);
        for id in 1..=100 {
            farm.add(id, 1).change(id, |l| l.response = Some(1000 + id));
        }
        farm.change(40, |l| l.to_be_probed = true);
        let picks: Vec<_> = (0..32 * 4).map(|_| farm.pick(&key(2, 0)).unwrap().as_u32()).collect();
        assert_eq!(picks.iter().filter(|id| **id == 40).count(), 1);
    }
}
