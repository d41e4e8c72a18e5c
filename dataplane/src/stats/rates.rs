//! The traffic and the response times of destinations, for the schedulers that choose by them.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use sched::DestId;

use crate::stats::Gauge;
use crate::stats::WorkerStats;
use crate::time::Ticks;

/// What only schedulers by traffic or response time read of a destination. Control writes the first
/// two, every estimator tick, and `forgotten`; the worker writes all others.
#[derive(Debug, Default)]
pub(super) struct DestRates {
    /// Bytes a second in both directions, all workers together.
    traffic: AtomicU64,
    /// This worker's connections made up to the last estimator tick.
    conns_then: AtomicU64,
    /// Smoothed response time in microseconds; 0 while nothing was measured.
    response: Gauge,
    /// When the last connection was made that measures it, in ticks; 0 while there was none.
    asked: Gauge,
    /// When the last sample was taken, in ticks.
    answered: Gauge,
    /// How often control had what was measured forgotten.
    forgotten: AtomicU32,
    /// What `forgotten` was when the worker last took a sample: it stands for nothing when there is
    /// another number now.
    known_since: Gauge,
}

impl DestRates {
    /// The smoothed response time in microseconds, 0 when there is none or it is to be forgotten.
    fn response(&self) -> u32 {
        if self.known_since.get() == self.forgotten.load(Relaxed) { self.response.get() } else { 0 }
    }
}

/// How many ticks what was measured of a real server is good for when no connection renews it: then
/// it is to be probed, and what the probe finds stands for itself.
const STALE: i32 = 5 * Ticks::PER_SECOND as i32;

impl WorkerStats {
    /// Control: what the estimator found of a destination, in bytes a second.
    pub fn set_traffic(&self, dest: DestId, bytes_per_second: u64) {
        if let (Some(rates), Some(stats)) = (self.rates.get(dest.index()), self.dest(dest)) {
            rates.traffic.store(bytes_per_second, Relaxed);
            rates.conns_then.store(stats.conns.get(), Relaxed);
        }
    }

    /// Control: the destination is gone and its slot is free; whoever gets the slot was not
    /// measured yet.
    pub fn forget_rates(&self, dest: DestId) {
        self.set_traffic(dest, 0);
        self.forget_response(dest);
    }

    /// Control: what was measured of the real server's answers counts no more; the next one stands
    /// for itself.
    pub fn forget_response(&self, dest: DestId) {
        if let Some(rates) = self.rates.get(dest.index()) {
            rates.forgotten.fetch_add(1, Relaxed);
        }
    }

    /// Control: all traffic of this estimator tick has been set.
    pub fn tick_rates(&self) {
        self.rate_ticks.fetch_add(1, Relaxed);
    }

    /// How many estimator ticks there were.
    pub fn rate_ticks(&self) -> u32 {
        self.rate_ticks.load(Relaxed)
    }

    /// The worker: a connection was made at `now` that will measure its real server.
    pub(crate) fn asks(&self, dest: DestId, now: Ticks) {
        if let Some(rates) = self.rates.get(dest.index()) {
            rates.asked.set(now.raw().max(1));
        }
    }

    /// The worker: a real server took `micros` to answer. The first sample stands for itself, and
    /// so does one after a long time without; others count an eighth. Whether it was the first.
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
