//! A whole director in one thread.
//!
//! What happens depends only on what the caller does: rules, frames, and how much time passes. The
//! rules may be held by [`crate::snapshot::rules::Rules`], or by whoever has those inside, as
//! control has.

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use crate::io::Frame;
use crate::io::HostRequest;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::mem::MemFrame;
use crate::mem::MemIo;
use crate::mem::Nic;
use crate::secret::Secrets;
use crate::snapshot::rules::WorkerEnd;
use crate::stats::WorkerStats;
use crate::time::Ticks;
use crate::worker::Worker;
use crate::worker::flows::Flows;
use crate::worker::report;
use crate::worker::report::ConnView;
use crate::worker::report::PAGE;
use crate::worker::report::Page;
use crate::worker::report::Report;
use crate::worker::report::ReportReader;

/// When a director's time begins. It is not the counter's zero, which means "never" in places.
pub const START: Ticks = Ticks::from_secs(1000);
/// Ticks between two looks at what is due while time passes. Linux rounds timers more than that.
const STEP: u32 = 10;

/// How much there is room for, and what stands for the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Connections of each worker.
    pub connections: u32,
    /// Destinations.
    pub destinations: u32,
    /// The first worker's secrets come of this number, the next one's of the number after it.
    pub seed: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { connections: 4096, destinations: 256, seed: 1 }
    }
}

/// A director over `Io`, whose rules `R` holds.
pub struct MemDirector<R, Io: PacketIo = MemIo> {
    /// Who holds the rules.
    pub rules: R,
    /// At least one. Worker n takes frames from receive queue n of each port.
    pub workers: Vec<Worker<Io>>,
    /// By worker; empty without [`Self::with_listings`].
    pub listings: Vec<ReportReader>,
    /// By port, for workers over [`MemIo`].
    nics: Vec<Nic>,
    now: Ticks,
}

impl<R, Io: PacketIo> MemDirector<R, Io> {
    /// A director with a worker for each of `ends`; `ios` gives each its I/O.
    pub fn over(rules: R, ends: Vec<WorkerEnd>, size: Size, ios: impl IntoIterator<Item = Io>) -> Self {
        let work = |(end, io): (WorkerEnd, Io)| {
            let stats = Arc::new(WorkerStats::new(size.destinations as usize));
            let secrets = Secrets::repeatable(size.seed.wrapping_add(end.token.index() as u64));
            let flows = Flows::new(size.connections, secrets, stats, end.token, START);
            Worker::new(io, end.rules, flows)
        };
        let workers = ends.into_iter().zip(ios).map(work).collect();
        Self { rules, workers, listings: Vec::new(), nics: Vec::new(), now: START }
    }

    /// Lets control ask the workers for their connections.
    #[must_use]
    pub fn with_listings(mut self) -> Self {
        let listed = |worker: Worker<Io>| {
            let (reporter, listing) = report::channel();
            (worker.with_reporter(reporter), listing)
        };
        (self.workers, self.listings) = self.workers.into_iter().map(listed).unzip();
        self
    }

    /// Moves the clock; nobody polls.
    pub fn pass(&mut self, ticks: u32) {
        self.now = self.now.plus(ticks);
    }

    /// Lets time pass. The workers poll until nothing is due, ten times a second and at the end.
    pub fn wait(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let step = left.min(STEP - self.now.raw() % STEP);
            left -= step;
            self.pass(step);
            self.settle();
        }
    }

    /// Each worker polls once; what they did, as [`Worker::poll`] tells it.
    pub fn poll(&mut self) -> usize {
        let now = self.now;
        self.workers.iter_mut().map(|worker| worker.poll(now)).sum()
    }

    /// The workers poll until none has anything to do.
    pub fn settle(&mut self) {
        while self.poll() != 0 {}
    }

    /// Every connection and template, by worker. Nothing without [`Self::with_listings`].
    pub fn connections(&mut self) -> Vec<ConnView> {
        let (now, mut all) = (self.now, Vec::new());
        for (worker, listing) in self.workers.iter_mut().zip(&mut self.listings) {
            let mut next = Some(0);
            while let Some(from) = next.take() {
                if listing.ask.push(Page { from, slots: PAGE }).is_err() {
                    break;
                }
                let mut over = false;
                while !over {
                    worker.poll(now);
                    while let Ok(answer) = listing.answers.pop() {
                        match answer {
                            Report::Conn(view) => all.push(view),
                            Report::End(from) => (next, over) = (from, true),
                        }
                    }
                }
            }
        }
        all
    }

    /// The first worker: the only one of a director for which nothing else was asked.
    pub fn worker(&mut self) -> &mut Worker<Io> {
        &mut self.workers[0]
    }

    /// The first worker's I/O.
    pub fn io(&mut self) -> &mut Io {
        self.worker().io_mut()
    }

    /// What the first worker counts.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        self.workers[0].stats()
    }

    /// The time.
    pub fn now(&self) -> Ticks {
        self.now
    }

    /// Checks that each worker has counted every frame once where it came and once where it went,
    /// and that each connection made is there or has ended. It is so between polls.
    pub fn check_accounts(&self) -> Result<(), Unaccounted> {
        for (worker, stats) in self.workers.iter().map(Worker::stats).enumerate() {
            let check = |what, came, went| {
                if came == went { Ok(()) } else { Err(Unaccounted { worker, what, came, went }) }
            };
            let came = stats.received.get() + stats.from_host.get() + stats.icmp_sent.get();
            let went = stats.transmitted.get() + stats.host.get() + stats.resolve.get() + stats.dropped();
            check("frames", came, went)?;
            let held = u64::from(stats.connections.get());
            check("connections", stats.created.get(), stats.ended.get() + held)?;
            // Those that ended otherwise were cut short; nobody counts them.
            let (ended, known) = (stats.ended.get(), stats.expired.get() + stats.displaced.get());
            check("ended connections", ended.max(known), ended)?;
        }
        Ok(())
    }
}

impl<R> MemDirector<R> {
    /// A director behind network cards, one a port.
    pub fn behind(rules: R, ends: Vec<WorkerEnd>, size: Size, nics: Vec<Nic>) -> Self {
        let ports = nics.len() as u16;
        let ios = core::iter::repeat_with(|| MemIo::new(ports));
        Self { nics, ..Self::over(rules, ends, size, ios) }
    }

    /// Lets a frame arrive at `port`. It waits in the receive queue that the card chooses.
    pub fn inject(&mut self, port: PortId, frame: &[u8]) {
        let nic = &self.nics[port.index()];
        let worker = &mut self.workers[usize::from(nic.queue(frame))];
        let frame = MemFrame::new(frame).with_l3_checksum(nic.l3_checksum(frame));
        worker.io_mut().rx[port.index()].push_back(frame);
    }

    /// Takes what the workers have sent and handed to the host.
    pub fn collect(&mut self) -> Collected {
        let mut collected = Collected::default();
        for io in self.workers.iter_mut().map(Worker::io_mut) {
            for (port, queue) in (0..).map(PortId::new).zip(&mut io.tx) {
                collected.sent.extend(queue.drain(..).map(|frame| (port, frame.bytes().to_vec())));
            }
            let host = io.host.drain(..).map(|item| (item.port, item.request, item.frame.bytes().to_vec()));
            collected.host.extend(host);
        }
        collected
    }
}

/// What came out of a director: by worker, then by port, then in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Frames sent, each with the port that it left by.
    pub sent: Vec<(PortId, Vec<u8>)>,
    /// Frames handed to the host, each with the port and the request that went with it.
    pub host: Vec<(PortId, HostRequest, Vec<u8>)>,
}

/// A worker's counts do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaccounted {
    /// Which worker.
    pub worker: usize,
    /// Of what.
    pub what: &'static str,
    /// How many came, or were made.
    pub came: u64,
    /// How many went, or are there.
    pub went: u64,
}

impl fmt::Display for Unaccounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, what, came, went } = self;
        write!(f, "worker {worker}: {came} {what} came and {went} are accounted for")
    }
}

impl core::error::Error for Unaccounted {}
