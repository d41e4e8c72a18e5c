//! The trials made, and what they say about a load: the load classification of RFC 9971, appendix
//! A.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::bench::search::goal::Target;
use crate::bench::search::load::Step;

/// The result of a trial.
#[derive(Clone, Copy, Debug)]
struct Trial {
    duration: Duration,
    loss_ratio: f64,
}

/// What a load is for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The director certainly meets the target.
    Lower,
    /// The director certainly fails the target.
    Upper,
    /// More trials are needed.
    Undecided,
}

/// The relevant bounds of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The largest lower bound below `upper`.
    pub(super) lower: Option<Step>,
    /// The smallest upper bound.
    pub(super) upper: Option<Step>,
}

/// All trials of a search.
#[derive(Debug, Default)]
pub(super) struct History(BTreeMap<Step, Vec<Trial>>);

impl History {
    /// Adds a trial.
    pub(super) fn add(&mut self, step: Step, duration: Duration, loss_ratio: f64) {
        self.0.entry(step).or_default().push(Trial { duration, loss_ratio });
    }

    /// The bounds that the trials so far give.
    pub(super) fn bounds(&self, target: &Target) -> Bounds {
        let mut bounds = Bounds::default();
        for (&step, trials) in &self.0 {
            match classify(trials, target) {
                Class::Lower => bounds.lower = Some(step),
                Class::Upper => {
                    bounds.upper = Some(step);
                    break;
                }
                Class::Undecided => {}
            }
        }
        bounds
    }

    /// The part of the packets at `step` that a typical full-length trial forwards. That is the
    /// conditional throughput of RFC 9971, appendix B, as a part of the load.
    pub(super) fn forwarding_ratio(&self, step: Step, target: &Target) -> f64 {
        let full = |trial: &&Trial| trial.duration >= target.trial;
        let mut trials: Vec<_> = self.0.get(&step).into_iter().flatten().filter(full).collect();
        trials.sort_by(|a, b| a.loss_ratio.total_cmp(&b.loss_ratio));
        let sum: f64 = trials.iter().map(|trial| trial.duration.as_secs_f64()).sum();
        let mut remaining = sum * (1.0 - target.exceed_ratio);
        let mut loss_ratio = 1.0;
        for trial in trials {
            if remaining <= 0.0 {
                break;
            }
            loss_ratio = trial.loss_ratio;
            remaining -= trial.duration.as_secs_f64();
        }
        1.0 - loss_ratio
    }
}

/// Classifies a load by its trials. Sums of durations are in nanoseconds, so that they are exact.
fn classify(trials: &[Trial], target: &Target) -> Class {
    let sum = |full: bool, high: bool| -> f64 {
        let counts = |trial: &&Trial| {
            (trial.duration >= target.trial) == full && (trial.loss_ratio > target.loss_ratio) == high
        };
        trials.iter().filter(counts).map(|trial| trial.duration.as_nanos() as f64).sum()
    };
    let full_low = sum(true, false);
    // Short high-loss trials count only as far as short low-loss ones do not balance them.
    let balancing = sum(false, false) * target.exceed_ratio / (1.0 - target.exceed_ratio);
    let high = sum(true, true) + (sum(false, true) - balancing).max(0.0);
    let whole = (full_low + high).max(target.duration_sum.as_nanos() as f64);
    let quantile = whole * target.exceed_ratio;
    // The missing time counts as low-loss in the hoped case and as high-loss in the feared case.
    let (hoped, feared) = (high, whole - full_low);
    match (hoped <= quantile, feared <= quantile) {
        (true, true) => Class::Lower,
        (false, false) => Class::Upper,
        _ => Class::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(exceed_ratio: f64) -> Target {
        let second = Duration::from_secs(1);
        Target { loss_ratio: 0.005, exceed_ratio, trial: second, duration_sum: 5 * second, width: 1 }
    }

    /// The class of a load after each trial. A trial is `(tenths of a second, loss ratio)`.
    fn classes(exceed_ratio: f64, trials: &[(u64, f64)]) -> Vec<Class> {
        let trials: Vec<_> = trials
            .iter()
            .map(|&(tenths, loss_ratio)| Trial { duration: Duration::from_millis(100 * tenths), loss_ratio })
            .collect();
        (1..=trials.len()).map(|n| classify(&trials[..n], &target(exceed_ratio))).collect()
    }

    #[test]
    fn a_load_never_tried_is_undecided() {
        assert_eq!(classify(&[], &target(0.0)), Class::Undecided);
        assert_eq!(classify(&[], &target(0.5)), Class::Undecided);
    }

    #[test]
    fn without_exceed_ratio_all_trials_must_be_low_and_one_high_decides() {
        use Class::*;
        assert_eq!(classes(0.0, &[(10, 0.0), (10, 0.005), (10, 0.0), (20, 0.0)]).last(), Some(&Lower));
        assert_eq!(classes(0.0, &[(10, 0.0); 5]), [Undecided, Undecided, Undecided, Undecided, Lower]);
        assert_eq!(classes(0.0, &[(10, 0.0), (10, 0.006)]), [Undecided, Upper]);
        assert_eq!(classes(0.0, &[(1, 0.006)]), [Upper]);
    }

    #[test]
    fn with_half_the_majority_decides_as_soon_as_it_must() {
        use Class::*;
        assert_eq!(classes(0.5, &[(10, 0.0), (10, 1.0), (10, 0.0), (10, 0.0)])[2..], [Undecided, Lower]);
        assert_eq!(classes(0.5, &[(10, 1.0), (10, 1.0), (10, 1.0)]), [Undecided, Undecided, Upper]);
    }

    #[test]
    fn short_trials_can_speak_against_a_load_but_never_for_it() {
        use Class::*;
        assert_eq!(classes(0.5, &[(9, 0.0); 20]).last(), Some(&Undecided));
        assert_eq!(classes(0.5, &[(9, 1.0); 3]), [Undecided, Undecided, Upper]);
        assert_eq!(classes(0.5, &[(9, 1.0), (9, 1.0), (9, 1.0), (9, 0.0)]).last(), Some(&Undecided));
    }

    #[test]
    fn the_relevant_lower_bound_is_below_the_smallest_upper_bound() {
        let mut history = History::default();
        for (step, loss_ratio) in [(10, 0.0), (20, 0.0), (30, 0.5), (40, 0.0), (50, 0.5)] {
            history.add(Step::FIRST.up(step), Duration::from_secs(5), loss_ratio);
        }
        let bounds = history.bounds(&target(0.0));
        assert_eq!(bounds, Bounds { lower: Some(Step::FIRST.up(20)), upper: Some(Step::FIRST.up(30)) });
    }

    #[test]
    fn the_conditional_throughput_is_that_of_the_worst_counted_trial() {
        let mut history = History::default();
        let step = Step::FIRST;
        for loss_ratio in [0.25, 0.0, 0.125, 0.5] {
            history.add(step, Duration::from_secs(1), loss_ratio);
        }
        history.add(step, Duration::from_millis(999), 1.0);
        assert_eq!(history.forwarding_ratio(step, &target(0.5)), 0.875);
        assert_eq!(history.forwarding_ratio(step, &target(0.0)), 0.5);
        assert_eq!(history.forwarding_ratio(step.up(1), &target(0.0)), 0.0);
    }
}
