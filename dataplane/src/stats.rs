//! Counters. One worker writes them, and everybody may read them.
//!
//! A [`Counter`] has one writer, so adding is a load and a store, not a locked read-modify-write. A
//! reader may see a value that is a moment old, but never half of a value. Each worker has its own
//! [`WorkerStats`]; control adds them up.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use std::boxed::Box;

use sched::DestId;

use crate::conn::table::prefetch;
use crate::verdict::DropReason;

use self::rates::DestRates;

mod rates;

/// A count that one thread writes.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the worker that owns the counter may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Subtracts `n` that was added for something that did not happen.
    pub fn take_back(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down. One thread writes it.
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

    /// Sets the number.
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

/// One destination's numbers on one worker, in one cache line.
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
    /// 1 while the destination counts as overloaded: its upper threshold was reached.
    pub overloaded: Gauge,
    /// FULLNAT: how many local ports were taken in turn so far, modulo 2^32.
    pub next_port: Gauge,
}

const _: () = assert!(size_of::<DestStats>() == 64);

/// All that one worker counts.
#[derive(Debug)]
pub struct WorkerStats {
    /// Frames received.
    pub received: Counter,
    /// Packets forwarded.
    pub transmitted: Counter,
    /// Frames handed to host interfaces.
    pub host: Counter,
    /// Packets handed to the host pump because the MAC of their next hop is not known.
    pub resolve: Counter,
    /// Frames that Linux sent through host interfaces.
    pub from_host: Counter,
    /// ICMP errors sent.
    pub icmp_sent: Counter,
    /// Frames whose TCP or UDP checksum the sender had left unfinished and the worker finished.
    pub unfinished: Counter,
    /// The ports that bring such frames again and again: bit n stands for port n. If a port brings
    /// none for a minute, its next burst clears the bit.
    pub unfinished_ports: Gauge,
    /// ICMP errors not sent because of the rate limit.
    pub icmp_suppressed: Counter,
    /// Connections that ended because a new one took their slot in a full table, or their local
    /// port.
    pub displaced: Counter,
    /// How many of these had led to something and were silent.
    pub displaced_silent: Counter,
    /// TCP connections that were never established.
    pub half_open: Gauge,
    /// Connections made.
    pub created: Counter,
    /// Connections that timed out.
    pub expired: Counter,
    /// Connections that ended, for any reason. Every connection that was created and has not ended
    /// is in the table. Templates count in both numbers.
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
    /// How many estimator ticks there were. Control writes it.
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

    /// One destination's numbers. `None` if its slot is beyond `max_dests`.
    #[inline]
    pub fn dest(&self, dest: DestId) -> Option<&DestStats> {
        self.dests.get(dest.index())
    }

    /// Has the cache line of a destination's numbers fetched.
    #[inline]
    pub fn prefetch(&self, dest: DestId) {
        prefetch(&self.dests, dest.index());
    }

    /// Frames dropped, for all reasons together.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(Counter::get).sum()
    }
}
