//! Workload "changes": rules change while packets of standing connections come as fast as the
//! worker takes them.
//!
//! Another thread, on another CPU if there is one, changes the rules as the daemon's control loop
//! does ([`Control`]). Stretches with changes and without take turns. So the report shows the
//! effect of the machine beside the effect of the changes. When a real server comes or goes, all
//! connections are judged again. So a stretch with changes goes on until every connection has had
//! its first packet after the last change.
//!
//! The time of each poll is recorded: up to 8 bursts from each port, including the time to make and
//! free the packets. A packet that is not forwarded voids the figures.

use core::fmt;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use dataplane::worker::Worker;
use dpdk::tsc;
use hdrhistogram::CreationError;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::args::BenchArgs;
use crate::bench::control::Control;
use crate::bench::error::BenchError;
use crate::bench::established;
use crate::bench::io::BenchIo;
use crate::bench::meter::Clock;
use crate::bench::report::Findings;
use crate::bench::report::round;
use crate::bench::rules::Director;
use linux::affinity;

/// A poll should take less than this, in microseconds.
const GOAL: u64 = 50;
/// Stretches in a second.
const STRETCHES: u64 = 10;
/// How often a resting control thread checks for a new order.
const NAP: Duration = Duration::from_millis(1);
/// Seconds within which control must obey the order to rest.
const PATIENCE: u64 = 5;
/// Precision of percentiles in decimal digits, and the longest poll that is recorded exactly, in
/// cycles.
const DIGITS: u8 = 3;
const LONGEST: u64 = 1 << 36;

/// What changes of rules did to the packets.
#[derive(Clone, Debug, Serialize)]
pub struct ChangesReport {
    /// Changes made. Each was published by itself.
    pub changes: u64,
    /// Changes a second that were asked for, in stretches with changes.
    pub rate: u32,
    /// Whether the changing thread had a CPU of its own. If not, the worker's polls include its
    /// work.
    pub own_cpu: bool,
    /// Polls while rules stayed as they were.
    pub without: Polls,
    /// Polls while rules changed, and afterwards until all connections had seen the last change.
    pub with: Polls,
    /// Those of the polls `with` that took up new rules.
    pub following: Polls,
}

/// How long polls took.
#[derive(Clone, Debug, Serialize)]
pub struct Polls {
    /// How many there were.
    pub polls: u64,
    /// Packets that they carried.
    pub packets: u64,
    /// Packets a second, in the time of these polls.
    pub packets_per_second: u64,
    /// Half of the polls took at most this many microseconds.
    pub p50_us: f64,
    /// 99 % of the polls took at most this many microseconds.
    pub p99_us: f64,
    /// 99.9 % of the polls took at most this many microseconds.
    pub p999_us: f64,
    /// The longest poll, microseconds.
    pub max_us: f64,
    /// How many took more than 50 µs.
    pub over_50_us: u64,
}

/// Measures throughput for a quarter of the time, then polls with and without changes. A thread on
/// `control_cpu` makes the changes.
pub(super) fn run(
    director: &mut Director,
    args: &BenchArgs,
    (control_cpu, own_cpu): (u32, bool),
    hz: u64,
) -> Result<Findings, BenchError> {
    let mut clock = established::prepare(director, args, hz)?;
    let cycles = u64::from(args.seconds) * hz;
    let mut measured = established::measure(director, args.flows, &mut clock, cycles / 4)?;
    let Director { workers, rules: control, .. } = &mut *director;
    let record = || Record::new(hz);
    let (without, with, following) = (record()?, record()?, record()?);
    let mut scene = Scene { worker: &mut workers[0], clock, now: tsc(), without, with, following };
    let orders = Orders::default();
    let made = thread::scope(|scope| {
        let changing = scope.spawn(|| {
            // This thread is the worker's child. Without pinning it would stay on the worker's CPU.
            affinity::pin(&[control_cpu as usize]).map_err(|error| BenchError::Void(error.to_string()))?;
            orders.follow(control, args.changes_a_second())
        });
        let end = scene.now + cycles / 4 * 3;
        let mut obeyed = true;
        while obeyed && scene.now < end {
            scene.rest(hz / STRETCHES);
            obeyed = scene.stir(&orders, hz, u64::from(args.flows));
        }
        orders.give(END);
        changing.join()
    });
    let died = || BenchError::Void("the thread that changes rules died".to_owned());
    made.map_err(|_| died())??;
    let (without, with, following) = (scene.without, scene.with, scene.following);
    established::nothing_lost(director, "while rules changed")?;
    if following.times.is_empty() {
        return Err(BenchError::Void("no rules were changed: the CPU for that was taken".to_owned()));
    }
    measured.packets += without.packets + with.packets;
    let report = ChangesReport {
        changes: director.rules.changes(),
        rate: args.changes_a_second(),
        own_cpu,
        without: without.report(hz),
        with: with.report(hz),
        following: following.report(hz),
    };
    Ok(Findings { changes: Some(report), ..Findings::from(measured) })
}

/// Orders from the worker's thread to control's. They are numbered: even ones mean rest, odd ones
/// mean change rules.
#[derive(Default)]
struct Orders {
    given: AtomicU64,
    obeyed: AtomicU64,
}

/// The last order.
const END: u64 = u64::MAX;

impl Orders {
    fn give(&self, order: u64) {
        self.given.store(order, Ordering::Release);
    }

    /// Runs on control's thread: changes rules `rate` times a second while the order says so.
    fn follow(&self, control: &mut Control, rate: u32) -> Result<(), BenchError> {
        let period = Duration::from_secs(1) / rate;
        let mut due = Instant::now();
        loop {
            let order = self.given.load(Ordering::Acquire);
            self.obeyed.store(order, Ordering::Release);
            if order == END {
                return Ok(());
            }
            if order.is_multiple_of(2) {
                thread::sleep(NAP);
                due = Instant::now();
                continue;
            }
            control.change()?;
            due += period;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

struct Scene<'a> {
    worker: &'a mut Worker<BenchIo>,
    clock: Clock,
    /// The end of the last poll, in cycles.
    now: u64,
    without: Record,
    with: Record,
    following: Record,
}

impl Scene<'_> {
    /// Polls for `cycles` while rules stay as they are.
    fn rest(&mut self, cycles: u64) {
        let end = self.now + cycles;
        while self.now < end {
            let (taken, packets, _) = self.poll();
            self.without.add(taken, packets);
        }
    }

    /// Polls for a stretch while rules change, and then until each of `flows` has had a packet.
    /// Returns whether control obeyed.
    fn stir(&mut self, orders: &Orders, hz: u64, flows: u64) -> bool {
        let order = orders.given.load(Ordering::Relaxed) + 1;
        orders.give(order);
        let end = self.now + hz / STRETCHES;
        // Packets of both directions come in turn.
        let mut left = 2 * flows;
        while left > 0 {
            let (taken, packets, followed) = self.poll();
            self.with.add(taken, packets);
            if followed {
                self.following.add(taken, packets);
            }
            if self.now < end {
                continue;
            }
            orders.give(order + 1);
            if orders.obeyed.load(Ordering::Acquire) == order + 1 {
                left = left.saturating_sub(packets.max(1));
            } else if self.now > end + hz * PATIENCE {
                return false;
            }
        }
        true
    }

    /// Polls once. Returns the cycles it took, the packets it carried, and whether it took up new
    /// rules.
    fn poll(&mut self) -> (u64, u64, bool) {
        let (epoch, received) = (self.worker.epoch(), self.worker.io_mut().received);
        let begun = tsc();
        self.worker.poll(self.clock.at(begun));
        self.now = tsc();
        (self.now - begun, self.worker.io_mut().received - received, self.worker.epoch() != epoch)
    }
}

/// Recorded polls, in cycles.
struct Record {
    /// It has a fixed size: recording must not allocate.
    times: Histogram<u64>,
    packets: u64,
    cycles: u64,
    /// Polls longer than `goal`.
    over: u64,
    goal: u64,
}

impl Record {
    fn new(hz: u64) -> Result<Self, CreationError> {
        let times = Histogram::new_with_bounds(1, LONGEST, DIGITS)?;
        Ok(Self { times, packets: 0, cycles: 0, over: 0, goal: hz / 1_000_000 * GOAL })
    }

    fn add(&mut self, cycles: u64, packets: u64) {
        self.times.saturating_record(cycles);
        self.packets += packets;
        self.cycles += cycles;
        self.over += u64::from(cycles > self.goal);
    }

    fn report(&self, hz: u64) -> Polls {
        let us = |cycles: u64| round(cycles as f64 * 1e6 / hz as f64, 2);
        let at = |quantile: f64| us(self.times.value_at_quantile(quantile));
        Polls {
            polls: self.times.len(),
            packets: self.packets,
            packets_per_second: (self.packets as f64 * hz as f64 / self.cycles.max(1) as f64) as u64,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(self.times.max()),
            over_50_us: self.over,
        }
    }
}

impl fmt::Display for ChangesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, rate, .. } = self;
        let whose = if self.own_cpu { "another CPU" } else { "the worker's own CPU (there is no other)" };
        writeln!(f, "  {changes} changes of rules, {rate} a second, made on {whose}; no packet was lost")?;
        write!(
            f,
            "    polls                  number  packets/s    p50 us    p99 us  p99.9 us    max us  over 50"
        )?;
        for (name, polls) in [
            ("without changes", &self.without),
            ("with changes", &self.with),
            ("taking one up", &self.following),
        ] {
            let Polls { polls, packets_per_second, p50_us, p99_us, p999_us, max_us, over_50_us, .. } = polls;
            write!(
                f,
                "\n    {name:<16} {polls:>12} {packets_per_second:>10} {p50_us:>9} {p99_us:>9} {p999_us:>9} {max_us:>9} {over_50_us:>8}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_counted_by_what_they_took() -> Result<(), CreationError> {
        let mut record = Record::new(2_000_000_000)?;
        for cycles in [20_000, 40_000, 100_000, 100_001, u64::MAX >> 1] {
            record.add(cycles, 512);
        }
        let polls = record.report(2_000_000_000);
        assert_eq!((polls.polls, polls.packets, polls.over_50_us), (5, 5 * 512, 2));
        assert!(!record.times.is_auto_resize());
        Ok(())
    }
}
