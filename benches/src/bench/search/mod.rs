//! The search for throughput: it chooses the next trial, and knows the result of all trials. It is
//! pure: its caller makes the trials.
//!
//! RFC 2544 §26.1 defines throughput as the highest rate at which no packet is lost, and searches
//! for it by trials. The rules of Multiple Loss Ratio search, MLRsearch (RFC 9971,
//! draft-ietf-bmwg-mlrsearch), are added here:
//!
//! * There are several goals, each with its own loss ratio, and every trial counts for all of them.
//! * A trial is high-loss for a goal if it lost a larger part of its packets than the goal's loss
//!   ratio. It is short if it lasted less than the goal's final trial duration.
//! * One trial does not decide about a load. A load is decided when the trials still missing from
//!   the goal's duration sum cannot change the answer (appendix A, [`history`]). It is a *lower
//!   bound* if at most the goal's exceed ratio of the time can be high-loss. It is an *upper bound*
//!   if more of the time must be high-loss. Short trials can speak against a load, never for it. An
//!   exceed ratio of 0 is the rule of RFC 2544.
//! * The *relevant upper bound* is the smallest upper bound. The *relevant lower bound* is the
//!   largest lower bound below it. The goal is reached when their distance is at most its width, a
//!   part of the upper bound. If the smallest load is an upper bound, or the largest load is a
//!   lower bound, the other bound is missing and the result is irregular.
//! * Throughput is the rate that is forwarded at the relevant lower bound: *conditional throughput*
//!   (appendix B).
//!
//! RFC 9971 does not say how loads are chosen. Here:
//!
//! * Loads are discrete ([`load`]). One step is the width of the goals, so a goal's final bounds
//!   are neighbours.
//! * The first trials are short. The first is at the largest load; each of the next two is at the
//!   rate that the last one forwarded.
//! * Each goal goes through targets ([`goal`]), from a short trial and a wide interval to its own
//!   values. Each target starts from the bounds of the last target. With both bounds known, the
//!   middle is tried. With one bound known, a load beyond it is tried, four times as far each time
//!   ([`seeker`]).
//! * Each goal proposes a trial. The shortest is made; among equally short ones, that of the first
//!   goal.

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

/// A trial to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    step: Step,
    /// Packets a second.
    pub(super) load: f64,
    /// How long packets are sent.
    pub(super) duration: Duration,
}

/// What a search found for one goal. If a bound is missing, the result is irregular.
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
    /// How many of the first trials are still to come, and how long each lasts.
    initial: u32,
    shortest: Duration,
    /// The load of the next of them.
    probe: Step,
}

/// How many first trials come before the goals choose.
const INITIAL: u32 = 3;

impl Search {
    /// A search among the loads of `grid`.
    pub(super) fn new(grid: Grid, goals: &[Goal]) -> Self {
        let shortest = goals.iter().map(|goal| goal.initial_trial).min().unwrap_or_default();
        let seekers = goals.iter().map(Seeker::new).collect();
        let probe = grid.last();
        Self { grid, history: History::default(), seekers, initial: INITIAL, shortest, probe }
    }

    /// The trial to make now; `None` if the search is over. Give its outcome to [`Self::add`].
    pub(super) fn next(&mut self) -> Option<Trial> {
        let Self { grid, history, seekers, .. } = self;
        let (step, duration) = if self.initial != 0 {
            (self.probe, self.shortest)
        } else {
            // `min_by_key` takes the first of equal ones.
            seekers.iter_mut().filter_map(|seeker| seeker.next(history, grid)).min_by_key(|wish| wish.1)?
        };
        Some(Trial { step, load: grid.load(step), duration })
    }

    /// Adds the outcome of a trial: of `offered` packets, `lost` were lost. `offered` must not be
    /// 0.
    pub(super) fn add(&mut self, trial: Trial, offered: u64, lost: u64) {
        let loss_ratio = lost as f64 / offered.max(1) as f64;
        self.history.add(trial.step, trial.duration, loss_ratio);
        if self.initial != 0 {
            let forwarded = self.grid.at_most(trial.load * (1.0 - loss_ratio));
            self.initial = if forwarded < trial.step { self.initial - 1 } else { 0 };
            self.probe = forwarded;
        }
    }

    /// The present result for each goal, in the order in which the goals were given.
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
