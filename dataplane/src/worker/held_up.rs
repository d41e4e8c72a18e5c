//! When the worker itself was late.
//!
//! A worker that had no CPU for 70 ms finds answers that came in 1: what it then measures says
//! nothing of the real server.

/// The last time that the worker was held up between two polls.
#[derive(Debug, Default)]
pub(super) struct HeldUp {
    /// For how many microseconds.
    length: u32,
    /// When that ended, in microseconds since the start, modulo 2^32.
    ended: u32,
}

impl HeldUp {
    /// A poll begins at `now`, after one that began at `before`.
    #[inline]
    pub(super) fn note(&mut self, before: u32, now: u32) {
        let length = now.wrapping_sub(before);
        if length > LONG {
            *self = Self { length, ended: now };
        }
    }

    /// Whether more than half of the `micros` before `now` may have passed while the worker was
    /// held up.
    pub(super) const fn spoils(&self, micros: u32, now: u32) -> bool {
        now.wrapping_sub(self.ended) < micros && self.length > micros / 2
    }
}

/// More microseconds than a worker rests between two polls, and than a poll takes.
const LONG: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_pause_that_falls_into_the_time_and_is_most_of_it_spoils_it() {
        let mut held_up = HeldUp::default();
        held_up.note(10_000, 11_000);
        assert!(!held_up.spoils(1_500, 11_200), "a rest");
        held_up.note(11_000, 81_000);
        assert!(held_up.spoils(70_500, 81_000), "the answer was found after it");
        assert!(held_up.spoils(71_000, 81_400), "it waited to be sent, and was answered then");
        assert!(!held_up.spoils(500, 81_600), "asked after it");
        assert!(!held_up.spoils(200_000, 81_600), "a server that is slow without it");
        held_up.note(u32::MAX - 10, 9_989);
        assert!(held_up.spoils(10_000, 9_989), "across the wrap");
    }
}
