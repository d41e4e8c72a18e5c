//! Measures the cost of a choice: nanoseconds for each scheduler and number of destinations.
//!
//! `cargo run --release -p benches --bin choice`
//!
//! A choice here is [`Farm::choose`].

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::hint::black_box;
use std::time::Instant;

use benches::farm::Farm;
use benches::farm::dests;
use sched::Flags;
use sched::Kind;
use sched::Plan;

fn cost(kind: Kind, count: u32) -> f64 {
    let mut farm = Farm::new(kind, count).unwrap();
    let mut best = f64::MAX;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(farm.choose());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    best
}

fn main() {
    print!("{:>6}", "");
    COUNTS.iter().for_each(|count| print!("{count:>8}"));
    println!("  1024 : 16");
    for kind in Kind::ALL {
        print!("{:>6}", kind.name());
        let costs = COUNTS.map(|count| cost(kind, count));
        costs.iter().for_each(|cost| print!("{cost:>8.1}"));
        println!("{:>8.1}", costs[3] / costs[1]);
    }
    for (count, kind) in [(1000, Kind::Mh), (1000, Kind::Sh), (1000, Kind::Wlc)] {
        let list = dests(count);
        let start = Instant::now();
        for _ in 0..100 {
            black_box(Plan::build(kind, Flags::NONE, list.clone()).unwrap());
        }
        println!("{} plan of {count}: {:?}", kind.name(), start.elapsed() / 100);
    }
    let mut farm = Farm::new(Kind::Wlc, 1024).unwrap();
    let start = Instant::now();
    for _ in 0..1000 {
        black_box(farm.choose_anew());
    }
    println!("wlc pick of 1024 after all loads changed: {:?}", start.elapsed() / 1000);
}

const COUNTS: [u32; 4] = [2, 16, 128, 1024];
/// A figure is the average of a batch of choices, in the fastest batch; the other batches were
/// disturbed.
const BATCH: u32 = 2_000;
const BATCHES: u32 = 200;
