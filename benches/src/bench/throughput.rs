//! `--search`: the highest rate at which no packet is lost (NDR), and the highest at which at most
//! 0.5 % are lost (PDR).
//!
//! The search chooses the trials ([`crate::bench::search`]), this module makes them. A packet is
//! lost if it finds its queue full. So the result includes everything that keeps the worker from
//! polling while a queue fills. Packets come by the clock that leaves out the time that others took
//! of the CPU ([`crate::bench::arrival`]): a queue that overflows meanwhile says nothing about the
//! director. The report shows how much was left out.
//!
//! It differs from RFC 2544 in three points. Trials last a few seconds or less, not 60. There are
//! no waits before and after a trial. Half of the time at a load may have losses, since on a
//! general-purpose system some trials are disturbed.

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

/// Allowed loss ratios of NDR and PDR.
const LOSS_RATIOS: [f64; 2] = [0.0, 0.005];
/// The largest distance of a goal's bounds, as a part of the upper one. It is not less than PDR's
/// loss ratio, as RFC 9971 recommends.
const WIDTH: f64 = 0.005;
const EXCEED_RATIO: f64 = 0.5;
/// How many full-length trials, or how many first trials, fill a goal's duration sum.
const FULL: u32 = 5;
const INITIAL: u32 = 20;

/// What a search found, and how. A load counts both directions together; if there are two, each has
/// half of it.
#[derive(Clone, Debug, Serialize)]
pub struct SearchReport {
    /// The throughput without loss.
    pub ndr: GoalReport,
    /// The throughput with at most 0.5 % lost.
    pub pdr: GoalReport,
    /// The part of the time at one load that may have a higher loss.
    pub exceed_ratio: f64,
    /// The largest distance of the bounds, as a part of the upper one.
    pub width: f64,
    /// The smallest load that the search may try.
    pub min_load_pps: u32,
    /// The largest load that the search may try.
    pub max_load_pps: u32,
    /// How long a full-length trial lasted.
    pub trial_seconds: f64,
    /// How long a load was tried in all, at most, to decide it.
    pub duration_sum_seconds: f64,
    /// Packets that may wait at a port.
    pub queue: usize,
    /// What was left out of the clock, in all trials together.
    pub stolen: Stolen,
    /// The trials, in order.
    pub trials: Vec<TrialReport>,
}

/// The result for one goal. It is irregular if a bound is missing.
#[derive(Clone, Debug, Serialize)]
pub struct GoalReport {
    /// The part of a trial's packets that may be lost.
    pub loss_ratio: f64,
    /// Packets a second forwarded at the lower bound (the conditional throughput of RFC 9971).
    pub throughput_pps: Option<u64>,
    /// The largest load that meets the goal and is below all loads that fail it.
    pub lower_pps: Option<u64>,
    /// The smallest load that fails the goal.
    pub upper_pps: Option<u64>,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
pub struct TrialReport {
    /// Packets a second.
    pub load_pps: u64,
    /// How long packets were sent.
    pub seconds: f64,
    /// Packets that came due.
    pub offered: u64,
    /// Packets that found a full queue.
    pub lost: u64,
}

/// Measures the cost of a packet for a quarter of the time, then searches.
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
