//! The traffic and the response times of destinations, for the schedulers that choose by them.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use sched::DestId;

use crate::stats::Gauge;
use crate::stats::WorkerStats;
use crate::time::Ticks;

/// Numbers of a destination that only the schedulers by traffic and by response time read. Control
/// writes the first two at every estimator tick, and it writes `forgotten`. The worker writes all
/// others.
#[derive(Debug, Default)]
pub(super) struct DestRates {
    /// Bytes a second in both directions, all workers together.
    traffic: AtomicU64,
    /// How many connections this worker had made at the last estimator tick.
    conns_then: AtomicU64,
    /// Smoothed response time in microseconds; 0 while nothing has been measured.
    response: Gauge,
    /// When the last connection was made that measures the response time, in ticks; 0 if there was
    /// none.
    asked: Gauge,
    /// When the last sample was taken, in ticks.
    answered: Gauge,
    /// How often control has declared the measured response time void.
    forgotten: AtomicU32,
    /// The value of `forgotten` at the last sample. If the two differ, the response time is void.
    known_since: Gauge,
}

impl DestRates {
    /// The smoothed response time in microseconds; 0 if there is none or it is void.
    fn response(&self) -> u32 {
        if self.known_since.get() == self.forgotten.load(Relaxed) { self.response.get() } else { 0 }
    }
}

/// How long a measured response time is good if no connection renews it, in ticks. After that the
/// real server may be probed, and the next sample replaces the old response time.
const STALE: i32 = 5 * Ticks::PER_SECOND as i32;

impl WorkerStats {
    /// Control sets a destination's traffic as its estimator measured it, in bytes a second.
    pub fn set_traffic(&self, dest: DestId, bytes_per_second: u64) {
        if let (Some(rates), Some(stats)) = (self.rates.get(dest.index()), self.dest(dest)) {
            rates.traffic.store(bytes_per_second, Relaxed);
            rates.conns_then.store(stats.conns.get(), Relaxed);
        }
    }

    /// Control frees the slot of a deleted destination. The next destination in the slot has not
    /// been measured.
    pub fn forget_rates(&self, dest: DestId) {
        self.set_traffic(dest, 0);
        self.forget_response(dest);
    }

    /// Control declares the measured response time void. The next sample replaces it.
    pub fn forget_response(&self, dest: DestId) {
        if let Some(rates) = self.rates.get(dest.index()) {
            rates.forgotten.fetch_add(1, Relaxed);
        }
    }

    /// Control has set the traffic of all destinations for this estimator tick.
    pub fn tick_rates(&self) {
        self.rate_ticks.fetch_add(1, Relaxed);
    }

    /// How many estimator ticks there were.
    pub fn rate_ticks(&self) -> u32 {
        self.rate_ticks.load(Relaxed)
    }

    /// The worker made a connection at `now` that will measure its real server.
    pub(crate) fn asks(&self, dest: DestId, now: Ticks) {
        if let Some(rates) = self.rates.get(dest.index()) {
            rates.asked.set(now.raw().max(1));
        }
    }

    /// The worker measured that a real server took `micros` to answer. The first sample, and one
    /// after [`STALE`] ticks without a sample, replaces the old response time; all others count an
    /// eighth. Returns whether there was no response time before.
    pub(crate) fn answered_after(&self, dest: DestId, micros: u32, now: Ticks) -> bool {
        let Some(rates) = self.rates.get(dest.index()) else { return false };
        let (old, sample) = (i64::from(rates.response()), i64::from(micros.max(1)));
        let stale = now.since(Ticks::new(rates.answered.get())) >= STALE;
        let new = if old == 0 || stale { sample } else { old + (sample - old) / 8 };
        rates.response.set(new.max(1) as u32);
        rates.answered.set(now.raw());
        rates.known_since.set(rates.forgotten.load(Relaxed));
        old == 0
    }
}

impl sched::Loads for WorkerStats {
    fn traffic(&self, dest: DestId) -> u64 {
        self.rates.get(dest.index()).map_or(0, |rates| rates.traffic.load(Relaxed))
    }

    fn pending(&self, dest: DestId) -> u32 {
        let (Some(rates), Some(stats)) = (self.rates.get(dest.index()), self.dest(dest)) else { return 0 };
        stats.conns.get().wrapping_sub(rates.conns_then.load(Relaxed)) as u32
    }

    fn response_time(&self, dest: DestId) -> Option<u32> {
        let micros = self.rates.get(dest.index())?.response();
        (micros != 0).then_some(micros)
    }

    fn to_be_probed(&self, dest: DestId, now: u64) -> bool {
        let Some(asked) = self.rates.get(dest.index()).map(|rates| rates.asked.get()) else { return false };
        asked != 0 && Ticks::from_millis(now).since(Ticks::new(asked)) >= STALE
    }

    fn active(&self, dest: DestId) -> u32 {
        self.dest(dest).map_or(0, |d| d.active.get())
    }

    fn inactive(&self, dest: DestId) -> u32 {
        self.dest(dest).map_or(0, |d| d.inactive.get())
    }

    fn overloaded(&self, dest: DestId) -> bool {
        self.dest(dest).is_some_and(|d| d.overloaded.get() != 0)
    }
}
