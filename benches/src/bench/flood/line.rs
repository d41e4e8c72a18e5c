//! What arrives at one port of its own accord: a bounded receive queue as a NIC's.
//!
//! A packet has a kind and nothing else until the director takes it. What comes while the queue is
//! full is lost, as by a NIC that has no free descriptor, and costs nothing but its count.

use std::collections::VecDeque;

use sched::Random;
use sched::XorShift;

use crate::bench::flood::accounts::Accounts;
use crate::bench::flood::accounts::What;

/// Descriptors of a receive queue.
pub(in crate::bench) const DEPTH: usize = 1024;

/// How packets come: of each kind so many a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::bench) struct Rates([f64; What::ALL.len()]);

impl Rates {
    /// With `rate` packets of the kind `what` a cycle.
    #[must_use]
    pub(in crate::bench) fn with(mut self, what: What, rate: f64) -> Self {
        self.0[what as usize] = rate;
        self
    }

    fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// One port's arrivals.
#[derive(Debug)]
pub(in crate::bench) struct Line {
    queue: VecDeque<What>,
    rates: Rates,
    /// Ends of the kinds' shares in the numbers that are drawn.
    ends: [u64; What::ALL.len()],
    /// The part of the next packet that has arrived.
    begun: f64,
    /// Parts of lost packets not counted yet.
    parts: [f64; What::ALL.len()],
    /// Up to when packets have arrived, in cycles.
    until: u64,
    /// As many as can be taken come of this kind, in place of all others.
    endless: Option<What>,
}

impl Line {
    /// Silence.
    pub(in crate::bench) fn new() -> Self {
        Self {
            queue: VecDeque::with_capacity(DEPTH),
            rates: Rates::default(),
            ends: [0; What::ALL.len()],
            begun: 0.0,
            parts: [0.0; What::ALL.len()],
            until: 0,
            endless: None,
        }
    }

    /// From now on packets come at these rates.
    pub(in crate::bench) fn set_rates(&mut self, rates: Rates) {
        let (total, mut sum) = (rates.total(), 0.0);
        for (end, rate) in self.ends.iter_mut().zip(rates.0) {
            sum += rate;
            *end = if total > 0.0 { (sum / total * u64::MAX as f64) as u64 } else { 0 };
        }
        (self.rates, self.endless) = (rates, None);
    }

    /// From now on the queue is always full of this.
    pub(in crate::bench) fn set_endless(&mut self, what: What) {
        self.endless = Some(what);
    }

    /// Packets that wait.
    pub(in crate::bench) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes the packet that waits longest.
    pub(in crate::bench) fn pop(&mut self, accounts: &mut Accounts) -> Option<What> {
        let what = self.queue.pop_front()?;
        accounts.taken[what] += 1;
        Some(what)
    }

    /// Lets one packet arrive.
    pub(in crate::bench) fn put(&mut self, what: What, accounts: &mut Accounts) {
        accounts.offered[what] += 1;
        if self.queue.len() < DEPTH {
            self.queue.push_back(what);
        } else {
            accounts.lost[what] += 1;
        }
    }

    /// Lets no packet arrive until `now`.
    pub(in crate::bench) fn skip(&mut self, now: u64) {
        self.until = now;
    }

    /// Lets arrive what came until `now`, and `answers` of newcomers somewhere among it; how many
    /// of these were not lost.
    #[inline]
    pub(in crate::bench) fn arrive(
        &mut self,
        now: u64,
        answers: u64,
        random: &mut XorShift,
        accounts: &mut Accounts,
    ) -> u64 {
        let room = DEPTH - self.queue.len();
        let cycles = now - core::mem::replace(&mut self.until, now);
        if let Some(what) = self.endless {
            accounts.offered[what] += room as u64;
            self.queue.extend(core::iter::repeat_n(what, room));
            return 0;
        }
        self.begun += cycles as f64 * self.rates.total();
        let count = self.begun as u64;
        self.begun -= count as f64;
        let mut room = room as u64;
        let fits = count.min(room);
        let mut answered = 0;
        for _ in 0..answers {
            accounts.offered[What::Ack] += 1;
            // Its place among the others decides whether there was room.
            if room > 0 && (count == 0 || random.below_inclusive(count - 1) < fits) {
                self.queue.push_back(What::Ack);
                (room, answered) = (room - 1, answered + 1);
            } else {
                accounts.lost[What::Ack] += 1;
            }
        }
        let fit = count.min(room);
        for _ in 0..fit {
            let drawn = random.below_inclusive(u64::MAX);
            let nth = self.ends.iter().position(|end| drawn <= *end).unwrap_or_default();
            let what = What::ALL[nth];
            accounts.offered[what] += 1;
            self.queue.push_back(what);
        }
        if fit < count {
            self.lose(count - fit, accounts);
        }
        answered
    }

    /// Counts packets as lost, to each kind its share.
    fn lose(&mut self, count: u64, accounts: &mut Accounts) {
        let each = count as f64 / self.rates.total();
        for (what, (rate, part)) in What::ALL.into_iter().zip(self.rates.0.iter().zip(&mut self.parts)) {
            *part += each * rate;
            let whole = *part as u64;
            *part -= whole as f64;
            accounts.offered[what] += whole;
            accounts.lost[what] += whole;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        Rates::default().with(What::Request, 0.1).with(What::Syn, 0.9)
    }

    #[test]
    fn what_finds_the_queue_full_is_lost_in_the_proportion_of_the_rates() {
        let (mut line, mut accounts, mut random) = (Line::new(), Accounts::default(), XorShift::new(7));
        line.set_rates(rates());
        for now in 1..=1000 {
            line.arrive(now * 64, 1, &mut random, &mut accounts);
            for _ in 0..32 {
                line.pop(&mut accounts);
            }
        }
        assert_eq!(accounts.taken.total(), 32_000);
        let answers = accounts.offered[What::Ack];
        let offered = accounts.offered.total() - answers;
        assert!((63_990..=64_000).contains(&offered), "{offered}");
        for what in What::ALL {
            let waiting = line.queue.iter().filter(|kind| **kind == what).count() as u64;
            assert_eq!(accounts.offered[what], accounts.lost[what] + waiting + accounts.taken[what]);
        }
        let (lost, of) = (accounts.lost[What::Request], accounts.offered[What::Request]);
        assert!((0.45..0.55).contains(&(lost as f64 / of as f64)), "{lost} of {of}");
        assert!((6000..6800).contains(&of), "{of}");
        let lost = accounts.lost[What::Ack];
        assert!(answers == 1000 && (430..560).contains(&lost), "{lost} of {answers} answers");
    }

    #[test]
    fn what_is_taken_in_time_is_never_lost() {
        let (mut line, mut accounts, mut random) = (Line::new(), Accounts::default(), XorShift::new(7));
        line.set_rates(rates());
        for now in 1..=1000 {
            line.arrive(now * 31, 0, &mut random, &mut accounts);
            while line.pop(&mut accounts).is_some() {}
        }
        assert_eq!((accounts.lost.total(), accounts.taken), (0, accounts.offered));
    }

    #[test]
    fn a_skipped_time_brings_nothing() {
        let (mut line, mut accounts, mut random) = (Line::new(), Accounts::default(), XorShift::new(7));
        line.set_rates(rates());
        line.skip(1_000_000);
        line.arrive(1_000_000, 0, &mut random, &mut accounts);
        assert_eq!((line.len(), accounts.offered.total()), (0, 0));
    }
}
