//! A trial: packets come to the director at a constant rate for a while, as in RFC 2544 §23.
//!
//! The worker polls without rest, as the daemon's does with `poll = "busy"`, and takes what there is. A
//! trial ends when its last packet was sent; there is nothing to settle or to wait for before the next.

use core::time::Duration;

use dpdk::tsc;

use crate::bench::args::BenchArgs;
use crate::bench::error::BenchError;
use crate::bench::established;
use crate::bench::meter::Clock;
use crate::bench::offer::Offer;
use crate::bench::report::Measured;
use crate::bench::rules::Director;

/// Cycles between packets when more are to come than any director takes.
const FLOOD: f64 = 1.0;

/// A director with standing connections, and what is needed to try it.
pub(super) struct Rig<'a> {
    director: &'a mut Director,
    clock: Clock,
    /// Sides from which packets come, equally many from each.
    ports: usize,
    tsc_hz: u64,
}

/// What a trial offered, and how many packets of it found a full queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) offered: u64,
    pub(super) lost: u64,
}

impl<'a> Rig<'a> {
    /// Sets up all connections.
    pub(super) fn new(director: &'a mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Self, BenchError> {
        let clock = established::prepare(director, args, tsc_hz)?;
        director.worker.io_mut().offer = Some(Offer::new()?);
        let ports = if args.method.method().is_translated() { 2 } else { 1 };
        Ok(Self { director, clock, ports, tsc_hz })
    }

    /// What a packet costs when more are offered than the director takes, stamping and recording included.
    pub(super) fn flood(&mut self, duration: Duration, flows: u32) -> Result<Measured, BenchError> {
        self.start(FLOOD, u64::MAX);
        // The queues are full from the first poll on.
        while self.offer().is_some_and(|offer| offer.lost() == 0) {
            self.director.worker.poll(self.clock.at(tsc()));
        }
        let cycles = (duration.as_secs_f64() * self.tsc_hz as f64) as u64;
        established::measure(self.director, flows, &mut self.clock, cycles)
    }

    /// Offers `load` packets a second, of all sides together.
    pub(super) fn run(&mut self, load: f64, duration: Duration) -> Result<Outcome, BenchError> {
        let count = (load * duration.as_secs_f64() / self.ports as f64).max(1.0) as u64;
        self.start(self.tsc_hz as f64 / load, count);
        let Self { director, clock, .. } = self;
        while director.worker.io_mut().offer.as_ref().is_some_and(|offer| !offer.is_over()) {
            director.worker.poll(clock.at(tsc()));
        }
        established::nothing_lost(director, "in a trial")?;
        let lost = self.offer().map_or(0, |offer| offer.lost());
        Ok(Outcome { offered: count * self.ports as u64, lost })
    }

    /// In nanoseconds, what this part of the last trial's packets took at most.
    pub(super) fn latency(&mut self, quantile: f64) -> u64 {
        let cycles = self.offer().map_or(0, |offer| offer.latency(quantile));
        (cycles as f64 * 1e9 / self.tsc_hz as f64).round() as u64
    }

    fn start(&mut self, period: f64, count: u64) {
        let ports = self.ports;
        // A little later, so that starting is not part of it.
        let begin = tsc() + self.tsc_hz / 10_000;
        if let Some(offer) = self.offer() {
            offer.start(ports, begin, period, count);
        }
    }

    fn offer(&mut self) -> Option<&mut Offer> {
        self.director.worker.io_mut().offer.as_mut()
    }
}
