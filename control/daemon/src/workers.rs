//! The worker's loop on its core: it polls, and rests when there is nothing to do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dataplane::io::PacketIo;
use dataplane::time::{Moment, Ticks};
use dataplane::worker::Worker;

use crate::config::Poll;
use linux::pump::Bell;

/// What control shares with a running worker.
#[derive(Debug, Default)]
pub(super) struct Leash {
    stop: AtomicBool,
    /// TSC cycles spent in polls that had something to do.
    pub(super) busy_cycles: AtomicU64,
}

impl Leash {
    /// Tells the worker to end after its present poll.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a worker's packets have cost lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacketCost {
    cycles: u64,
    packets: u64,
    per_packet: Option<f64>,
}

impl PacketCost {
    /// A figure is given when there were at least so many packets between two looks.
    const ENOUGH: u64 = 1000;

    /// Looks again. `cycles` are the busy cycles since the start, `packets` the packets since the
    /// start.
    pub(super) fn look(&mut self, cycles: u64, packets: u64) {
        let spent = cycles.wrapping_sub(self.cycles);
        let done = packets.wrapping_sub(self.packets);
        self.per_packet = (done >= Self::ENOUGH).then(|| spent as f64 / done as f64);
        (self.cycles, self.packets) = (cycles, packets);
    }

    /// Cycles a packet between the last two looks; `None` when there were too few packets for a
    /// figure.
    pub(super) fn cycles_per_packet(&self) -> Option<f64> {
        self.per_packet
    }
}

/// Turns the CPU's time stamps into director time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: u64,
    cycles_per_tick: u64,
    cycles_per_micro: u64,
}

impl Clock {
    /// A clock that starts now. `tsc_hz` is the rate of the time stamp counter.
    pub(super) fn new(tsc_hz: u64) -> Self {
        Self {
            start: dpdk::tsc(),
            cycles_per_tick: (tsc_hz / u64::from(Ticks::PER_SECOND)).max(1),
            cycles_per_micro: (tsc_hz / 1_000_000).max(1),
        }
    }

    /// The moment of the time stamp `tsc`.
    fn at(&self, tsc: u64) -> Moment {
        let since = tsc.wrapping_sub(self.start);
        let ticks = Ticks::new((since / self.cycles_per_tick) as u32);
        Moment { ticks, micros: (since / self.cycles_per_micro) as u32 }
    }
}

/// How many polls in a row find nothing before a worker begins to rest: it is about a millisecond.
const RESTLESS: u32 = 2_000;
/// How long a resting worker sleeps between polls: first the short naps, then the long ones. With
/// these lengths, and the kernel's timer slack, the first packet after a rest waits less than a
/// millisecond. Looking costs a few per cent of a core.
const NAPS: [Duration; 2] = [Duration::from_micros(400), Duration::from_micros(800)];
/// How many short naps there are before the long ones.
const SHORT: u32 = 100;

/// Polls until it is told to stop.
pub(super) fn run<Io: PacketIo>(
    worker: &mut Worker<Io>,
    clock: Clock,
    poll: Poll,
    leash: &Leash,
    bell: &Bell,
) {
    let mut idle = 0_u32;
    let mut before = dpdk::tsc();
    while !leash.stop.load(Ordering::Relaxed) {
        let done = worker.poll(clock.at(before));
        let mut after = dpdk::tsc();
        if done != 0 {
            if idle > RESTLESS {
                bell.wake();
            }
            idle = 0;
            let busy = leash.busy_cycles.load(Ordering::Relaxed).wrapping_add(after.wrapping_sub(before));
            leash.busy_cycles.store(busy, Ordering::Relaxed);
        } else if poll == Poll::Adaptive {
            idle = idle.saturating_add(1);
            if idle > RESTLESS {
                if idle == RESTLESS + 1 {
                    bell.rest();
                }
                std::thread::sleep(NAPS[usize::from(idle > RESTLESS + SHORT)]);
                after = dpdk::tsc();
            }
        }
        before = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_rests_has_no_cost_a_packet() {
        let mut cost = PacketCost::default();
        cost.look(5_000_000, 50);
        assert_eq!(cost.cycles_per_packet(), None);
        cost.look(5_200_000, 2050);
        assert_eq!(cost.cycles_per_packet(), Some(100.0));
        cost.look(9_000_000, 2060);
        assert_eq!(cost.cycles_per_packet(), None);
    }
}
