//! Packets offered at a constant rate: the time each is due, and the queue where it waits for the
//! director.
//!
//! A [`Queue`] stands for a NIC's receive ring. Packets come due by a clock ([`ArrivalClock`]),
//! whatever the director is doing. They wait in order in a ring of [`RING`]. As on a NIC, packets
//! that find the ring full are lost.
//!
//! The generator runs on the director's own core. When the director asks a queue for packets, the
//! queue is brought up to date: it then holds the same packets as if a device had filled it
//! meanwhile. A packet's stamp is the time it was due. So its waiting time counts, and no packet is
//! left out because the director was late. Time is a parameter here.

use hdrhistogram::CreationError;
use hdrhistogram::Histogram;

use crate::bench::arrival::Account;
use crate::bench::arrival::ArrivalClock;
use crate::bench::arrival::Patience;

/// Packets that may wait at a port: the usual size of a NIC's ring.
pub(super) const RING: usize = 1024;
/// Times of arrival are in units of 2^-[`FRACTION`] cycles.
const FRACTION: u32 = 20;
/// Precision of percentiles, in decimal digits. It is low, so that the counters stay in the cache.
const DIGITS: u8 = 2;
/// The longest latency that is recorded exactly, in cycles: some minutes.
const LONGEST: u64 = 1 << 40;

/// The packets that wait at one port.
#[derive(Debug)]
pub(super) struct Queue {
    /// When each waiting packet was due, in cycles.
    stamps: Box<[u64; RING]>,
    head: usize,
    waiting: usize,
    /// When the first packet is due, in cycles.
    start: u64,
    /// In 2^-[`FRACTION`] cycles: when the next packet is due, counted from `start`, and the time
    /// from one packet to the next.
    next: u64,
    period: u64,
    /// Packets that are not due yet.
    left: u64,
    lost: u64,
}

impl Queue {
    /// A queue for `count` packets, `period` cycles apart; the first is due at `start`.
    pub(super) fn new(start: u64, period: f64, count: u64) -> Self {
        Self {
            stamps: Box::new([0; RING]),
            head: 0,
            waiting: 0,
            start,
            next: 0,
            period: ((period * f64::from(1 << FRACTION)) as u64).max(1),
            left: count,
            lost: 0,
        }
    }

    /// How many packets wait at `now`. `now` must never go back.
    #[inline]
    pub(super) fn arrive(&mut self, now: u64) -> usize {
        let Some(since) = now.checked_sub(self.start) else { return self.waiting };
        let now = since << FRACTION;
        while self.next <= now && self.left != 0 {
            if self.waiting == RING {
                self.overflow(now);
                break;
            }
            self.stamps[(self.head + self.waiting) % RING] = self.start + (self.next >> FRACTION);
            self.waiting += 1;
            self.left -= 1;
            self.next += self.period;
        }
        self.waiting
    }

    /// Takes the packet that has waited longest. Returns when it was due.
    #[inline]
    pub(super) fn take(&mut self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let stamp = self.stamps[self.head];
        self.head = (self.head + 1) % RING;
        self.waiting -= 1;
        Some(stamp)
    }

    /// Counts all packets that came due until `now` as lost, in one step.
    fn overflow(&mut self, now: u64) {
        let count = ((now - self.next) / self.period + 1).min(self.left);
        self.lost += count;
        self.left -= count;
        self.next += count * self.period;
    }
}

/// The packets offered to a director, and how long it took to carry them.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) queues: Vec<Queue>,
    /// Cycles from when a packet was due to when it was sent.
    latencies: Histogram<u64>,
    /// The clock by which packets come due and are sent.
    clock: ArrivalClock,
    patience: Patience,
}

impl Offer {
    /// An offer without packets.
    pub(super) fn new() -> Result<Self, CreationError> {
        // It has a fixed size: recording must not allocate.
        let latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS)?;
        let (clock, patience) = (ArrivalClock::new(0), Patience::ENDLESS);
        Ok(Self { queues: Vec::new(), latencies, clock, patience })
    }

    /// Starts the clock at `tsc`.
    pub(super) fn set_clock(&mut self, tsc: u64, patience: Patience) {
        (self.clock, self.patience) = (ArrivalClock::new(tsc), patience);
    }

    /// The time at `tsc`, if the director holds `held` packets.
    #[inline]
    pub(super) fn read_clock(&mut self, tsc: u64, held: u64) -> u64 {
        self.clock.read(tsc, self.patience.with(held))
    }

    /// What the clock left out.
    pub(super) fn account(&self) -> Account {
        self.clock.account()
    }

    /// Offers `count` packets to each of `ports` ports from `start` on. Over all ports together
    /// they are `period` cycles apart.
    pub(super) fn start(&mut self, ports: usize, start: u64, period: f64, count: u64) {
        let queue =
            |nth: usize| Queue::new(start + (period * nth as f64) as u64, period * ports as f64, count);
        self.queues = (0..ports).map(queue).collect();
        self.latencies.reset();
    }

    /// Whether all packets have come due and none waits.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.queues.iter().all(|queue| queue.left == 0 && queue.waiting == 0)
    }

    /// Records that a packet was sent `cycles` after it was due.
    #[inline]
    pub(super) fn sent(&mut self, cycles: u64) {
        self.latencies.saturating_record(cycles);
    }

    /// Packets that found their queue full.
    pub(super) fn lost(&self) -> u64 {
        self.queues.iter().map(|queue| queue.lost).sum()
    }

    /// The part `quantile` of all packets took at most this many cycles.
    pub(super) fn latency(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }
}

#[cfg(test)]
mod tests {
    use dataplane::BURST;

    use super::*;

    #[test]
    fn packets_come_when_they_are_due_and_carry_that_time() {
        let mut queue = Queue::new(1000, 2.5, 4);
        assert_eq!(queue.arrive(999), 0);
        assert_eq!(queue.arrive(1000), 1);
        assert_eq!(queue.arrive(1006), 3);
        assert_eq!(queue.arrive(5000), 4);
        let stamps: Vec<_> = core::iter::from_fn(|| queue.take()).collect();
        assert_eq!(stamps, [1000, 1002, 1005, 1007]);
    }

    #[test]
    fn a_packet_that_finds_the_queue_full_is_lost_and_waiting_ones_keep_their_order() {
        let mut queue = Queue::new(0, 10.0, 5000);
        assert_eq!(queue.arrive(2_000 * 10), RING);
        assert_eq!(queue.lost, 2001 - RING as u64);
        assert_eq!((queue.take(), queue.take()), (Some(0), Some(10)));
        assert_eq!(queue.arrive(2_001 * 10), RING - 1);
        assert_eq!(queue.arrive(1_000_000), RING);
        let stamps: Vec<_> = core::iter::from_fn(|| queue.take()).collect();
        assert_eq!((stamps[RING - 3], stamps[RING - 2]), ((RING as u64 - 1) * 10, 2001 * 10));
        assert_eq!((queue.lost, queue.left), (5000 - RING as u64 - 2, 0));
    }

    #[test]
    fn the_number_of_calls_does_not_matter_while_the_queue_has_room() {
        let (mut often, mut once) = (Queue::new(7, 3.7, 900), Queue::new(7, 3.7, 900));
        (0..4000).for_each(|now| _ = often.arrive(now));
        once.arrive(4000);
        assert!(core::iter::from_fn(|| often.take()).eq(core::iter::from_fn(|| once.take())));
    }

    #[test]
    fn every_packet_offered_is_taken_or_lost() {
        let mut offer = Offer::new().unwrap();
        offer.start(2, 100, 0.75, 10_000);
        let (mut now, mut taken) = (100, 0);
        while !offer.is_over() {
            now += 31;
            for queue in &mut offer.queues {
                queue.arrive(now);
                taken += (0..16).filter_map(|_| queue.take()).count() as u64;
            }
        }
        assert!(offer.lost() > 0);
        assert_eq!(taken + offer.lost(), 20_000);
    }

    #[test]
    fn while_others_have_the_cpu_hardly_any_packet_comes_and_none_ages() {
        for (patience, now, waiting) in
            [(Patience::new(10.0), 250 + 10 * (BURST as u64 + 1), 5), (Patience::ENDLESS, 100_250, 1002)]
        {
            let mut offer = Offer::new().unwrap();
            offer.set_clock(5000, patience);
            offer.start(1, 0, 100.0, 2000);
            let first = offer.read_clock(5250, 0);
            assert_eq!((first, offer.queues[0].arrive(first)), (250, 3));
            assert_eq!(offer.queues[0].take(), Some(0));
            // With one packet in hand.
            assert_eq!(offer.read_clock(105_250, 1), now);
            assert_eq!(offer.queues[0].arrive(now), waiting);
            assert_eq!(offer.account().cycles, 100_250);
        }
    }

    #[test]
    fn recording_never_grows_the_histogram() {
        let mut offer = Offer::new().unwrap();
        let size = offer.latencies.distinct_values();
        offer.sent(1000);
        offer.sent(u64::MAX);
        assert!(!offer.latencies.is_auto_resize());
        assert_eq!((offer.latencies.distinct_values(), offer.latencies.len()), (size, 2));
        assert!((990..=1010).contains(&offer.latency(0.5)));
    }
}
