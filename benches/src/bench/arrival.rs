//! The clock by which packets arrive: the time-stamp counter without the time that others took.
//!
//! Between two readings the director does a known amount of work. If a stretch is longer than such
//! work can take, others had the CPU for part of it. The clock then counts only the longest time
//! that the work can take. So the network nearly stands still while a hypervisor or an interrupt
//! has the CPU. The clock counts what it leaves out; the report compares that with what it leaves
//! out without a director. Time is a parameter here.

use core::fmt;

use dataplane::BURST;
use serde::Serialize;

use crate::bench::report::round;

/// Arrival time, and the time that was left out of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivalClock {
    /// Cycles since the start.
    now: u64,
    /// The counter at the last reading.
    seen: u64,
    stolen: u64,
    stretches: u64,
}

impl ArrivalClock {
    /// A clock that shows 0 at `tsc`.
    pub(super) const fn new(tsc: u64) -> Self {
        Self { now: 0, seen: tsc, stolen: 0, stretches: 0 }
    }

    /// The time at `tsc`. Since the last reading it may advance by at most `longest`.
    #[inline]
    pub(super) fn read(&mut self, tsc: u64, longest: u64) -> u64 {
        let passed = tsc.saturating_sub(core::mem::replace(&mut self.seen, tsc));
        self.now += passed.min(longest);
        if passed > longest {
            self.stolen += passed - longest;
            self.stretches += 1;
        }
        self.now
    }

    /// Advances the clock by `cycles` at once; the next stretch begins at `tsc`.
    pub(super) fn skip(&mut self, cycles: u64, tsc: u64) {
        self.now += cycles;
        self.seen = tsc;
    }

    /// The time at the last reading.
    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    /// Cycles that were left out.
    pub(super) const fn stolen(&self) -> u64 {
        self.stolen
    }

    /// What was left out, and out of how much.
    pub(super) const fn account(&self) -> Account {
        Account { cycles: self.now + self.stolen, stolen: self.stolen, stretches: self.stretches }
    }
}

/// What a clock left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Account {
    /// Cycles that passed.
    pub(super) cycles: u64,
    /// Cycles of these that were left out, and the number of stretches that lost some.
    pub(super) stolen: u64,
    pub(super) stretches: u64,
}

impl Account {
    /// Both together.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            cycles: self.cycles + other.cycles,
            stolen: self.stolen + other.stolen,
            stretches: self.stretches + other.stretches,
        }
    }

    /// The account as it is reported, for a counter with `hz` cycles a second.
    pub(super) fn stolen(&self, hz: u64) -> Stolen {
        let left = (self.cycles - self.stolen).max(1) as f64;
        Stolen {
            part: round(self.stolen as f64 / self.cycles.max(1) as f64, 4),
            stretches_per_second: round(self.stretches as f64 * hz as f64 / left, 0),
        }
    }
}

/// Time that was left out of the clock because it was too long to be the director's work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stolen {
    /// Its part of all time.
    pub part: f64,
    /// How many stretches lost time, in a second of the remaining time. Their length does not
    /// matter.
    pub stretches_per_second: f64,
}

impl fmt::Display for Stolen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} % of the time, {} times in a second of the rest",
            self.part * 100.0,
            self.stretches_per_second
        )
    }
}

/// The longest time that the director may need from one reading to the next. It is the cost of the
/// packets that the director holds and of one more burst, at the cost of a packet under full load.
/// The director never holds more than two bursts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Cycles for a packet; `None` for no limit.
    packet: Option<u64>,
}

impl Patience {
    /// No limit: the clock is the counter.
    pub(super) const ENDLESS: Self = Self { packet: None };

    /// The limit of a director that takes `packet` cycles a packet under full load.
    pub(super) fn new(packet: f64) -> Self {
        Self { packet: Some(packet.ceil() as u64) }
    }

    /// The longest time for a stretch at whose end the director holds `packets` packets.
    #[inline]
    pub(super) const fn with(&self, packets: u64) -> u64 {
        match self.packet {
            Some(packet) => packet.saturating_mul(packets + BURST as u64),
            None => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_excess_of_a_long_stretch_is_left_out_and_counted() {
        let mut clock = ArrivalClock::new(1000);
        assert_eq!(clock.read(1040, 50), 40);
        assert_eq!(clock.read(1090, 50), 90);
        assert_eq!(clock.read(2090, 50), 140);
        assert_eq!(clock.read(2100, 50), 150);
        assert_eq!((clock.now(), clock.stolen()), (150, 950));
        assert_eq!(clock.account(), Account { cycles: 1100, stolen: 950, stretches: 1 });
    }

    #[test]
    fn a_counter_that_goes_back_leaves_the_clock_where_it_is() {
        let mut clock = ArrivalClock::new(1000);
        assert_eq!(clock.read(900, 50), 0);
        assert_eq!(clock.read(910, 50), 10);
    }

    #[test]
    fn skipped_time_is_not_counted_as_left_out() {
        let mut clock = ArrivalClock::new(0);
        clock.read(10, 50);
        clock.skip(1_000_000, 6000);
        assert_eq!(clock.read(6001, 50), 1_000_011);
        assert_eq!(clock.stolen(), 0);
    }

    #[test]
    fn the_limit_grows_with_the_packets_that_the_director_holds() {
        let patience = Patience::new(99.5);
        assert_eq!(patience.with(0), 100 * BURST as u64);
        assert_eq!(patience.with(7), 100 * (BURST as u64 + 7));
        let mut clock = ArrivalClock::new(0);
        assert_eq!(clock.read(1 << 60, Patience::ENDLESS.with(64)), 1 << 60);
        assert_eq!(clock.account(), Account { cycles: 1 << 60, ..Account::default() });
    }

    #[test]
    fn accounts_add_up() {
        let account = Account { cycles: 1000, stolen: 50, stretches: 2 };
        let both = account.plus(Account { cycles: 3000, stolen: 150, stretches: 6 });
        assert_eq!(both, Account { cycles: 4000, stolen: 200, stretches: 8 });
        assert_eq!(both.stolen(8000), Stolen { part: 0.05, stretches_per_second: 17.0 });
        assert_eq!(Account::default().stolen(8000), Stolen { part: 0.0, stretches_per_second: 0.0 });
    }
}
