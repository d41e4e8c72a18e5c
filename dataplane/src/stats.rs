//! Counters: written by one worker, read by anybody.
//!
//! A [`Counter`] has one writer, so adding is a load and a store, not a locked read-modify-write; a
//! reader may see the value of a moment ago, never a torn one. Each worker has its own
//! [`WorkerStats`]; control adds them up.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use std::boxed::Box;

use sched::DestId;

use crate::conn::table::prefetch;
use crate::time::Ticks;
use crate::verdict::DropReason;

/// A count with one writing thread.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes back what was added for something that came to nothing.
    pub fn take_back(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, with one writing thread.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// One more.
    #[inline]
    pub fn up(&self) {
        self.set(self.get().wrapping_add(1));
    }

    /// One less.
    #[inline]
    pub fn down(&self) {
        self.set(self.get().wrapping_sub(1));
    }

    /// Replaces the number.
    #[inline]
    pub fn set(&self, n: u32) {
        self.0.store(n, Relaxed);
    }

    /// The number.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// One destination's numbers on one worker: a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestStats {
    /// Connections made.
    pub conns: Counter,
    /// Packets from clients.
    pub in_pkts: Counter,
    /// Bytes from clients: IP total length, before encapsulation.
    pub in_bytes: Counter,
    /// Packets from the real server.
    pub out_pkts: Counter,
    /// Bytes from the real server: IP total length.
    pub out_bytes: Counter,
    /// Connections in an active state.
    pub active: Gauge,
    /// All other connections.
    pub inactive: Gauge,
    /// Persistence templates.
    pub persistent: Gauge,
    /// 1 while the upper threshold counts as reached.
    pub overloaded: Gauge,
    /// FULLNAT: local ports taken in turn so far, modulo 2^32.
    pub next_port: Gauge,
}

const _: () = assert!(size_of::<DestStats>() == 64);

/// What only schedulers by traffic or response time read of a destination. Control writes the first
/// two, every estimator tick, and `forgotten`; the worker writes all others.
#[derive(Debug, Default)]
struct DestRates {
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

/// All that one worker counts.
#[derive(Debug)]
pub struct WorkerStats {
    /// Frames received.
    pub received: Counter,
    /// Packets forwarded.
    pub transmitted: Counter,
    /// Frames handed to host interfaces.
    pub host: Counter,
    /// Packets handed to control for want of a MAC.
    pub resolve: Counter,
    /// Frames that Linux sent through host interfaces.
    pub from_host: Counter,
    /// ICMP errors sent.
    pub icmp_sent: Counter,
    /// Frames whose TCP or UDP checksum their sender had left unfinished, and that were finished.
    pub unfinished: Counter,
    /// The ports that bring such frames again and again: bit n for port n. A port without any for a
    /// minute is taken out when the next burst comes.
    pub unfinished_ports: Gauge,
    /// ICMP errors not sent because of the rate limit.
    pub icmp_suppressed: Counter,
    /// Connections ended because a new one wanted their room in a full table, or their local port.
    pub displaced: Counter,
    /// Those among them that had led to something, and were silent.
    pub displaced_silent: Counter,
    /// TCP connections that were never established.
    pub half_open: Gauge,
    /// Connections made.
    pub created: Counter,
    /// Connections that timed out.
    pub expired: Counter,
    /// Connections that ended, for whatever reason: what was created and has not ended is in the
    /// table. Templates count too, here and there.
    pub ended: Counter,
    /// Connections in the table now, templates included.
    pub connections: Gauge,
    /// Polls that found no frame.
    pub idle_polls: Counter,
    /// All polls.
    pub polls: Counter,
    drops: [Counter; DropReason::COUNT],
    dests: Box<[DestStats]>,
    rates: Box<[DestRates]>,
    /// Estimator ticks; control counts them.
    rate_ticks: AtomicU32,
}

impl WorkerStats {
    /// Counters at zero for up to `max_dests` destinations.
    pub fn new(max_dests: usize) -> Self {
        Self {
            received: Counter::default(),
            transmitted: Counter::default(),
            host: Counter::default(),
            resolve: Counter::default(),
            from_host: Counter::default(),
            icmp_sent: Counter::default(),
            unfinished: Counter::default(),
            unfinished_ports: Gauge::default(),
            icmp_suppressed: Counter::default(),
            displaced: Counter::default(),
            displaced_silent: Counter::default(),
            half_open: Gauge::default(),
            created: Counter::default(),
            expired: Counter::default(),
            ended: Counter::default(),
            connections: Gauge::default(),
            idle_polls: Counter::default(),
            polls: Counter::default(),
            drops: [const { Counter(AtomicU64::new(0)) }; DropReason::COUNT],
            dests: (0..max_dests).map(|_| DestStats::default()).collect(),
            rates: (0..max_dests).map(|_| DestRates::default()).collect(),
            rate_ticks: AtomicU32::new(0),
        }
    }

    /// The counter of one drop reason.
    #[inline]
    pub fn drops(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }

    /// One destination's numbers; `None` for a slot beyond the limit.
    #[inline]
    pub fn dest(&self, dest: DestId) -> Option<&DestStats> {
        self.dests.get(dest.index())
    }

    /// Has a destination's line fetched.
    #[inline]
    pub fn prefetch(&self, dest: DestId) {
        prefetch(&self.dests, dest.index());
    }

    /// Frames dropped for any reason.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(Counter::get).sum()
    }
}

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
