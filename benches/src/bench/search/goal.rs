//! A goal of the search, and the targets on the way to it.

use core::time::Duration;

/// How many targets come before the final one. Each is twice as wide as the next.
const PRECEDING: u32 = 2;

/// A search goal of MLRsearch. Its width is one step of the grid.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Goal {
    /// A trial that loses a larger part of its packets is a high-loss trial.
    pub(in crate::bench) loss_ratio: f64,
    /// The part of the time at one load that may be high-loss trials; below 1.
    pub(in crate::bench) exceed_ratio: f64,
    /// How long the shortest trials last.
    pub(in crate::bench) initial_trial: Duration,
    /// How long a full-length trial lasts.
    pub(in crate::bench) final_trial: Duration,
    /// How long a load is tried in all before it is decided.
    pub(in crate::bench) duration_sum: Duration,
}

/// A goal, or a coarser and shorter one on the way to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) loss_ratio: f64,
    pub(super) exceed_ratio: f64,
    /// A trial that lasts less is a short trial.
    pub(super) trial: Duration,
    pub(super) duration_sum: Duration,
    /// How close its bounds must be, in steps of the grid.
    pub(super) width: u32,
}

impl Goal {
    /// The targets; the last is the goal itself. Durations grow by the same ratio from each target
    /// to the next.
    pub(super) fn targets(&self) -> Vec<Target> {
        let shrink = self.initial_trial.as_secs_f64() / self.duration_sum.as_secs_f64();
        let target = |before: u32| {
            let part = shrink.powf(f64::from(before) / f64::from(PRECEDING));
            let sum = match before {
                0 => self.duration_sum,
                PRECEDING => self.initial_trial,
                _ => self.duration_sum.mul_f64(part),
            };
            Target {
                loss_ratio: self.loss_ratio,
                exceed_ratio: self.exceed_ratio,
                trial: self.final_trial.min(sum),
                duration_sum: sum,
                width: 1 << before,
            }
        };
        (0..=PRECEDING).rev().map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_begin_short_and_wide_and_end_at_the_goal() {
        let seconds = Duration::from_secs;
        let goal = Goal {
            loss_ratio: 0.005,
            exceed_ratio: 0.5,
            initial_trial: seconds(1),
            final_trial: seconds(5),
            duration_sum: seconds(25),
        };
        let targets: Vec<_> =
            goal.targets().iter().map(|target| (target.trial, target.duration_sum, target.width)).collect();
        assert_eq!(
            targets,
            [(seconds(1), seconds(1), 4), (seconds(5), seconds(5), 2), (seconds(5), seconds(25), 1)]
        );
    }
}
