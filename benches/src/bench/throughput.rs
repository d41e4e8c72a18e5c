//! `--search`: the highest rates at which nothing, and at most 0.5 %, is lost: NDR and PDR.
//!
//! The search decides ([`crate::bench::search`]), this makes its trials. A packet is lost when it
//! finds its queue full, so whatever keeps the worker from polling while a queue fills is part of
//! what is measured. Packets come by the clock that leaves out what others took of the CPU
//! ([`crate::bench::arrival`]): a queue that overflows meanwhile says nothing about the director.
//! How much was left out is in the report.
//!
//! From RFC 2544 it departs in that trials last seconds or less, not 60, that there are no waits
//! before and after a trial, and that half the time at a load may be lossy, since trials on a
//! general-purpose system are not all undisturbed.

use core::fmt;
use core::time::Duration;

use serde::Serialize;

use crate::bench::args::BenchArgs;
use crate::bench::arrival::Account;
use crate::bench::arrival::Stolen;
use crate::bench::error::BenchError;
use crate::bench::offer::RING;
use crate::bench::report::Findings;
use crate::bench::report::round;
use crate::bench::rules::Director;
use crate::bench::search::Goal;
use crate::bench::search::Grid;
use crate::bench::search::Search;
use crate::bench::trial::Rig;

/// Losses allowed: NDR's and PDR's.
const LOSS_RATIOS: [f64; 2] = [0.0, 0.005];
/// How far apart a goal's bounds may be; not less than PDR's loss ratio, as RFC 9971 recommends.
const WIDTH: f64 = 0.005;
const EXCEED_RATIO: f64 = 0.5;
/// Full-length trials that fill a goal's duration sum, and first trials that do.
const FULL: u32 = 5;
const INITIAL: u32 = 20;

/// What a search found, and how. Loads are those of both directions together, half of them each way
/// where there are two.
#[derive(Clone, Debug, Serialize)]
pub struct SearchReport {
    /// The throughput without loss.
    pub ndr: GoalReport,
    /// The throughput with at most 0.5 % lost.
    pub pdr: GoalReport,
    /// The part of the time at one load that may lose more.
    pub exceed_ratio: f64,
    /// How far apart bounds may be, as a part of the upper one.
    pub width: f64,
    /// The smallest and the largest load that might be tried.
    pub min_load_pps: u32,
    /// The largest.
    pub max_load_pps: u32,
    /// How long a full-length trial lasted.
    pub trial_seconds: f64,
    /// How long a load was tried in all, at most, to decide on it.
    pub duration_sum_seconds: f64,
    /// Packets that may wait at a port.
    pub queue: usize,
    /// What was left out of the clock, in all trials together.
    pub stolen: Stolen,
    /// The trials, in order.
    pub trials: Vec<TrialReport>,
}

/// The result for one goal; irregular when a bound is missing.
#[derive(Clone, Debug, Serialize)]
pub struct GoalReport {
    /// The part of a trial's packets that may be lost.
    pub loss_ratio: f64,
    /// Packets a second forwarded at the lower bound (the conditional throughput of RFC 9971).
    pub throughput_pps: Option<u64>,
    /// The largest load that upholds the goal below all that fail it.
    pub lower_pps: Option<u64>,
    /// The smallest load that fails it.
    pub upper_pps: Option<u64>,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
pub struct TrialReport {
    /// Packets a second.
    pub load_pps: u64,
    /// How long.
    pub seconds: f64,
    /// Packets that came.
    pub offered: u64,
    /// Packets that found a full queue.
    pub lost: u64,
}

/// Searches; before that, measures for a quarter of the time what a packet costs.
pub(super) fn run(director: &mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Findings, BenchError> {
    let duration_sum = Duration::from_secs(u64::from(args.seconds));
    let (initial_trial, final_trial) = (duration_sum / INITIAL, duration_sum / FULL);
    let mut rig = Rig::new(director, args, tsc_hz)?;
    let mut measured = rig.flood(duration_sum / 4, args.flows)?;
    let (min, max) = (args.min_load, args.largest_load());
    let goals = LOSS_RATIOS.map(|loss_ratio| Goal {
        loss_ratio,
        exceed_ratio: EXCEED_RATIO,
        initial_trial,
        final_trial,
        duration_sum,
    });
    let mut search = Search::new(Grid::new(f64::from(min), f64::from(max), WIDTH), &goals);
    let (mut trials, mut account) = (Vec::new(), Account::default());
    while let Some(trial) = search.next() {
        let outcome = rig.run_undisturbed(trial.load, trial.duration)?;
        measured.packets += outcome.offered - outcome.lost;
        account = account.plus(outcome.account);
        trials.push(TrialReport {
            load_pps: trial.load as u64,
            seconds: round(trial.duration.as_secs_f64(), 3),
            offered: outcome.offered,
            lost: outcome.lost,
        });
        search.add(trial, outcome.offered, outcome.lost);
    }
    let results = search.results();
    let goal = |nth: usize| {
        let pps = |rate: Option<f64>| rate.map(|rate| rate as u64);
        let result = results.get(nth);
        GoalReport {
            loss_ratio: LOSS_RATIOS[nth],
            throughput_pps: pps(result.and_then(|result| result.throughput)),
            lower_pps: pps(result.and_then(|result| result.lower)),
            upper_pps: pps(result.and_then(|result| result.upper)),
        }
    };
    let report = SearchReport {
        ndr: goal(0),
        pdr: goal(1),
        exceed_ratio: EXCEED_RATIO,
        width: WIDTH,
        min_load_pps: min,
        max_load_pps: max,
        trial_seconds: final_trial.as_secs_f64(),
        duration_sum_seconds: duration_sum.as_secs_f64(),
        queue: RING,
        stolen: account.stolen(tsc_hz),
        trials,
    };
    Ok(Findings { search: Some(report), ..Findings::from(measured) })
}

impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  NDR {}", self.ndr)?;
        writeln!(f, "  PDR {}", self.pdr)?;
        let seconds: f64 = self.trials.iter().map(|trial| trial.seconds).sum();
        let (count, queue) = (self.trials.len(), self.queue);
        writeln!(
            f,
            "  {count} trials, {seconds:.1} s of packets in all; {queue} packets may wait at a port"
        )?;
        write!(f, "  left out: {}", self.stolen)
    }
}

impl fmt::Display for GoalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = self.loss_ratio * 100.0;
        match (self.throughput_pps, self.lower_pps, self.upper_pps) {
            (Some(pps), Some(lower), Some(upper)) => {
                write!(f, "(at most {allowed} % lost) {pps} packets a second; bounds {lower} and {upper}")
            }
            (Some(pps), Some(lower), None) => {
                write!(
                    f,
                    "(at most {allowed} % lost) irregular: {pps} packets a second at the largest load, {lower}"
                )
            }
            (_, _, Some(upper)) => {
                write!(
                    f,
                    "(at most {allowed} % lost) irregular: more is lost even at the smallest load, {upper}"
                )
            }
            _ => write!(f, "(at most {allowed} % lost) not found"),
        }
    }
}
