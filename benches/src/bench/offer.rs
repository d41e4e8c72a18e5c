//! Packets offered at a constant rate: when each is due, and where it waits until the director
//! takes it.
//!
//! A [`Queue`] stands for a NIC's receive ring. Packets come due by a clock ([`ArrivalClock`]),
//! whatever the director is doing; they wait in a ring of [`RING`], in order, and those that find
//! it full are lost, as on a NIC. The generator runs on the director's own core: a queue is brought
//! up to date when the director asks it for packets, and is then what it would be had a device
//! filled it meanwhile. A packet's stamp is when it was due, so the time it waited counts, and no
//! packet is left out because the director was late. Time is a parameter here.

use hdrhistogram::CreationError;
use hdrhistogram::Histogram;

use crate::bench::arrival::Account;
use crate::bench::arrival::ArrivalClock;
use crate::bench::arrival::Patience;

/// Packets that may wait at a port: what a NIC's ring commonly holds.
pub(super) const RING: usize = 1024;
/// Binary digits of a cycle that times of arrival are reckoned in.
const FRACTION: u32 = 20;
/// Precision of percentiles, in decimal digits: few, so that the counters stay in the cache.
const DIGITS: u8 = 2;
/// Latencies that can be told apart: up to some minutes.
const LONGEST: u64 = 1 << 40;

/// What waits at one port.
#[derive(Debug)]
pub(super) struct Queue {
    /// When each waiting packet was due, in cycles.
    stamps: Box<[u64; RING]>,
    head: usize,
    waiting: usize,
    /// When the first packet is due, in cycles.
    start: u64,
    /// Since then, in 2^-[`FRACTION`] cycles: when the next is due, and from one packet to the
    /// next.
    next: u64,
    period: u64,
    /// Packets still to come due.
    left: u64,
    lost: u64,
}

impl Queue {
    /// `count` packets, `period` cycles apart, the first at `start`.
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

    /// How many packets wait at `now`, which never goes back.
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

    /// Takes the packet that has waited longest: when it was due.
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

    /// Loses all packets that came due until `now`, in one step however many they are.
    fn overflow(&mut self, now: u64) {
        let count = ((now - self.next) / self.period + 1).min(self.left);
        self.lost += count;
        self.left -= count;
        self.next += count * self.period;
    }
}

/// What is offered to a director, and how long it took to carry it.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) queues: Vec<Queue>,
    /// Cycles from when a packet was due to when it was sent.
    latencies: Histogram<u64>,
    /// By which packets come due and are sent.
    clock: ArrivalClock,
    patience: Patience,
}

impl Offer {
    /// Nothing offered yet.
    pub(super) fn new() -> Result<Self, CreationError> {
        // Of a fixed size: recording must not allocate.
        let latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS)?;
        let (clock, patience) = (ArrivalClock::new(0), Patience::ENDLESS);
        Ok(Self { queues: Vec::new(), latencies, clock, patience })
    }

    /// Has the clock begin at `tsc`.
    pub(super) fn set_clock(&mut self, tsc: u64, patience: Patience) {
        (self.clock, self.patience) = (ArrivalClock::new(tsc), patience);
    }

    /// The time at `tsc`, when the director has `held` packets in its hands.
    #[inline]
    pub(super) fn read_clock(&mut self, tsc: u64, held: u64) -> u64 {
        self.clock.read(tsc, self.patience.with(held))
    }

    /// What the clock left out.
    pub(super) fn account(&self) -> Account {
        self.clock.account()
    }

    /// Offers `count` packets to each of `ports` ports, `period` cycles apart in all, from `start`
    /// on.
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

    /// A packet was sent so many cycles after it was due.
    #[inline]
    pub(super) fn sent(&mut self, cycles: u64) {
        self.latencies.saturating_record(cycles);
    }

    /// Packets that found their queue full.
    pub(super) fn lost(&self) -> u64 {
        self.queues.iter().map(|queue| queue.lost).sum()
    }

    /// Cycles that this part of all packets took at most.
    pub(super) fn latency(&self, quantile: f64) -> u64 {
        self.latencies.value_at_quantile(quantile)
    }
}

#[cfg(test)]
mod tests {
    use dataplane::BURST;

    use super::*;

    #[test]
    fn packets_come_when_they_are_due_and_are_stamped_with_that() {
        let mut queue = Queue::new(1000, 2.5, 4);
        assert_eq!(queue.arrive(999), 0);
        assert_eq!(queue.arrive(1000), 1);
        assert_eq!(queue.arrive(1006), 3);
        assert_eq!(queue.arrive(5000), 4);
        let stamps: Vec<_> = core::iter::from_fn(|| queue.take()).collect();
        assert_eq!(stamps, [1000, 1002, 1005, 1007]);
    }

    #[test]
    fn who_finds_the_queue_full_is_lost_and_who_waits_keeps_his_place() {
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
    fn how_often_a_queue_is_asked_changes_nothing_while_it_has_room() {
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
    fn while_the_cpu_is_away_hardly_any_packet_comes_and_none_ages() {
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
