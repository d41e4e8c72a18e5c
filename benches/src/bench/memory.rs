//! Workload "memory": the speed of the machine's memory, which limits every packet path. There is
//! no director.
//!
//! *Dependent* loads wait for each other: each line names the next, and all lines form one random
//! cycle. Such a load costs as much as a look-up that cannot be prefetched. *Prefetched* lines are
//! independent. They are fetched a burst ahead, as a worker fetches the lines of its packets, so
//! that the waiting times overlap. The array lies in memory like the flow table: in hugepages if
//! Linux gives any.

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
/// Sizes of the array in megabytes, and whether prefetching is measured too.
const SIZES: [(usize, bool); 4] = [(1, false), (8, false), (64, true), (640, true)];
/// Loads in one measurement: tens to hundreds of microseconds.
const BATCH: u64 = 2048;
/// Batches that are not counted at first, because the array was just written.
const WARM: usize = 64;

/// The figures of the memory.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryReport {
    /// Always "memory".
    pub workload: &'static str,
    /// How long it was measured in seconds, all sizes together.
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
    /// Nanoseconds of a random line that was prefetched a burst ahead. Only for arrays that fit
    /// into no cache near the core.
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

/// Makes `count` lines, each of which names another. A walk visits all lines before it comes back
/// to the first.
fn round_trip(count: usize) -> Pages<Line> {
    let mut lines = Pages::new(count, |n| Line { next: n as u32 });
    let mut random = XorShift::new(0x11e5);
    // Sattolo's shuffle makes one cycle; that of Fisher and Yates may make several.
    for last in (1..count).rev() {
        let other = random.below_inclusive(last as u64 - 1) as usize;
        (lines[last].next, lines[other].next) = (lines[other].next, lines[last].next);
    }
    lines
}

/// Loads a batch of lines from `at` on: each load names the next line. Returns the line after the
/// last.
#[inline(never)]
fn dependent(lines: &[Line], mut at: u32) -> u32 {
    for _ in 0..BATCH {
        at = lines[at as usize].next;
    }
    black_box(at)
}

/// Loads a batch of random lines, drawn from `draw` on. Each is prefetched while the burst before
/// it is loaded. Returns the next draw.
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

/// Draws a random line in less time than a load takes. It uses the upper half of Knuth's
/// congruential generator, which is good enough.
#[inline(always)]
fn drawn(draw: &mut u64, count: usize) -> usize {
    *draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (((*draw >> 32) * count as u64) >> 32) as usize
}

/// Returns the median of the nanoseconds of a load, and the distance of the quartiles as a part of
/// the median.
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

/// Memory of this process in transparent hugepages, in kB.
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
                write!(f, ", {ns} ns a line that is prefetched a burst ahead")?;
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
    fn a_walk_visits_every_line_before_it_comes_back() {
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
    fn draws_stay_in_range_and_are_even() {
        let (mut draw, mut seen) = (1, [0_u32; 10]);
        for _ in 0..10_000 {
            seen[drawn(&mut draw, 10)] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_line_fills_one_cache_line() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
    }
}
