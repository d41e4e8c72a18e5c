//! A whole director in one thread.
//!
//! A run depends only on the caller: on rules, frames and the time that it lets pass. The type `R`
//! that holds the rules is [`crate::snapshot::rules::Rules`], or a type that contains one, as in
//! control.

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

/// When a director's time begins. It is not 0, because 0 means "never" in some places.
pub const START: Ticks = Ticks::from_secs(1000);
/// While time passes, the workers poll each time after this many ticks. Linux rounds timers more
/// than that.
const STEP: u32 = 10;

/// The size of a director, and the seed of its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many connections each worker has room for.
    pub connections: u32,
    /// How many destinations there may be.
    pub destinations: u32,
    /// The first worker's secrets are made from this number, the next worker's from the next
    /// number.
    pub seed: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { connections: 4096, destinations: 256, seed: 1 }
    }
}

/// A director over the I/O `Io`. `R` holds its rules.
pub struct MemDirector<R, Io: PacketIo = MemIo> {
    /// Holds the rules.
    pub rules: R,
    /// The workers, at least one. Worker n takes frames from receive queue n of each port.
    pub workers: Vec<Worker<Io>>,
    /// One for each worker. Empty without [`Self::with_listings`].
    pub listings: Vec<ReportReader>,
    /// One for each port, for workers over [`MemIo`].
    nics: Vec<Nic>,
    now: Ticks,
}

impl<R, Io: PacketIo> MemDirector<R, Io> {
    /// A director with a worker for each of `ends`. `ios` gives each worker its I/O.
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

    /// Moves the clock. No worker polls.
    pub fn pass(&mut self, ticks: u32) {
        self.now = self.now.plus(ticks);
    }

    /// Moves the clock step by step. The workers poll until nothing is due, ten times a second and
    /// at the end.
    pub fn wait(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let step = left.min(STEP - self.now.raw() % STEP);
            left -= step;
            self.pass(step);
            self.settle();
        }
    }

    /// Each worker polls once. Returns the sum of the results of [`Worker::poll`].
    pub fn poll(&mut self) -> usize {
        let now = self.now;
        self.workers.iter_mut().map(|worker| worker.poll(now)).sum()
    }

    /// The workers poll until none of them has anything to do.
    pub fn settle(&mut self) {
        while self.poll() != 0 {}
    }

    /// All connections and templates, in the order of the workers. Empty without
    /// [`Self::with_listings`].
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

    /// The first worker.
    pub fn worker(&mut self) -> &mut Worker<Io> {
        &mut self.workers[0]
    }

    /// The first worker's I/O.
    pub fn io(&mut self) -> &mut Io {
        self.worker().io_mut()
    }

    /// The counters of the first worker.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        self.workers[0].stats()
    }

    /// The time.
    pub fn now(&self) -> Ticks {
        self.now
    }

    /// Checks that each worker has counted every frame once when it entered and once when it ended,
    /// and that each connection that was made is in the table or has ended. This holds between
    /// polls.
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
            // All others were cut short. They have no counter.
            let (ended, known) = (stats.ended.get(), stats.expired.get() + stats.displaced.get());
            check("ended connections", ended.max(known), ended)?;
        }
        Ok(())
    }
}

impl<R> MemDirector<R> {
    /// A director behind network cards, one for each port.
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

    /// Takes the frames that the workers have sent and handed to the host.
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

/// Frames that came out of a director: ordered by worker, then by port, then by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Frames that were sent, each with the port by which it left.
    pub sent: Vec<(PortId, Vec<u8>)>,
    /// Frames that were handed to the host, each with its port and its request.
    pub host: Vec<(PortId, HostRequest, Vec<u8>)>,
}

/// A worker's counts do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaccounted {
    /// The number of the worker.
    pub worker: usize,
    /// The name of the things that were counted.
    pub what: &'static str,
    /// How many entered or were made.
    pub came: u64,
    /// How many left, ended or are still there.
    pub went: u64,
}

impl fmt::Display for Unaccounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, what, came, went } = self;
        write!(f, "worker {worker}: {came} {what} came and {went} are accounted for")
    }
}

impl core::error::Error for Unaccounted {}
