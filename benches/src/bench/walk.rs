//! A walk over memory without a director: what the machine does to whoever runs on it.
//!
//! It uses as much memory as a director's table has, since an interruption takes longer when those
//! who interrupt find the caches full of somebody else's. Everything that is too long is theirs: a
//! step is always the same.

use dataplane::conn::table::pages::Pages;
use dpdk::tsc;
use sched::Random;
use sched::XorShift;

use crate::bench::arrival::Account;
use crate::bench::arrival::ArrivalClock;

/// Most lines that are walked over: more than there is room for near a core.
const MOST: usize = (64 << 20) / size_of::<Line>();
/// Lines looked up in a step, between two readings of the clock: what a director looks up for a few
/// packets.
const STEP: usize = 8;

/// A cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Where to walk, and what draws the way.
pub(super) struct Walk {
    lines: Pages<Line>,
    random: XorShift,
}

impl Walk {
    /// Over so many bytes, which lie in memory as a director's table does.
    pub(super) fn new(bytes: usize) -> Self {
        let lines = (bytes / size_of::<Line>()).clamp(1, MOST);
        // Written here, so that the walk is not held up by pages that are touched first.
        Self { lines: Pages::new(lines, |_| Line::default()), random: XorShift::new(0x11e5) }
    }

    /// Walks for so many cycles, and reads a clock that leaves out what is longer than `longest`.
    pub(super) fn run(&mut self, cycles: u64, longest: u64) -> Account {
        let last = self.lines.len() as u64 - 1;
        let begun = tsc();
        let (mut clock, mut now) = (ArrivalClock::new(begun), begun);
        while now - begun < cycles {
            for _ in 0..STEP {
                self.lines[self.random.below_inclusive(last) as usize].0[0] ^= now;
            }
            now = tsc();
            clock.read(now, longest);
        }
        clock.account()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_time_of_a_walk_is_accounted_for() {
        for bytes in [0, 64, 1 << 20] {
            let mut walk = Walk::new(bytes);
            assert_eq!(walk.lines.len(), (bytes / 64).max(1));
            let account = walk.run(1_000_000, 10_000);
            assert!(account.cycles >= 1_000_000 && account.stolen < account.cycles, "{account:?}");
            assert_eq!(walk.run(1000, u64::MAX).stolen, 0);
        }
    }
}
