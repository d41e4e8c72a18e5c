//! The search for throughput: which trial comes next, and what all of them say. Pure: trials are
//! somebody else's affair.
//!
//! RFC 2544 §26.1 defines throughput as the highest rate at which nothing is lost, and has it
//! searched for by trials. What is added here are the rules of Multiple Loss Ratio search,
//! MLRsearch (RFC 9971, draft-ietf-bmwg-mlrsearch):
//!
//! * There are several goals, each with its own loss ratio, and every trial counts for all of them.
//! * A trial is high-loss for a goal when it lost a larger part than the goal's loss ratio, and
//!   short when it lasted less than the goal's final trial duration.
//! * One trial does not decide on a load. It is a *lower bound* when at most the goal's exceed
//!   ratio of the time spent at it can still turn out to be high-loss by the time the goal's
//!   duration sum is full, an *upper bound* when more of it must, and undecided before that
//!   (appendix A, [`history`]). Short trials can speak against a load, never for it. An exceed
//!   ratio of 0 is the rule of RFC 2544.
//! * The *relevant upper bound* is the smallest upper bound, the *relevant lower bound* the largest
//!   lower bound below it. The goal is reached when they are no farther apart than its width, a
//!   part of the upper one. Where the smallest load is an upper bound, or the largest a lower one,
//!   the goal's result is irregular: it lacks a bound.
//! * Throughput is what is forwarded at the relevant lower bound: *conditional throughput*
//!   (appendix B).
//!
//! RFC 9971 leaves open how loads are chosen. Here:
//!
//! * Loads are discrete ([`load`]): one step is the goals' width, so a goal's final bounds are
//!   neighbours.
//! * The first trials are short: at the largest load, at the rate forwarded there, at the rate
//!   forwarded then.
//! * Each goal goes through targets ([`goal`]), from a short trial and a wide interval to its own;
//!   each target starts from the bounds of the one before. With both bounds, the middle is tried;
//!   with one, a load outward of it, four times as far each time ([`seeker`]).
//! * Of what the goals want, the shortest trial is made, and of equally short ones that of the goal
//!   named first.

mod goal;
mod history;
mod load;
mod seeker;
#[cfg(test)]
mod tests;

use core::time::Duration;

pub(super) use self::goal::Goal;
pub(super) use self::load::Grid;

use self::history::History;
use self::load::Step;
use self::seeker::Seeker;

/// A trial to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    step: Step,
    /// Packets a second.
    pub(super) load: f64,
    /// How long packets are sent.
    pub(super) duration: Duration,
}

/// What a search found for one goal; a bound that is missing makes it irregular.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoalResult {
    /// Relevant lower bound, in packets a second.
    pub(super) lower: Option<f64>,
    /// Relevant upper bound.
    pub(super) upper: Option<f64>,
    /// Packets forwarded in a second at the lower bound.
    pub(super) throughput: Option<f64>,
}

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search {
    grid: Grid,
    history: History,
    seekers: Vec<Seeker>,
    /// The first trials that are still to come, and how long each lasts.
    initial: u32,
    shortest: Duration,
    /// Where the next of them is made.
    probe: Step,
}

/// Trials before the goals have their way.
const INITIAL: u32 = 3;

impl Search {
    /// A search among the loads of `grid`.
    pub(super) fn new(grid: Grid, goals: &[Goal]) -> Self {
        let shortest = goals.iter().map(|goal| goal.initial_trial).min().unwrap_or_default();
        let seekers = goals.iter().map(Seeker::new).collect();
        let probe = grid.last();
        Self { grid, history: History::default(), seekers, initial: INITIAL, shortest, probe }
    }

    /// The trial to make now, whose outcome [`Self::add`] wants; nothing when the search is over.
    pub(super) fn next(&mut self) -> Option<Trial> {
        let Self { grid, history, seekers, .. } = self;
        let (step, duration) = if self.initial != 0 {
            (self.probe, self.shortest)
        } else {
            // The first of those that are least.
            seekers.iter_mut().filter_map(|seeker| seeker.next(history, grid)).min_by_key(|wish| wish.1)?
        };
        Some(Trial { step, load: grid.load(step), duration })
    }

    /// Of `offered` packets, which are not none, `lost` did not come out.
    pub(super) fn add(&mut self, trial: Trial, offered: u64, lost: u64) {
        let loss_ratio = lost as f64 / offered.max(1) as f64;
        self.history.add(trial.step, trial.duration, loss_ratio);
        if self.initial != 0 {
            let forwarded = self.grid.at_most(trial.load * (1.0 - loss_ratio));
            self.initial = if forwarded < trial.step { self.initial - 1 } else { 0 };
            self.probe = forwarded;
        }
    }

    /// What is known of each goal, in the order they were given.
    pub(super) fn results(&self) -> Vec<GoalResult> {
        let result = |seeker: &Seeker| {
            let bounds = self.history.bounds(seeker.goal());
            let load = |step| self.grid.load(step);
            let forwarded = |step| load(step) * self.history.forwarding_ratio(step, seeker.goal());
            GoalResult {
                lower: bounds.lower.map(load),
                upper: bounds.upper.map(load),
                throughput: bounds.lower.map(forwarded),
            }
        };
        self.seekers.iter().map(result).collect()
    }
}
