//! What a choice costs: nanoseconds for each scheduler and number of destinations.
//!
//! `cargo run --release -p benches --bin choice`
//!
//! A choice here is a pick, the count of the new connection, the end of an old one, and the two
//! notices of the changed loads.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::hint::black_box;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::time::Instant;

use sched::Ctx;
use sched::Dest;
use sched::DestId;
use sched::Flags;
use sched::Key;
use sched::Kind;
use sched::Loads;
use sched::Plan;
use sched::Stagger;
use sched::State;
use sched::Tuning;
use sched::XorShift;

/// Active connections by slot.
struct Active(Vec<u32>);

impl Loads for Active {
    fn active(&self, dest: DestId) -> u32 {
        self.0.get(dest.index()).copied().unwrap_or(0)
    }

    fn inactive(&self, dest: DestId) -> u32 {
        dest.as_u32() % 7
    }

    fn overloaded(&self, _: DestId) -> bool {
        false
    }

    fn traffic(&self, dest: DestId) -> u64 {
        u64::from(dest.as_u32()) * 1000
    }

    fn response_time(&self, dest: DestId) -> Option<u32> {
        Some(dest.as_u32() % 100 * 10)
    }
}

fn dests(count: u32) -> Vec<Dest> {
    let dest = |id| {
        let weight = 1 + (id * 7919 % 10) as i32;
        let addr = IpAddr::V4(Ipv4Addr::from(0x0A01_0000 + id));
        Dest { id: DestId::new(id), addr, port: 80, weight, last_weight: weight }
    };
    (0..count).map(dest).collect()
}

fn cost(kind: Kind, count: u32) -> f64 {
    let plan = Plan::build(kind, Flags::NONE, dests(count)).unwrap();
    let mut state = State::new(&plan, Stagger::ALONE);
    let mut loads = Active(vec![0; count as usize]);
    let mut random = XorShift::new(1);
    let mut ctx = Ctx { now: 0, random: &mut random, tuning: Tuning::default() };
    let mut open: Vec<DestId> = Vec::new();
    let mut best = f64::MAX;
    let mut start = Instant::now();
    for step in 0..CHOICES {
        if step > 0 && step.is_multiple_of(BATCH) {
            best = best.min(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
            start = Instant::now();
        }
        let client = IpAddr::V4(Ipv4Addr::from(step.wrapping_mul(0x9E37_79B1)));
        let target = IpAddr::V4(Ipv4Addr::from(step.wrapping_mul(0x9E37_79B1) >> 20));
        let key = Key { client, client_port: 80, target, protocol: 6 };
        let Some(id) = black_box(state.pick(&plan, &loads, &key, &mut ctx)) else { continue };
        loads.0[id.index()] += 1;
        state.load_changed(&plan, id, &loads);
        // Each connection ends when a few thousand others have begun.
        if open.len() < OPEN {
            open.push(id);
        } else {
            let ended = std::mem::replace(&mut open[step as usize % OPEN], id);
            loads.0[ended.index()] -= 1;
            state.load_changed(&plan, ended, &loads);
        }
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
    let plan = Plan::build(Kind::Wlc, Flags::NONE, dests(1024)).unwrap();
    let mut state = State::new(&plan, Stagger::ALONE);
    let loads = Active(vec![0; 1024]);
    let mut random = XorShift::new(1);
    let mut ctx = Ctx { now: 0, random: &mut random, tuning: Tuning::default() };
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let key = Key { client: address, client_port: 80, target: address, protocol: 6 };
    let start = Instant::now();
    for _ in 0..1000 {
        state.loads_changed();
        black_box(state.pick(&plan, &loads, &key, &mut ctx));
    }
    println!("wlc pick of 1024 after all loads changed: {:?}", start.elapsed() / 1000);
}

const COUNTS: [u32; 4] = [2, 16, 128, 1024];
const CHOICES: u32 = 400_000;
/// Of so many choices the average counts, and of those the best; the others were disturbed.
const BATCH: u32 = 2_000;
const OPEN: usize = 4096;
