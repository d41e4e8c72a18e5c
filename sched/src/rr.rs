//! `rr`: each destination in turn.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_rr.c: ip_vs_rr_schedule, ip_vs_rr_del_dest`.

use crate::DestId;
use crate::Edit;
use crate::Loads;
use crate::Plan;
use crate::Stagger;
use crate::cursor::Cursor;

/// One worker's place in the list: the destination chosen last.
#[derive(Debug)]
pub(crate) struct Turn {
    last: Cursor,
    /// Where to start, until something has been chosen.
    start: Option<Stagger>,
}

impl Turn {
    pub(crate) fn new(plan: &Plan, stagger: Stagger) -> Self {
        Self { last: Cursor::behind(plan, stagger.skip(plan.dests().len())), start: Some(stagger) }
    }

    /// The first available destination after the one chosen last. That one is tried last.
    pub(crate) fn pick(&mut self, plan: &Plan, loads: &impl Loads) -> Option<DestId> {
        let next = self.last.next();
        let places = plan.dests().iter().enumerate();
        let (at, dest) = places
            .clone()
            .skip(next)
            .chain(places.take(next))
            .find(|(_, dest)| dest.weight > 0 && !loads.overloaded(dest.id))?;
        self.last.go(plan, at);
        self.start = None;
        Some(dest.id)
    }

    pub(crate) fn replay(&mut self, edit: &Edit) {
        self.last.replay(edit);
    }

    pub(crate) fn rebase(&mut self, plan: &Plan) {
        match self.start {
            Some(stagger) => self.last = Cursor::behind(plan, stagger.skip(plan.dests().len())),
            None => self.last.rebase(plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn rr1_turns_go_on_across_edits() {
        let mut farm = Farm::new(Kind::Rr);
        farm.add(11, 1).add(12, 1).add(13, 1);
        assert_eq!(farm.udp(7), "13 12 11 13 12 11 13");
        farm.delete(12);
        assert_eq!(farm.udp(5), "11 13 11 13 11");
        farm.add(14, 1);
        assert_eq!(farm.udp(6), "14 13 11 14 13 11");
        farm.weigh(14, 0);
        assert_eq!(farm.udp(4), "13 11 13 11");
        farm.weigh(14, 3);
        assert_eq!(farm.udp(5), "14 13 11 14 13");
        farm.delete(11);
        assert_eq!(farm.udp(4), "14 13 14 13");
    }

    #[test]
    fn the_only_destination_is_chosen_again_and_none_when_it_cannot() {
        let mut farm = Farm::new(Kind::Rr);
        assert_eq!(farm.udp(1), "-");
        farm.add(11, 1);
        assert_eq!(farm.udp(3), "11 11 11");
        farm.weigh(11, 0);
        assert_eq!(farm.udp(2), "- -");
        farm.delete(11);
        assert_eq!(farm.udp(1), "-");
    }

    #[test]
    fn workers_start_spread_out() {
        let picks: Vec<String> = (0..3)
            .map(|worker| {
                let mut farm = Farm::staggered(Kind::Rr, Stagger::new(worker, 3));
                farm.add(11, 1).add(12, 1).add(13, 1);
                farm.udp(4)
            })
            .collect();
        assert_eq!(picks, ["13 12 11 13", "12 11 13 12", "11 13 12 11"]);
    }
}
