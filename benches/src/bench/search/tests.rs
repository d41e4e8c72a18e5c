//! Searches on simulated devices: no clock, no packets.

use proptest::prelude::*;
use sched::Random;
use sched::XorShift;

use super::*;

const MIN: f64 = 10_000.0;
const MAX: f64 = 148.8e6;
const WIDTH: f64 = 0.005;
/// Far more trials than any search here makes.
const ENDLESS: usize = 2000;

fn goals(exceed_ratio: f64) -> [Goal; 2] {
    [0.0, 0.005].map(|loss_ratio| Goal {
        loss_ratio,
        exceed_ratio,
        initial_trial: Duration::from_millis(50),
        final_trial: Duration::from_millis(200),
        duration_sum: Duration::from_secs(1),
    })
}

/// Searches with a device that loses `lost` packets of a trial. Returns the results and all trials.
fn search(exceed_ratio: f64, mut lost: impl FnMut(&Trial, u64) -> u64) -> (Vec<GoalResult>, Vec<Trial>) {
    let mut search = Search::new(Grid::new(MIN, MAX, WIDTH), &goals(exceed_ratio));
    let mut trials = Vec::new();
    while let Some(trial) = search.next() {
        assert!((MIN..=MAX).contains(&trial.load));
        trials.push(trial);
        assert!(trials.len() < ENDLESS, "no end");
        let offered = (trial.load * trial.duration.as_secs_f64()) as u64;
        search.add(trial, offered, lost(&trial, offered));
    }
    (search.results(), trials)
}

/// How many packets a device loses that forwards `capacity` packets a second.
fn excess(capacity: f64, trial: &Trial, offered: u64) -> u64 {
    offered.saturating_sub((capacity * trial.duration.as_secs_f64()).ceil() as u64)
}

fn is_neighbourly(result: &GoalResult) -> bool {
    result.lower.zip(result.upper).is_some_and(|(lower, upper)| 1.0 - lower / upper <= WIDTH * 1.000_001)
}

proptest! {
    #[test]
    fn a_steady_device_is_found_between_the_bounds(
        capacity in (MIN * 1.02).ln()..(MAX * 0.98).ln(),
        exceed_ratio in prop_oneof![Just(0.0), Just(0.5), Just(0.3)],
    ) {
        let capacity = capacity.exp();
        let (results, trials) = search(exceed_ratio, |trial, offered| excess(capacity, trial, offered));
        // A load must exceed the capacity by this part to lose one packet in the shortest trial
        // that decides.
        let one = 2.0 / (capacity * 0.2);
        for (result, exact) in results.iter().zip([capacity, capacity / 0.995]) {
            prop_assert!(is_neighbourly(result), "{result:?}");
            prop_assert!(result.lower.unwrap() <= exact * (1.0 + one), "{result:?} {exact}");
            prop_assert!(result.upper.unwrap() >= exact * (1.0 - one), "{result:?} {exact}");
            prop_assert!(result.throughput.unwrap() <= capacity * (1.0 + one), "{result:?} {exact}");
        }
        prop_assert!(trials.len() < 60, "{} trials", trials.len());
    }

    #[test]
    fn a_search_ends_whatever_the_device_does(seed: u64, exceed_ratio in 0.0..0.9, noise in 0u64..=100) {
        let mut random = XorShift::new(seed);
        let (results, _) = search(exceed_ratio, |trial, offered| {
            if random.below_inclusive(99) < noise {
                random.below_inclusive(offered)
            } else {
                excess(1e6, trial, offered)
            }
        });
        for result in results {
            let regular = result.lower.is_some() && result.upper.is_some();
            prop_assert!(!regular || is_neighbourly(&result), "{result:?}");
            prop_assert!(regular || result.lower == Some(MAX) || result.upper == Some(MIN), "{result:?}");
        }
    }
}

#[test]
fn a_disturbance_now_and_then_moves_no_result_far() {
    let capacity = 10e6;
    for seed in 1..=100 {
        // One trial in ten is disturbed: it loses another fiftieth of its packets.
        let mut random = XorShift::new(seed);
        let (results, _) = search(0.5, |trial, offered| {
            let disturbed = random.below_inclusive(9) == 0;
            excess(capacity, trial, offered) + if disturbed { offered / 50 } else { 0 }
        });
        // A disturbed short trial misleads the search; longer trials correct it.
        for result in results {
            assert!(is_neighbourly(&result), "{result:?}");
            let found = result.throughput.unwrap() / capacity;
            assert!((0.9..=1.001).contains(&found), "{seed}: {found}");
        }
    }
}

#[test]
fn short_trials_come_first_and_full_length_ones_decide() {
    let (_, trials) = search(0.5, |trial, offered| excess(7e6, trial, offered));
    let durations: Vec<_> = trials.iter().map(|trial| trial.duration.as_millis()).collect();
    assert!(durations.is_sorted(), "{durations:?}");
    assert_eq!((durations[0], durations[durations.len() - 1]), (50, 200));
}

#[test]
fn the_first_trials_are_at_the_largest_load_and_at_the_rate_it_forwarded() {
    let (_, trials) = search(0.0, |trial, offered| excess(7e6, trial, offered));
    assert_eq!(trials[0].load, MAX);
    assert!((0.995 * 7e6..=7e6).contains(&trials[1].load), "{}", trials[1].load);
}

#[test]
fn a_device_out_of_range_gives_an_irregular_result() {
    let (results, trials) = search(0.5, |_, _| 0);
    for result in results {
        assert_eq!((result.lower, result.upper, result.throughput), (Some(MAX), None, Some(MAX)));
    }
    assert!(trials.iter().all(|trial| trial.load == MAX));
    let (results, _) = search(0.5, |_, offered| offered);
    for result in results {
        assert_eq!((result.lower, result.upper, result.throughput), (None, Some(MIN), None));
    }
}

#[test]
fn without_exceed_ratio_one_lossy_trial_refutes_a_load() {
    // Loses one packet in every third trial above a million packets a second.
    let mut count = 0;
    let (results, _) = search(0.0, |trial, offered| {
        count += u64::from(trial.load > 1e6);
        excess(9e6, trial, offered) + u64::from(trial.load > 1e6 && count % 3 == 0)
    });
    assert!(results[0].lower.unwrap() < 1.01e6, "{results:?}");
    // One packet is less than PDR allows.
    assert!((8.9e6..9.1e6).contains(&results[1].lower.unwrap()), "{results:?}");
}
