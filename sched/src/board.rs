//! The standing of all destinations, for schedulers that look for the best.

use alloc::vec::Vec;

use crate::Dest;
use crate::DestId;
use crate::Loads;
use crate::Plan;
use crate::measure::Measure;
use crate::measure::Score;
use crate::tree::Tree;

/// The standing of all destinations, for schedulers that look for the best.
///
/// Few destinations are compared anew for each choice. Of many, the scores are kept in a tournament
/// tree, so that a choice reads the root and a changed load replays one path to it.
#[derive(Debug)]
pub(crate) struct Board {
    tree: Tree,
    survey: u64,
    /// All scores, and the survey, must be taken anew before the next choice.
    stale: bool,
    /// Destinations whose loads changed since the last choice, and whose scores are yet to be taken anew; as many as
    /// it has capacity for. More of them and taking all scores anew is as cheap.
    changed: Vec<DestId>,
}

impl Board {
    pub(crate) fn new(plan: &Plan) -> Self {
        let room = room_wanted(plan.dests().len());
        let changed = Vec::with_capacity(room / CHANGED);
        Self { tree: Tree::with_room(room), survey: 0, stale: true, changed }
    }

    /// The position of the best destination, the first in list order among equals.
    pub(crate) fn best<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) -> Option<usize> {
        self.catch_up::<M>(plan, loads);
        if self.scans(plan) { scan::<M>(self.survey, plan.dests(), loads) } else { self.tree.winner() }
    }

    /// Whether any destination has much to spare, by the measure.
    pub(crate) fn any_spare<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) -> bool {
        self.catch_up::<M>(plan, loads);
        if self.scans(plan) {
            plan.dests().iter().any(|dest| M::score(self.survey, dest, loads).spare())
        } else {
            self.tree.any_spare()
        }
    }

    /// The load of `dest` changed. Looked at when the next choice is made.
    pub(crate) fn load_changed(&mut self, plan: &Plan, dest: DestId) {
        // A new connection changes its destination's load twice in a row: as it is bound, and as it becomes active.
        if self.stale || self.changed.last() == Some(&dest) || self.scans(plan) {
            return;
        }
        if self.changed.len() < self.changed.capacity() {
            self.changed.push(dest);
        } else {
            self.stale = true;
        }
    }

    /// Has all scores be those of this moment.
    fn catch_up<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) {
        if self.stale {
            self.refresh::<M>(plan, loads);
        }
        while let Some(dest) = self.changed.pop() {
            self.take_anew::<M>(plan, dest, loads);
        }
    }

    fn take_anew<M: Measure>(&mut self, plan: &Plan, dest: DestId, loads: &impl Loads) {
        let position = plan.position(dest);
        if let Some((at, dest)) = position.and_then(|at| Some((at, plan.dests().get(at)?))) {
            self.tree.set(at, M::score(self.survey, dest, loads));
        }
    }

    /// Any score may have changed.
    pub(crate) const fn invalidate(&mut self) {
        self.stale = true;
    }

    /// How many destinations there is room for.
    pub(crate) fn room(&self) -> usize {
        self.tree.room().max(FEW)
    }

    #[cold]
    fn refresh<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) {
        self.changed.clear();
        self.survey = M::survey(plan.dests(), loads);
        if !self.scans(plan) {
            self.tree.fill(plan.dests().iter().map(|dest| M::score(self.survey, dest, loads)));
        }
        self.stale = false;
    }

    /// Whether choices compare all destinations; also the way out if there is no room for a tree.
    fn scans(&self, plan: &Plan) -> bool {
        let len = plan.dests().len();
        len <= FEW || len > self.tree.room()
    }
}

/// Linux's walk: the first eligible destination, then any strictly better one.
pub(crate) fn scan<M: Measure>(survey: u64, dests: &[Dest], loads: &impl Loads) -> Option<usize> {
    let mut best = (None, Score::NEVER);
    for (at, dest) in dests.iter().enumerate() {
        let score = M::score(survey, dest, loads);
        if score.beats(&best.1) {
            best = (Some(at), score);
        }
    }
    best.0
}

/// How many destinations to make room for when there are `len`.
pub(crate) const fn room_wanted(len: usize) -> usize {
    if len <= FEW { 0 } else { (len + len / 2).next_power_of_two() }
}

/// One part in so many of the destinations may have another load before all scores are taken anew.
const CHANGED: usize = 8;
/// Up to this many destinations comparing all of them is cheaper than keeping a tree.
pub(crate) const FEW: usize = 16;
