//! Chooses the load to try next for one goal.

use core::time::Duration;

use crate::bench::search::goal::Goal;
use crate::bench::search::goal::Target;
use crate::bench::search::history::Bounds;
use crate::bench::search::history::History;
use crate::bench::search::load::Grid;
use crate::bench::search::load::Step;

/// When only one bound is known, each next step goes farther by this factor.
const EXPANSION: u32 = 4;

/// Goes through the targets of a goal, from the first to the goal itself.
#[derive(Debug)]
pub(super) struct Seeker {
    goal: Target,
    /// The targets that are not reached yet: the next one first, the goal last.
    targets: Vec<Target>,
    /// The bounds of the last target: the loads to try first.
    hints: Bounds,
    /// The last load that was tried beyond the only bound, and its distance from the bound.
    reach: Option<(Step, u32)>,
}

impl Seeker {
    pub(super) fn new(goal: &Goal) -> Self {
        let targets = goal.targets();
        // There is always a final target.
        let last = targets[targets.len() - 1];
        Self { goal: last, targets, hints: Bounds::default(), reach: None }
    }

    /// The final target.
    pub(super) const fn goal(&self) -> &Target {
        &self.goal
    }

    /// The load to try, and for how long. `None` if the goal is reached or cannot be reached.
    pub(super) fn next(&mut self, history: &History, grid: &Grid) -> Option<(Step, Duration)> {
        loop {
            let target = *self.targets.first()?;
            let bounds = history.bounds(&target);
            if let Some(step) = self.choose(&target, bounds, grid.last()) {
                return Some((step, target.trial));
            }
            if self.targets.len() == 1 {
                return None;
            }
            self.targets.remove(0);
            self.hints = bounds;
            self.reach = None;
        }
    }

    /// A load that is not decided yet. `None` if the target is reached, or lies outside the grid.
    fn choose(&mut self, target: &Target, bounds: Bounds, last: Step) -> Option<Step> {
        let hints = self.hints;
        match (bounds.lower, bounds.upper) {
            (Some(lower), Some(upper)) => {
                let width = upper.above(lower);
                (width > target.width).then(|| lower.up(width / 2))
            }
            (None, Some(Step::FIRST)) => None,
            (None, Some(upper)) => {
                let known = hints.lower.filter(|&hint| hint < upper);
                Some(known.unwrap_or_else(|| self.extend(upper, target, |from, by| from.down(by))))
            }
            (Some(lower), None) if lower == last => None,
            (Some(lower), None) => {
                let known = hints.upper.filter(|&hint| hint > lower);
                Some(known.unwrap_or_else(|| self.extend(lower, target, |from, by| from.up(by).min(last))))
            }
            (None, None) => Some(hints.lower.or(hints.upper).unwrap_or(last)),
        }
    }

    /// A load beyond the only bound. Each time the tried load becomes the bound, the next one is
    /// farther away.
    fn extend(&mut self, from: Step, target: &Target, outward: impl Fn(Step, u32) -> Step) -> Step {
        let by = match self.reach {
            None => target.width,
            Some((tried, by)) if tried == from => by.saturating_mul(EXPANSION),
            Some((_, by)) => by,
        };
        let next = outward(from, by);
        self.reach = Some((next, by));
        next
    }
}
