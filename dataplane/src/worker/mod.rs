//! A worker: one core, its queues, its connections.
//!
//! [`Worker::poll`] is the life of a packet, top to bottom, over fixed arrays of one burst. Nothing here
//! or below allocates, locks, logs, reads a clock or calls the kernel.

pub mod create;
pub mod expire;
pub mod flows;
pub mod outbox;
pub mod persist;
pub mod replay;
pub mod report;
mod steady;
mod tunnels;
pub mod wanted;

use std::boxed::Box;
use std::sync::Arc;

use crate::BURST;
use crate::conn::table::Approach;
use crate::conn::table::Candidate;
use crate::epoch::Reader;
use crate::io::Burst;
use crate::io::Frame;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;
use crate::time::Moment;
use crate::worker::flows::Flows;
use crate::worker::outbox::Outbox;
use crate::worker::report::Reporter;

/// Frames taken from the host's ring in one poll.
const FROM_HOST: usize = BURST;

/// One core's packet path.
pub struct Worker<Io: PacketIo> {
    io: Io,
    rules: Reader<Snapshot>,
    flows: Flows,
    outbox: Outbox<Io::Frame>,
    reporter: Option<Reporter>,
    notes: Box<Notes>,
}

/// What the stages note of a burst's packets, by their place in it; nothing of it means anything between bursts.
struct Notes {
    metas: [PacketMeta; BURST],
    approaches: [Approach; BURST],
    candidates: [Candidate; BURST],
}

impl Notes {
    fn new() -> Self {
        Self {
            metas: [PacketMeta::nothing(Class::Host); BURST],
            approaches: [Approach::default(); BURST],
            candidates: [Candidate::UNKNOWN; BURST],
        }
    }
}

impl<Io: PacketIo> Worker<Io> {
    /// A worker over `io` that follows `rules`.
    pub fn new(io: Io, rules: Reader<Snapshot>, flows: Flows) -> Self {
        let outbox = Outbox::new(io.ports());
        Self { io, rules, flows, outbox, reporter: None, notes: Box::new(Notes::new()) }
    }

    /// Lets control ask for the connection table.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Reporter) -> Self {
        self.reporter = Some(reporter);
        self
    }

    /// One round at the moment `now`: takes what waits, a burst from each port at most, and sends it on. Gives the
    /// number of frames taken and timers looked at: 0 means that there was nothing to do.
    pub fn poll(&mut self, now: impl Into<Moment>) -> usize {
        let now = now.into();
        self.follow_rules(now);
        let mut done = 0;
        for port in 0..self.io.ports() {
            let port = PortId::new(port);
            let mut frames = Burst::new();
            self.io.receive(port, &mut frames);
            if !frames.is_empty() {
                done += frames.len();
                self.carry(port, frames);
            }
        }
        self.io.housekeep();
        done += self.send_for_host();
        done += self.flows.expire(self.rules.get(), done != 0);
        self.flows.tend_schedulers(self.rules.get());
        if let Some(reporter) = &mut self.reporter {
            done += reporter.serve(&self.flows.table, now.ticks);
        }
        self.flows.stats.polls.add(1);
        self.flows.stats.idle_polls.add(u64::from(done == 0));
        done
    }

    /// Carries one burst from parsing to transmission.
    #[inline]
    fn carry(&mut self, ingress: PortId, frames: Burst<Io::Frame>) {
        let snapshot = self.rules.get();
        let Notes { metas, approaches, candidates } = &mut *self.notes;
        let facts = snapshot.paths.ports.get(ingress.index()).copied().unwrap_or_default();
        let count = frames.len();

        // Parse, with the header lines of the whole burst on their way, and send for the table's lines.
        frames.iter().for_each(Frame::prefetch);
        for ((frame, meta), approach) in frames.iter().zip(metas.iter_mut()).zip(approaches.iter_mut()) {
            let key = meta.read(frame.bytes(), facts.mac, frame.l3_checksum(), facts.verify_checksum);
            *approach = self.flows.table.approach(key);
        }
        // Look up: all buckets are here by now, then all entries.
        self.flows.table.guess(&approaches[..count], &mut candidates[..count]);
        // Decide and rewrite, one by one, in order.
        self.flows.stats.received.add(count as u64);
        for ((mut frame, meta), candidate) in frames.into_iter().zip(metas.iter()).zip(candidates.iter()) {
            if let Some(port) = self.flows.steady(snapshot, &mut frame, meta, *candidate) {
                self.outbox.send(&mut self.io, &self.flows.stats, port, frame);
                continue;
            }
            let verdict = self.flows.handle(snapshot, &mut frame, meta, *candidate, ingress);
            self.outbox.post(&mut self.io, &self.flows.stats, ingress, frame, verdict);
        }
        // Transmit.
        self.outbox.flush(&mut self.io, &self.flows.stats);
    }

    /// Sends what Linux put on the host interfaces, or what waited for a MAC.
    fn send_for_host(&mut self) -> usize {
        let mut taken = 0;
        while taken < FROM_HOST {
            let Some((port, frame)) = self.io.from_host() else { break };
            self.outbox.send(&mut self.io, &self.flows.stats, port, frame);
            taken += 1;
        }
        if taken != 0 {
            self.flows.stats.from_host.add(taken as u64);
            self.outbox.flush(&mut self.io, &self.flows.stats);
        }
        taken
    }

    /// Switches to the newest rules, if there are newer ones.
    #[inline]
    fn follow_rules(&mut self, now: Moment) {
        self.flows.now = now.ticks;
        self.flows.micros = now.micros;
        let Flows { token, stats, .. } = &mut self.flows;
        self.rules.refresh_with(|old, new| replay::follow(old, new, token, stats));
    }

    /// What this worker counts.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.flows.stats
    }

    /// The worker's I/O, for tests and shutdown.
    pub fn io_mut(&mut self) -> &mut Io {
        &mut self.io
    }

    /// The worker's connections, for tests and listings.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }
}
