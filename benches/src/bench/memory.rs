//! Workload "memory": what the machine's memory lets a packet path hope for. There is no director
//! in it.
//!
//! *Dependent* loads wait for each other: each line names the next, all of them in one random
//! round. That is what a look-up costs that cannot be foreseen. *Prefetched* lines have nothing to
//! do with each other and are sent for a burst ahead, as a worker does with the lines of its
//! packets: what a line costs when waiting overlaps. The array lies in memory as the flow table
//! does, in hugepages if Linux gives any.

use core::fmt;
use core::hint::black_box;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use dataplane::BURST;
use dataplane::conn::table::pages::Pages;
use sched::Random;
use sched::XorShift;
use serde::Serialize;

use crate::bench::args::BenchArgs;
use crate::bench::error::BenchError;
use crate::bench::meter::Samples;
use crate::bench::report::round;
use linux::affinity;

const MB: usize = 1 << 20;
/// Megabytes that are walked through, and whether they are large enough for prefetching to matter.
const SIZES: [(usize, bool); 4] = [(1, false), (8, false), (64, true), (640, true)];
/// Loads in one measurement: tens to hundreds of microseconds.
const BATCH: u64 = 2048;
/// Batches that may pass before the first that counts: the array was just written, from its end on.
const WARM: usize = 64;

/// What the memory does.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryReport {
    /// Always "memory".
    pub workload: &'static str,
    /// How long was measured, all sizes together.
    pub seconds: u32,
    /// One entry a size, the smallest first.
    pub sizes: Vec<MemorySize>,
}

/// Figures of one array.
#[derive(Clone, Debug, Serialize)]
pub struct MemorySize {
    /// Its size, in megabytes of 2^20 bytes.
    pub megabytes: usize,
    /// Megabytes of it that lie in transparent hugepages.
    pub huge_megabytes: usize,
    /// Nanoseconds of a random load that waits for the one before it.
    pub dependent_ns: f64,
    /// Nanoseconds a random line that was sent for a burst ahead; only of arrays that no cache near
    /// the core holds.
    pub prefetched_ns: Option<f64>,
    /// Distance of the quartiles of `dependent_ns`, as a part of it.
    pub spread: f64,
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    /// The line to load after this one.
    next: u32,
}

/// Measures all sizes, on the last CPU that the process may use.
pub(super) fn run(args: &BenchArgs) -> Result<MemoryReport, BenchError> {
    args.check()?;
    let cpu = affinity::default_worker_cpu(&affinity::allowed_cpus()).ok_or(BenchError::NoCpu)?;
    let measured: usize = SIZES.iter().map(|(_, prefetched)| 1 + usize::from(*prefetched)).sum();
    let each = Duration::from_secs(u64::from(args.seconds)) / measured as u32;
    let work = move || -> Result<Vec<MemorySize>, affinity::PinError> {
        affinity::pin(&[cpu])?;
        Ok(SIZES.iter().map(|(megabytes, prefetched)| walk(*megabytes, *prefetched, each)).collect())
    };
    let sizes = match thread::spawn(work).join() {
        Ok(Ok(sizes)) => sizes,
        _ => return Err(BenchError::NoCpu),
    };
    Ok(MemoryReport { workload: "memory", seconds: args.seconds, sizes })
}

fn walk(megabytes: usize, prefetched: bool, each: Duration) -> MemorySize {
    let before = huge_kb();
    let lines = round_trip(megabytes * MB / size_of::<Line>());
    let huge_megabytes = huge_kb().saturating_sub(before) / 1024;
    let mut at = 0;
    let (dependent_ns, spread) = median(each, || at = dependent(&lines, at));
    let mut draw = 1;
    let prefetched_ns = prefetched.then(|| median(each, || draw = ahead(&lines, draw)).0);
    let prefetched_ns = prefetched_ns.map(|ns| round(ns, 2));
    MemorySize {
        megabytes,
        huge_megabytes,
        dependent_ns: round(dependent_ns, 2),
        prefetched_ns,
        spread: round(spread, 3),
    }
}

/// So many lines, of which each names another, so that a walk comes by all of them before it is
/// back.
fn round_trip(count: usize) -> Pages<Line> {
    let mut lines = Pages::new(count, |n| Line { next: n as u32 });
    let mut random = XorShift::new(0x11e5);
    // Sattolo's shuffle: one cycle, where Fisher and Yates's makes some.
    for last in (1..count).rev() {
        let other = random.below_inclusive(last as u64 - 1) as usize;
        (lines[last].next, lines[other].next) = (lines[other].next, lines[last].next);
    }
    lines
}

/// A batch of loads from `at` on, each of the line that the last one named; where they end.
#[inline(never)]
fn dependent(lines: &[Line], mut at: u32) -> u32 {
    for _ in 0..BATCH {
        at = lines[at as usize].next;
    }
    black_box(at)
}

/// A batch of loads of lines drawn from `draw` on, each sent for while the burst before its own is
/// loaded; the next draw.
#[inline(never)]
fn ahead(lines: &[Line], draw: u64) -> u64 {
    let (mut sum, mut coming, mut draw) = (0_u32, [0; BURST], draw);
    for _ in 0..=BATCH / BURST as u64 {
        for place in &mut coming {
            let line = core::mem::replace(place, drawn(&mut draw, lines.len()));
            dpdk::prefetch(&lines[*place]);
            sum = sum.wrapping_add(lines[line].next);
        }
    }
    black_box(sum);
    draw
}

/// A line at random, for less than a load costs: Knuth's congruential generator, of which the upper
/// half is good enough.
#[inline(always)]
fn drawn(draw: &mut u64, count: usize) -> usize {
    *draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (((*draw >> 32) * count as u64) >> 32) as usize
}

/// (Median of the nanoseconds that one load in a batch takes, distance of the quartiles as a part
/// of it).
fn median(each: Duration, mut batch: impl FnMut()) -> (f64, f64) {
    (0..WARM).for_each(|_| batch());
    let (mut samples, start) = (Samples::default(), Instant::now());
    while start.elapsed() < each {
        let begun = Instant::now();
        batch();
        samples.add(begun.elapsed().as_nanos() as u64, BATCH);
    }
    samples.median()
}

/// Memory of this process that lies in transparent hugepages.
fn huge_kb() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory, random lines of 64 bytes")?;
        for size in &self.sizes {
            let MemorySize { megabytes, huge_megabytes, dependent_ns, spread, .. } = size;
            write!(f, "\n  {megabytes:>4} MB: {dependent_ns} ns a load that waits for the one before it")?;
            if let Some(ns) = size.prefetched_ns {
                write!(f, ", {ns} ns a line sent for a burst ahead")?;
            }
            write!(f, "; {huge_megabytes} MB in hugepages, quartiles {:.1} % apart", spread * 100.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_comes_by_every_line_before_it_is_back() {
        for count in [2, 3, 64, 10_007] {
            let (lines, mut seen, mut at) = (round_trip(count), vec![false; count], 0);
            for _ in 0..count {
                assert!(!core::mem::replace(&mut seen[at], true));
                at = lines[at].next as usize;
            }
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn draws_stay_inside_and_go_everywhere() {
        let (mut draw, mut seen) = (1, [0_u32; 10]);
        for _ in 0..10_000 {
            seen[drawn(&mut draw, 10)] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_line_is_a_line() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
    }
}
