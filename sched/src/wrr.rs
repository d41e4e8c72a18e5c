//! `wrr`: each destination in turn, heavier ones more often, interleaved.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_wrr.c: ip_vs_wrr_schedule, ip_vs_wrr_init_svc,
//! ip_vs_wrr_dest_changed`.

use crate::Dest;
use crate::DestId;
use crate::Edit;
use crate::Levels;
use crate::Loads;
use crate::Plan;
use crate::Stagger;
use crate::cursor::Cursor;

/// One worker's place in the list, and its level of weight.
#[derive(Debug)]
pub(crate) struct Round {
    last: Cursor,
    /// Destinations of at least this weight are chosen in this pass over the list.
    level: u32,
    levels: Levels,
    stagger: Stagger,
    /// An edit has sent the cursor back to the start; the next rebase puts it there.
    restart: bool,
}

impl Round {
    pub(crate) fn new(plan: &Plan, stagger: Stagger) -> Self {
        let levels = Levels::of(plan.dests());
        Self { last: start(plan, stagger), level: levels.top, levels, stagger, restart: false }
    }

    /// The next destination whose weight reaches the level; the level sinks with each pass.
    pub(crate) fn pick(&mut self, plan: &Plan, loads: &impl Loads) -> Option<DestId> {
        let Levels { step, top } = self.levels;
        if top == 0 {
            return None;
        }
        let last = self.last;
        let (mut from, mut until) = (last.next(), plan.dests().len());
        let (mut final_pass, mut restarted, mut stop) = (false, false, false);
        let mut heaviest = None;
        loop {
            let found = next(plan, loads, from, self.level).filter(|(at, _)| *at < until);
            if let Some((at, dest)) = found {
                self.last.go(plan, at);
                return Some(dest.id);
            }
            if stop {
                // The final pass has reached the element where the search began.
                self.last = last;
                return None;
            }
            if self.level <= step {
                self.level = top;
                if final_pass || last.is_head() {
                    self.last = Cursor::HEAD;
                    return None;
                }
                restarted = true;
            } else {
                self.level -= step;
            }
            // A whole pass found nothing: heavy destinations are overloaded, and more such passes
            // may follow.
            if from == 0 {
                let heaviest = *heaviest.get_or_insert_with(|| heaviest_available(plan, loads));
                self.level = sink(self.level, step, heaviest);
            }
            final_pass = self.level <= step;
            if final_pass && restarted && !last.is_head() {
                (stop, until) = (true, last.next());
            }
            from = 0;
        }
    }

    pub(crate) fn replay(&mut self, edit: &Edit) {
        let Levels { step, top } = edit.levels;
        self.levels = edit.levels;
        self.restart = true;
        if self.level > top || self.level == 0 {
            self.level = top;
        } else if step > 1 {
            self.level = self.level / step * step + 1;
        }
    }

    pub(crate) fn rebase(&mut self, plan: &Plan) {
        if self.restart {
            self.restart = false;
            self.last = start(plan, self.stagger);
        } else {
            self.last.rebase(plan);
        }
    }
}

/// Where a round starts: at the head, except for staggered workers.
fn start(plan: &Plan, stagger: Stagger) -> Cursor {
    Cursor::behind(plan, stagger.skip(plan.dests().len()))
}

/// The first destination, not before position `from`, that weighs enough and is not overloaded.
fn next<'a>(plan: &'a Plan, loads: &impl Loads, mut from: usize, level: u32) -> Option<(usize, &'a Dest)> {
    loop {
        let (at, dest) = plan.next_as_heavy(from, level)?;
        if !loads.overloaded(dest.id) {
            return Some((at, dest));
        }
        from = at + 1;
    }
}

/// The greatest weight of the destinations that are not overloaded.
fn heaviest_available(plan: &Plan, loads: &impl Loads) -> u32 {
    plan.dests().iter().filter(|d| !loads.overloaded(d.id)).map(Dest::share).max().unwrap_or(0)
}

/// Skips all levels above the `heaviest` weight. At least one level above 0 is left.
///
/// Linux makes one pass over the list for each such level and finds nothing. With weights such as 2
/// 000 000 000 that takes seconds. The choice is the same.
const fn sink(level: u32, step: u32, heaviest: u32) -> u32 {
    let excess = level.saturating_sub(heaviest).div_ceil(step);
    let most = level.saturating_sub(1) / step;
    level - step * if excess < most { excess } else { most }
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn wrr1_first_cycle_starts_at_the_level_of_the_first_add() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(11, 4).add(12, 3).add(13, 2);
        assert_eq!(farm.udp(18), "13 12 11 11 12 11 13 12 11 13 12 11 11 12 11 13 12 11");
    }

    #[test]
    fn wrr2_rounds_go_on_across_edits() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(13, 2).add(12, 3).add(11, 4);
        assert_eq!(farm.udp(18), "11 12 13 11 11 12 11 12 13 11 12 13 11 11 12 11 12 13");
        farm.weigh(12, 1);
        assert_eq!(farm.udp(14), "11 13 11 12 13 11 11 11 13 11 12 13 11 11");
        farm.weigh(11, 8);
        assert_eq!(farm.udp(22), "11 11 13 11 12 13 11 11 11 11 11 11 11 13 11 12 13 11 11 11 11 11");
        farm.add(14, 8);
        assert_eq!(farm.udp(12), "14 11 14 11 14 11 13 14 11 12 13 14");
        farm.delete(14);
        assert_eq!(farm.udp(11), "11 11 11 11 11 11 11 13 11 12 13");
    }

    #[test]
    fn canonical_cycle_from_the_top() {
        let mut farm = Farm::new(Kind::Rr);
        farm.add(3, 2).add(2, 3).add(1, 4);
        farm.reschedule(Kind::Wrr);
        assert_eq!(farm.udp(9), "1 1 2 1 2 3 1 2 3");
    }

    #[test]
    fn built_by_adding_the_first_cycle_is_cut() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(3, 2).add(2, 3).add(1, 4);
        assert_eq!(farm.udp(18), "1 2 3 1 1 2 1 2 3 1 2 3 1 1 2 1 2 3");
    }

    #[test]
    fn wrr3_weight_zero_is_left_out() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(11, 20).add(12, 10).add(13, 0);
        assert_eq!(farm.udp(9), "12 11 11 12 11 11 12 11 11");
    }

    #[test]
    fn wrr4_equal_weights_alternate() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(11, 5).add(12, 5);
        assert_eq!(farm.udp(6), "12 11 12 11 12 11");
    }

    #[test]
    fn wrr5_a_new_divisor_moves_the_level() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(11, 6).add(12, 4).add(13, 2);
        assert_eq!(farm.udp(12), "13 12 11 11 12 11 13 12 11 11 12 11");
        farm.weigh(11, 5);
        assert_eq!(farm.udp(11), "12 11 13 12 11 13 12 11 11 12 11");
    }

    #[test]
    fn wrr6_the_overloaded_is_passed_over() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(11, 3).add(12, 1).limit(12, 2);
        assert_eq!(farm.udp(12), "12 11 11 11 12 11 11 11 11 11 11 11");
    }

    #[test]
    fn wrr7_a_service_edited_from_rr_starts_at_the_top() {
        let mut farm = Farm::new(Kind::Rr);
        farm.add(11, 1).add(12, 2).add(13, 3);
        assert_eq!(farm.udp(4), "13 12 11 13");
        farm.reschedule(Kind::Wrr);
        assert_eq!(farm.udp(9), "13 13 12 13 12 11 13 13 12");
    }

    #[test]
    fn huge_weights_of_overloaded_destinations_cost_nothing() {
        let mut farm = Farm::new(Kind::Wrr);
        farm.add(11, 1).add(12, i32::MAX).limit(12, 1);
        assert_eq!(farm.udp(4), "12 11 11 11");
        farm.limit(11, 1);
        assert_eq!(farm.udp(4), "- - - -");
    }
}
