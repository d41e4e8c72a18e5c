//! `twos`: of two destinations drawn by weight, the less loaded.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_twos.c: ip_vs_twos_schedule`.

use crate::Dest;
use crate::DestId;
use crate::Loads;
use crate::Plan;
use crate::Random;
use crate::board::FEW;
use crate::board::room_wanted;
use crate::measure::available;
use crate::sums::Sums;

/// The weights to draw by: running sums for a long list. A short list is added up for each choice.
#[derive(Debug)]
pub(crate) struct Lottery {
    sums: Sums,
    /// All weights must be computed again before the next choice.
    stale: bool,
}

impl Lottery {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { sums: Sums::with_room(room_wanted(plan.dests().len())), stale: true }
    }

    /// Draws two destinations. The second is chosen if it has strictly less load for its weight.
    pub(crate) fn pick(
        &mut self,
        plan: &Plan,
        loads: &impl Loads,
        random: &mut dyn Random,
    ) -> Option<DestId> {
        let scans = self.scans(plan);
        if self.stale && !scans {
            self.sums.fill(plan.dests().iter().map(|dest| tickets(dest, loads)));
            self.stale = false;
        }
        let total = if scans {
            plan.dests().iter().map(|dest| u64::from(tickets(dest, loads))).sum()
        } else {
            self.sums.total()
        };
        if total == 0 {
            return None;
        }
        // Draws start at 0, so the first destination has one more ticket.
        let mut draw = || {
            let ticket = random.below_inclusive(total).max(1);
            let at = if scans { holder(plan, loads, ticket) } else { self.sums.holder(ticket) };
            plan.dests().get(at?)
        };
        let (one, other) = (draw()?, draw()?);
        let [a, b] = [one, other].map(|dest| u128::from(loads.overhead(dest.id)));
        let better = u128::from(other.share()) * a > u128::from(one.share()) * b;
        Some(if better { other.id } else { one.id })
    }

    /// Notes that the load of `dest` changed.
    pub(crate) fn load_changed(&mut self, plan: &Plan, dest: DestId, loads: &impl Loads) {
        if self.stale || self.scans(plan) {
            return;
        }
        let position = plan.position(dest);
        if let Some((at, dest)) = position.and_then(|at| Some((at, plan.dests().get(at)?))) {
            self.sums.set(at, tickets(dest, loads));
        }
    }

    /// Notes that any weight may have changed.
    pub(crate) const fn invalidate(&mut self) {
        self.stale = true;
    }

    /// How many destinations there is room for.
    pub(crate) fn room(&self) -> usize {
        self.sums.room().max(FEW)
    }

    fn scans(&self, plan: &Plan) -> bool {
        let len = plan.dests().len();
        len <= FEW || len > self.sums.room()
    }
}

/// A destination's weight, if it can be drawn.
fn tickets(dest: &Dest, loads: &impl Loads) -> u32 {
    if available(dest, loads) { dest.share() } else { 0 }
}

/// The position of the first destination at which the running sum of weights reaches `ticket`.
fn holder(plan: &Plan, loads: &impl Loads, ticket: u64) -> Option<usize> {
    let mut sum = 0;
    plan.dests().iter().position(|dest| {
        sum += u64::from(tickets(dest, loads));
        sum >= ticket
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ctx;
    use crate::Kind;
    use crate::Tuning;
    use crate::testing;
    use crate::testing::Farm;

    /// Draws the given numbers.
    struct Rigged(Vec<u64>);

    impl Random for Rigged {
        fn below_inclusive(&mut self, max: u64) -> u64 {
            let draw = self.0.remove(0);
            assert!(draw <= max);
            draw
        }
    }

    fn pick(farm: &mut Farm, one: u64, other: u64) -> String {
        let mut random = Rigged(vec![one, other]);
        let mut ctx = Ctx { now: 0, random: &mut random, tuning: Tuning::default() };
        testing::show(farm.state.pick(&farm.plan, &farm.loads, &testing::key(2, 1), &mut ctx))
    }

    #[test]
    fn the_first_destination_has_one_ticket_more() {
        let mut farm = Farm::new(Kind::Twos);
        farm.add(2, 1).add(1, 1);
        assert_eq!(pick(&mut farm, 0, 0), "1");
        assert_eq!(pick(&mut farm, 1, 1), "1");
        assert_eq!(pick(&mut farm, 2, 2), "2");
        assert_eq!(pick(&mut farm, 1, 2), "1", "the first drawn among equals");
        assert_eq!(pick(&mut farm, 2, 1), "2", "the first drawn among equals");
    }

    #[test]
    fn the_less_loaded_for_its_weight_is_chosen() {
        let mut farm = Farm::new(Kind::Twos);
        farm.add(2, 2).add(1, 1).load(1, 0, 2).load(2, 0, 3);
        assert_eq!(pick(&mut farm, 1, 2), "2");
        assert_eq!(pick(&mut farm, 2, 1), "2");
        farm.load(2, 0, 4);
        assert_eq!(pick(&mut farm, 1, 2), "1");
    }

    #[test]
    fn the_unavailable_are_not_drawn() {
        let mut farm = Farm::new(Kind::Twos);
        assert_eq!(testing::show(farm.pick(&testing::key(2, 1))), "-");
        farm.add(3, 4).add(2, 0).add(1, 5).limit(1, 1).load(1, 0, 1);
        for ticket in 0..=4 {
            assert_eq!(pick(&mut farm, ticket, 4 - ticket), "3");
        }
    }
}
