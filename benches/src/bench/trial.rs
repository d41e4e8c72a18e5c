//! A trial: packets come to the director at a constant rate for a while, as in RFC 2544 §23.
//!
//! The worker polls without rest, as the daemon's does with `poll = "busy"`, and takes what there
//! is. A trial ends when its last packet was sent; there is nothing to settle or to wait for before
//! the next.
//!
//! Packets come by the time-stamp counter, or by a clock that leaves out what the director should
//! not have spent ([`crate::bench::arrival`]). Whether that hides anything of the director's is
//! seen by reading the same clock without a director: what the machine takes, it takes from both.

use core::time::Duration;

use dpdk::tsc;

use crate::bench::args::BenchArgs;
use crate::bench::arrival::Account;
use crate::bench::arrival::Patience;
use crate::bench::error::BenchError;
use crate::bench::established;
use crate::bench::meter::Clock;
use crate::bench::offer::Offer;
use crate::bench::report::Measured;
use crate::bench::rules::Director;
use crate::bench::walk::Walk;

/// Cycles between packets when more are to come than any director takes.
const FLOOD: f64 = 1.0;

/// A director with standing connections, and what is needed to try it.
pub(super) struct Rig<'a> {
    director: &'a mut Director,
    clock: Clock,
    /// Cycles that were no director time.
    aside: u64,
    /// Sides from which packets come, equally many from each.
    ports: usize,
    tsc_hz: u64,
    patience: Patience,
}

/// What a trial offered, and how many packets of it found a full queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) offered: u64,
    pub(super) lost: u64,
    /// What the clock left out.
    pub(super) account: Account,
}

impl<'a> Rig<'a> {
    /// Sets up all connections.
    pub(super) fn new(director: &'a mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Self, BenchError> {
        let clock = established::prepare(director, args, tsc_hz)?;
        director.worker.io_mut().offer = Some(Offer::new()?);
        let ports = if args.method.method().is_translated() { 2 } else { 1 };
        Ok(Self { director, clock, aside: 0, ports, tsc_hz, patience: Patience::ENDLESS })
    }

    /// What a packet costs when more are offered than the director takes, stamping and recording
    /// included. From then on it is known what cannot have been the director's doing.
    pub(super) fn flood(&mut self, duration: Duration, flows: u32) -> Result<Measured, BenchError> {
        self.start(FLOOD, u64::MAX, Patience::ENDLESS);
        // The queues are full from the first poll on.
        while self.offer().is_some_and(|offer| offer.lost() == 0) {
            self.director.worker.poll(self.clock.at(tsc()));
        }
        let cycles = (duration.as_secs_f64() * self.tsc_hz as f64) as u64;
        let measured = established::measure(self.director, flows, &mut self.clock, cycles)?;
        self.patience = Patience::new(measured.whole.0);
        Ok(measured)
    }

    /// Offers `load` packets a second, of all sides together, by the time-stamp counter.
    pub(super) fn run_raw(&mut self, load: f64, duration: Duration) -> Result<Outcome, BenchError> {
        self.run(load, duration, Patience::ENDLESS)
    }

    /// The same without what others took.
    pub(super) fn run_undisturbed(&mut self, load: f64, duration: Duration) -> Result<Outcome, BenchError> {
        self.run(load, duration, self.patience)
    }

    /// Has no director but a walk over memory, for so long: what the clock leaves out then is the
    /// machine's doing. Its limit is that of a director with no packets in hand, the lowest.
    pub(super) fn walk(&mut self, duration: Duration) -> Account {
        let mut walk = Walk::new(self.director.worker.flows().memory_bytes());
        let begun = tsc();
        let account = walk.run((duration.as_secs_f64() * self.tsc_hz as f64) as u64, self.patience.with(0));
        self.aside += tsc() - begun;
        account
    }

    /// In nanoseconds, what this part of the last trial's packets took at most.
    pub(super) fn latency(&mut self, quantile: f64) -> u64 {
        let cycles = self.offer().map_or(0, |offer| offer.latency(quantile));
        (cycles as f64 * 1e9 / self.tsc_hz as f64).round() as u64
    }

    fn run(&mut self, load: f64, duration: Duration, patience: Patience) -> Result<Outcome, BenchError> {
        let count = (load * duration.as_secs_f64() / self.ports as f64).max(1.0) as u64;
        self.start(self.tsc_hz as f64 / load, count, patience);
        while self.offer().is_some_and(|offer| !offer.is_over()) {
            self.director.worker.poll(self.clock.at(tsc() - self.aside));
        }
        established::nothing_lost(self.director, "in a trial")?;
        let (lost, account) =
            self.offer().map_or_else(Default::default, |offer| (offer.lost(), offer.account()));
        Ok(Outcome { offered: count * self.ports as u64, lost, account })
    }

    fn start(&mut self, period: f64, count: u64, patience: Patience) {
        // A little later, so that starting is not part of it.
        let (ports, begin) = (self.ports, self.tsc_hz / 10_000);
        if let Some(offer) = self.offer() {
            offer.set_clock(tsc(), patience);
            offer.start(ports, begin, period, count);
        }
    }

    fn offer(&mut self) -> Option<&mut Offer> {
        self.director.worker.io_mut().offer.as_mut()
    }
}
