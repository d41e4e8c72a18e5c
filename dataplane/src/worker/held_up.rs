//! Times when the worker itself was late.
//!
//! If a worker had no CPU for 70 ms, it finds answers that had come after 1 ms. A response time
//! that it measures then says nothing about the real server.

/// The last time when the worker was held up between two polls.
#[derive(Debug, Default)]
pub(super) struct HeldUp {
    /// How long it was held up, in microseconds.
    length: u32,
    /// When this ended, in microseconds since the start, modulo 2^32.
    ended: u32,
}

impl HeldUp {
    /// Notes that a poll begins at `now` and the one before it began at `before`, both in
    /// microseconds.
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

/// A worker is held up if more than this time passes between two polls, in microseconds. Its rests
/// and polls are shorter.
const LONG: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_spoiled_by_a_long_pause_that_may_be_most_of_it() {
        let mut held_up = HeldUp::default();
        held_up.note(10_000, 11_000);
        assert!(!held_up.spoils(1_500, 11_200), "a short pause is a rest");
        held_up.note(11_000, 81_000);
        assert!(held_up.spoils(70_500, 81_000), "the answer was found after the pause");
        assert!(held_up.spoils(71_000, 81_400), "the request waited for the end of the pause");
        assert!(!held_up.spoils(500, 81_600), "the request came after the pause");
        assert!(!held_up.spoils(200_000, 81_600), "the server is slow, and the pause is the smaller part");
        held_up.note(u32::MAX - 10, 9_989);
        assert!(held_up.spoils(10_000, 9_989), "the counter wrapped during the pause");
    }
}
