//! What the pump counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why the pump dropped a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PumpDrop {
    /// The host interface is down.
    HostDown,
    /// Linux would not take the frame.
    HostRefused,
    /// A frame from Linux is longer than a packet buffer.
    TooLong,
    /// The frame names a port that is not there.
    NoPort,
    /// The most frames that may wait for one next hop do so already. The oldest of them is dropped.
    NextHopFull,
    /// The most frames that may wait for next hops do so already.
    ParkFull,
    /// More new next hops were wanted at a time than the kernel is asked for.
    AskedTooMuch,
    /// The worker does not take frames fast enough.
    WorkerFull,
}

impl PumpDrop {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::HostDown,
        Self::HostRefused,
        Self::TooLong,
        Self::NoPort,
        Self::NextHopFull,
        Self::ParkFull,
        Self::AskedTooMuch,
        Self::WorkerFull,
    ];

    /// The name for listings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostDown => "host_down",
            Self::HostRefused => "host_refused",
            Self::TooLong => "host_frame_too_long",
            Self::NoPort => "host_no_port",
            Self::NextHopFull => "next_hop_queue_full",
            Self::ParkFull => "resolution_queue_full",
            Self::AskedTooMuch => "resolution_rate",
            Self::WorkerFull => "worker_queue_full",
        }
    }

    /// One sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::HostDown => "for Linux, but the host interface is down",
            Self::HostRefused => "for Linux, which refused it",
            Self::TooLong => "from Linux, longer than a packet buffer",
            Self::NoPort => "for the host interface of a port that is not there",
            Self::NextHopFull => "the oldest of more than may wait for one neighbour",
            Self::ParkFull => "more than may wait for neighbours",
            Self::AskedTooMuch => "for a new neighbour, while Linux was asked for as many as it may be",
            Self::WorkerFull => {
                "from Linux, or after waiting for a neighbour, but the worker's ring was full"
            }
        }
    }
}

/// Counters that the pump writes and anyone may read.
#[derive(Debug, Default)]
pub struct PumpCounters {
    delivered: AtomicU64,
    taken: AtomicU64,
    parked: AtomicU64,
    resolved: AtomicU64,
    given_up: AtomicU64,
    drops: [AtomicU64; PumpDrop::ALL.len()],
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PumpTotals {
    /// Frames handed to Linux.
    pub delivered: u64,
    /// Frames taken from Linux.
    pub taken: u64,
    /// Frames that had to wait for a next hop.
    pub parked: u64,
    /// Frames that got the MAC of their next hop, at once or after waiting.
    pub resolved: u64,
    /// Frames whose next hop did not answer, or that the kernel gave up. They went back to the
    /// worker, which tells their senders.
    pub given_up: u64,
    /// Frames dropped, in the order of [`PumpDrop::ALL`].
    pub drops: [u64; PumpDrop::ALL.len()],
}

impl PumpCounters {
    /// The counters now.
    pub fn totals(&self) -> PumpTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PumpTotals {
            delivered: read(&self.delivered),
            taken: read(&self.taken),
            parked: read(&self.parked),
            resolved: read(&self.resolved),
            given_up: read(&self.given_up),
            drops: self.drops.each_ref().map(read),
        }
    }

    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn parked(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resolved(&self) {
        self.resolved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, why: PumpDrop) {
        self.drops[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl PumpTotals {
    /// Frames dropped for one reason.
    pub fn dropped(&self, why: PumpDrop) -> u64 {
        self.drops[why as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter_and_name() {
        let counters = PumpCounters::default();
        for (index, why) in PumpDrop::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            counters.dropped(why);
            assert_eq!(counters.totals().dropped(why), 1);
        }
        let mut names = PumpDrop::ALL.map(PumpDrop::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PumpDrop::ALL.len());
    }
}
