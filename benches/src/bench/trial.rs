//! A trial: for some time packets come to the director at a constant rate, as in RFC 2544 §23.
//!
//! The worker polls without rest, as the daemon's worker does with `poll = "busy"`. A trial ends
//! when its last packet was sent; the next trial can begin at once.
//!
//! Packets come by the time-stamp counter, or by a clock that leaves out time that the director's
//! work cannot need ([`crate::bench::arrival`]). To check that this hides no time of the director,
//! the same clock also runs without a director: the machine takes time from both.

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

/// Cycles between packets that are more than any director can take.
const FLOOD: f64 = 1.0;

/// A director with standing connections, and all that a trial needs.
pub(super) struct Rig<'a> {
    director: &'a mut Director,
    clock: Clock,
    /// Cycles that do not count as director time.
    aside: u64,
    /// How many sides packets come from. Each sends the same number.
    ports: usize,
    tsc_hz: u64,
    patience: Patience,
}

/// How many packets a trial offered, and how many of them found a full queue.
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
        director.io().offer = Some(Offer::new()?);
        let ports = if args.method.method().is_translated() { 2 } else { 1 };
        Ok(Self { director, clock, aside: 0, ports, tsc_hz, patience: Patience::ENDLESS })
    }

    /// Measures the cost of a packet, including stamping and recording, when more packets are
    /// offered than the director takes. Later trials use that cost as the limit of their clock.
    pub(super) fn flood(&mut self, duration: Duration, flows: u32) -> Result<Measured, BenchError> {
        self.start(FLOOD, u64::MAX, Patience::ENDLESS);
        // The queues are full from the first poll on.
        while self.offer().is_some_and(|offer| offer.lost() == 0) {
            self.director.worker().poll(self.clock.at(tsc()));
        }
        let cycles = (duration.as_secs_f64() * self.tsc_hz as f64) as u64;
        let measured = established::measure(self.director, flows, &mut self.clock, cycles)?;
        self.patience = Patience::new(measured.whole.0);
        Ok(measured)
    }

    /// Offers `load` packets a second, all sides together, by the time-stamp counter.
    pub(super) fn run_raw(&mut self, load: f64, duration: Duration) -> Result<Outcome, BenchError> {
        self.run(load, duration, Patience::ENDLESS)
    }

    /// The same by the clock that leaves out the time of others.
    pub(super) fn run_undisturbed(&mut self, load: f64, duration: Duration) -> Result<Outcome, BenchError> {
        self.run(load, duration, self.patience)
    }

    /// Walks over memory without a director, for `duration`. What the clock leaves out then is the
    /// effect of the machine. The limit is the lowest one, that of a director without packets.
    pub(super) fn walk(&mut self, duration: Duration) -> Account {
        let mut walk = Walk::new(self.director.worker().flows().memory_bytes());
        let begun = tsc();
        let account = walk.run((duration.as_secs_f64() * self.tsc_hz as f64) as u64, self.patience.with(0));
        self.aside += tsc() - begun;
        account
    }

    /// The part `quantile` of the last trial's packets took at most this many nanoseconds.
    pub(super) fn latency(&mut self, quantile: f64) -> u64 {
        let cycles = self.offer().map_or(0, |offer| offer.latency(quantile));
        (cycles as f64 * 1e9 / self.tsc_hz as f64).round() as u64
    }

    fn run(&mut self, load: f64, duration: Duration, patience: Patience) -> Result<Outcome, BenchError> {
        let count = (load * duration.as_secs_f64() / self.ports as f64).max(1.0) as u64;
        self.start(self.tsc_hz as f64 / load, count, patience);
        while self.offer().is_some_and(|offer| !offer.is_over()) {
            self.director.worker().poll(self.clock.at(tsc() - self.aside));
        }
        established::nothing_lost(self.director, "in a trial")?;
        let (lost, account) =
            self.offer().map_or_else(Default::default, |offer| (offer.lost(), offer.account()));
        Ok(Outcome { offered: count * self.ports as u64, lost, account })
    }

    fn start(&mut self, period: f64, count: u64, patience: Patience) {
        // The first packet is due a little later, so that the start is not part of the trial.
        let (ports, begin) = (self.ports, self.tsc_hz / 10_000);
        if let Some(offer) = self.offer() {
            offer.set_clock(tsc(), patience);
            offer.start(ports, begin, period, count);
        }
    }

    fn offer(&mut self) -> Option<&mut Offer> {
        self.director.io().offer.as_mut()
    }
}
