//! A walk over memory without a director. It shows how much time the machine takes from any
//! program.
//!
//! It uses as much memory as a director's table: an interruption takes longer when the caches are
//! full of other data. A step is always the same work, so time above the limit was taken by others.

use dataplane::conn::table::pages::Pages;
use dpdk::tsc;
use sched::Random;
use sched::XorShift;

use crate::bench::arrival::Account;
use crate::bench::arrival::ArrivalClock;

/// The most lines of a walk: more than fit into the caches near a core.
const MOST: usize = (64 << 20) / size_of::<Line>();
/// Lines read in a step, between two readings of the clock: as many as a director reads for a few
/// packets.
const STEP: usize = 8;

/// A cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// The memory, and the generator that draws the way.
pub(super) struct Walk {
    lines: Pages<Line>,
    random: XorShift,
}

impl Walk {
    /// A walk over `bytes` of memory, which lie in pages like a director's table.
    pub(super) fn new(bytes: usize) -> Self {
        let lines = (bytes / size_of::<Line>()).clamp(1, MOST);
        // The lines are written here, so that the walk does not wait for pages to be provided.
        Self { lines: Pages::new(lines, |_| Line::default()), random: XorShift::new(0x11e5) }
    }

    /// Walks for `cycles`, with a clock that leaves out the excess over `longest` of each step.
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
