//! Clocks and medians.
//!
//! Figures are medians over many short stretches. Another process on the CPU, or a change of its
//! frequency, spoils some stretches but not the median. The spread shows how many stretches were
//! spoilt.

use dataplane::time::Ticks;

/// Director time, derived from the time-stamp counter as a worker's is.
#[derive(Debug)]
pub(super) struct Clock {
    now: Ticks,
    next: u64,
    period: u64,
}

impl Clock {
    /// A clock that shows `now` at `tsc`. The counter has `hz` cycles a second.
    pub(super) fn new(now: Ticks, tsc: u64, hz: u64) -> Self {
        let period = (hz / u64::from(Ticks::PER_SECOND)).max(1);
        Self { now, next: tsc + period, period }
    }

    /// The time at `tsc`. `tsc` must never go back.
    #[inline]
    pub(super) fn at(&mut self, tsc: u64) -> Ticks {
        while tsc >= self.next {
            self.now = self.now.plus(1);
            self.next += self.period;
        }
        self.now
    }
}

/// The cost of one thing, measured many times, in cycles of the time-stamp counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a measurement: `things` took `cycles` in all.
    pub(super) fn add(&mut self, cycles: u64, things: u64) {
        if things != 0 {
            self.0.push(cycles as f64 / things as f64);
        }
    }

    /// How many measurements there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the median, and the distance between the quartiles as a part of the median. Both are
    /// 0 without measurements.
    pub(super) fn median(mut self) -> (f64, f64) {
        self.0.sort_by(f64::total_cmp);
        let at = |quarter: usize| self.0.get(self.0.len() * quarter / 4).copied().unwrap_or_default();
        let median = at(2);
        let spread = if median > 0.0 { (at(3) - at(1)) / median } else { 0.0 };
        (median, spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_spoilt_samples_do_not_move_the_median() {
        let mut samples = Samples::default();
        for n in 0..100 {
            samples.add(if n % 5 == 0 { 1_000_000 } else { 320 }, 32);
        }
        assert_eq!(samples.median(), (10.0, 0.0));
    }

    #[test]
    fn the_clock_ticks_a_hundred_times_a_second() {
        let mut clock = Clock::new(Ticks::new(5), 1000, 100_000);
        assert_eq!(clock.at(1999), Ticks::new(5));
        assert_eq!(clock.at(2000), Ticks::new(6));
        assert_eq!(clock.at(101_000), Ticks::new(105));
    }
}
