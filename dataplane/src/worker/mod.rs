//! A worker: one core, its queues, its connections.
//!
//! [`Worker::poll`] is the life of a packet, top to bottom, over fixed arrays of one burst. Nothing
//! here or below allocates, locks, logs, reads a clock or calls the kernel.

pub mod create;
mod defence;
mod errors;
pub mod expire;
pub mod flows;
mod fragments;
mod held_up;
mod judge;
mod offload;
mod one_packet;
mod opening;
pub mod outbox;
mod outcome;
pub mod persist;
mod ports;
mod pressure;
pub mod replay;
pub mod report;
mod response;
mod schedulers;
mod shed;
mod slow;
mod source;
mod stage;
mod steady;
mod step;
mod stranger;
mod tunnels;
mod unreachable;
pub mod wanted;

use std::sync::Arc;

use crate::BURST;
use crate::epoch::Reader;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;
use crate::time::Moment;
use crate::worker::flows::Flows;
use crate::worker::outbox::Outbox;
use crate::worker::report::Reporter;
use crate::worker::slow::Slow;
use crate::worker::stage::Stage;

/// Frames taken from the host's ring in one poll.
const FROM_HOST: usize = ROUNDS * BURST;
/// Bursts taken from a port in one poll. While one is followed by another, its packets wait for it
/// to be parsed, and their lines are there by then.
pub const ROUNDS: usize = 8;

/// How many packets ahead their destinations' lines are sent for, where there are more than
/// [`MANY`]: of fewer the lines are near anyhow.
const PEEK: usize = 5;
const MANY: usize = 512;

/// One core's packet path.
pub struct Worker<Io: PacketIo> {
    io: Io,
    rules: Reader<Snapshot>,
    flows: Flows,
    outbox: Outbox<Io::Frame>,
    reporter: Option<Reporter>,
    /// The burst that is coming in, and the one before it, which is on its way out. Both are empty
    /// between polls.
    coming: Stage<Io::Frame>,
    going: Stage<Io::Frame>,
}

/// A table of more slots is so large that what says where its pages are comes from afar too. The
/// processor waits for that with each line it sends for, but hardly longer for a whole burst of
/// them than for one: so they are sent for together.
const VAST: u32 = 2_000_000;

impl<Io: PacketIo> Worker<Io> {
    /// A worker over `io` that follows `rules`.
    pub fn new(io: Io, rules: Reader<Snapshot>, flows: Flows) -> Self {
        let outbox = Outbox::new(io.ports());
        Self { io, rules, flows, outbox, reporter: None, coming: Stage::new(), going: Stage::new() }
    }

    /// Lets control ask for the connection table.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Reporter) -> Self {
        self.reporter = Some(reporter);
        self
    }

    /// One round at the moment `now`: takes what waits, up to [`ROUNDS`] bursts from each port, and
    /// sends it on. Gives the number of frames taken and timers looked at: 0 means that there
    /// was nothing to do.
    pub fn poll(&mut self, now: impl Into<Moment>) -> usize {
        let now = now.into();
        self.follow_rules(now);
        let mut done = 0;
        for round in 1..=ROUNDS {
            let mut more = false;
            for port in 0..self.io.ports() {
                let port = PortId::new(port);
                self.io.receive(port, &mut self.coming.frames);
                if !self.coming.frames.is_empty() {
                    done += self.coming.frames.len();
                    more |= self.coming.frames.is_full();
                    self.take_in(port);
                }
            }
            // A full burst is hardly the last one.
            if !more || round == ROUNDS {
                self.flows.defence.note_queues(more, now.ticks);
                more = false;
            }
            if !more && !self.going.frames.is_empty() {
                self.finish();
            }
            done += self.flows.expire(self.rules.get(), done != 0);
            if !more {
                break;
            }
        }
        self.io.housekeep();
        done += self.send_for_host();
        if self.flows.tend_schedulers(self.rules.get()) {
            done += self.answer_for_neighbours();
        }
        if let Some(reporter) = &mut self.reporter {
            done += reporter.serve(&self.flows.table, now.ticks);
        }
        self.flows.stats.half_open.set(self.flows.defence.half_open());
        self.flows.stats.polls.add(1);
        self.flows.stats.idle_polls.add(u64::from(done == 0));
        done
    }

    /// Parses the burst that came in, and forwards the one before it.
    #[inline]
    fn take_in(&mut self, ingress: PortId) {
        self.coming.ingress = ingress;
        self.coming.parse(self.rules.get(), &mut self.flows);
        self.flows.stats.received.add(self.coming.frames.len() as u64);
        if self.flows.table.capacity() > VAST {
            self.coming.send_for_all(&self.flows.table);
        }
        self.finish();
        core::mem::swap(&mut self.coming, &mut self.going);
    }

    /// Forwards the burst that is on its way out, one packet after the other, and looks for the
    /// connections of the one that is coming in: a packet out, a packet in, so that the lines
    /// of one are fetched while the other is worked on.
    #[inline(never)]
    fn finish(&mut self) {
        self.flows.defence.flooded = self.going.flooded;
        let snapshot = self.rules.get();
        if snapshot.paths.is_strict(self.going.ingress) {
            self.going.single_out(snapshot, &self.flows.table);
        }
        let Self { io, flows, outbox, coming, going, .. } = self;
        let Stage { frames, ingress, notes, .. } = going;
        let (ingress, opening) = (*ingress, Default::default());
        let mut slow = Slow { io, flows, outbox, snapshot, notes, ingress, opening };
        let many = snapshot.dests.room() > MANY;
        let mut waiting = 0..coming.frames.len();
        for (nth, mut frame) in frames.drain(..).enumerate() {
            if let Some(nth) = waiting.next() {
                coming.notes.guess(nth, &slow.flows.table);
            }
            if many && let Some(candidate) = notes.candidates.get(nth + PEEK) {
                slow.flows.peek(snapshot, *candidate);
            }
            match slow.flows.steady(snapshot, &mut frame, &notes.metas[nth], notes.candidates[nth]) {
                Some(port) => slow.outbox.send(slow.io, &slow.flows.stats, port, frame),
                None => slow.carry(nth, frame),
            }
        }
        slow.open_all();
        for nth in waiting {
            coming.notes.guess(nth, &slow.flows.table);
        }
        coming.notes.guess_away(&slow.flows.table);
        outbox.flush(io, &flows.stats);
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

    /// Tells the senders of packets whose next hop did not answer. Each of these has been counted
    /// as resolving.
    fn answer_for_neighbours(&mut self) -> usize {
        let mut taken = 0;
        while taken < FROM_HOST {
            let Some(mut frame) = self.io.failed() else { break };
            let verdict = self.flows.unreachable(self.rules.get(), &mut frame);
            self.outbox.post(&mut self.io, &self.flows.stats, PortId::new(0), frame, verdict);
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
        self.flows.held_up.note(self.flows.micros, now.micros);
        self.flows.micros = now.micros;
        let Flows { token, stats, .. } = &mut self.flows;
        self.rules.refresh_with(|old, new| replay::follow(old, new, token, stats));
    }

    /// What this worker counts.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.flows.stats
    }

    /// The number of the rules that it follows.
    pub fn epoch(&self) -> u64 {
        self.rules.epoch()
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
