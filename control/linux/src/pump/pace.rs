//! How long the pump sleeps when it finds nothing to do.
//!
//! A frame from Linux ends the sleep, because the pump sleeps in `ppoll` on the host interfaces. A
//! frame from a worker does not: the worker writes a ring and makes no system call. So such a frame
//! may have to wait as long as the pump sleeps. But a short sleep often ends without any work.
//! Frames mostly come together, such as the three of a handshake, or the request and reply of a
//! ping. So the pump sleeps shorter after it had work.

use std::time::{Duration, Instant};

/// Pairs of times: when the first has passed since the last work, the pump sleeps for the second.
const STEPS: [(Duration, Duration); 4] = [
    (Duration::from_secs(1), Duration::from_micros(500)),
    (Duration::from_millis(20), Duration::from_micros(300)),
    (Duration::from_millis(2), Duration::from_micros(150)),
    (Duration::ZERO, Duration::from_micros(40)),
];

/// When the pump had work last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    worked: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { worked: now }
    }

    pub(super) fn worked(&mut self, now: Instant) {
        self.worked = now;
    }

    pub(super) fn sleep(&self, now: Instant) -> Duration {
        let idle = now.saturating_duration_since(self.worked);
        STEPS.iter().find(|(from, _)| idle >= *from).map_or(Duration::ZERO, |(_, sleep)| *sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_grow_with_idleness_and_shrink_with_work() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |pace: &Pace, ms| pace.sleep(start + Duration::from_millis(ms)).as_micros();
        assert_eq!([at(&pace, 0), at(&pace, 5), at(&pace, 20), at(&pace, 1000)], [40, 150, 300, 500]);
        pace.worked(start + Duration::from_millis(1000));
        assert_eq!(at(&pace, 1001), 40);
    }
}
