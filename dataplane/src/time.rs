//! The director's time.
//!
//! A worker is told the time once a poll. Nothing on the packet path reads a clock. One tick is 10
//! ms, as in a Linux with `HZ=100`, so that timeouts are rounded as IPVS users know it.

/// A moment in ticks of 10 ms since the director started.
///
/// The counter wraps after 497 days. Moments are compared by their signed difference. That is right
/// if no two compared moments are more than 248 days apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ticks(u32);

impl Ticks {
    /// Ticks in a second.
    pub const PER_SECOND: u32 = 100;

    /// The longest time that should be added to a moment, in ticks: 124 days, half of the longest
    /// time that can be compared.
    pub const FARTHEST: u32 = u32::MAX / 4;

    /// The moment `raw` ticks after the start.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The moment `seconds` after the start.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds.wrapping_mul(Self::PER_SECOND))
    }

    /// Ticks since the start, modulo 2^32.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Milliseconds since the start.
    pub const fn millis(self) -> u64 {
        self.0 as u64 * (1000 / Self::PER_SECOND as u64)
    }

    /// The moment `millis` milliseconds after the start, rounded down.
    pub const fn from_millis(millis: u64) -> Self {
        Self((millis / (1000 / Self::PER_SECOND as u64)) as u32)
    }

    /// The moment `ticks` after this one.
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Ticks from `earlier` to this moment. Negative if `earlier` is later than this moment.
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// Whether this moment is `other` or before it.
    pub const fn not_after(self, other: Self) -> bool {
        other.since(self) >= 0
    }
}

/// The time that a worker is told once a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// For timeouts.
    pub ticks: Ticks,
    /// Microseconds since the start, modulo 2^32. For measuring the response times of real servers.
    pub micros: u32,
}

impl From<Ticks> for Moment {
    /// The moment at which a tick begins.
    fn from(ticks: Ticks) -> Self {
        Self { ticks, micros: ticks.raw().wrapping_mul(1_000_000 / Ticks::PER_SECOND) }
    }
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn order_survives_the_wrap() {
        let before = Ticks::new(u32::MAX - 5);
        let after = before.plus(10);
        assert_eq!(after.raw(), 4);
        assert!(before.not_after(after) && !after.not_after(before));
        assert_eq!(after.since(before), 10);
        assert_eq!(before.since(after), -10);
    }
}
