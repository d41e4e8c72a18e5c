//! A worker: one core, its queues, its connections.
//!
//! [`Worker::poll`] shows the life of a packet from top to bottom, over fixed arrays of one burst.
//! Nothing here or below allocates, locks, logs, reads a clock or calls the kernel.

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

/// How many frames of the host are taken in one poll at most.
const FROM_HOST: usize = ROUNDS * BURST;
/// How many bursts are taken from a port in one poll at most. If another burst follows, it is
/// parsed before the packets of this burst are forwarded. By then their lines have arrived.
pub const ROUNDS: usize = 8;

/// The lines of a packet's destination are fetched this many packets ahead, if there are more than
/// [`MANY`] destinations. The lines of fewer destinations are in the cache anyway.
const PEEK: usize = 5;
const MANY: usize = 512;

/// The packet path of one core.
pub struct Worker<Io: PacketIo> {
    io: Io,
    rules: Reader<Snapshot>,
    flows: Flows,
    outbox: Outbox<Io::Frame>,
    reporter: Option<Reporter>,
    /// The burst that comes in, and the one before it, which goes out. Both are empty between
    /// polls.
    coming: Stage<Io::Frame>,
    going: Stage<Io::Frame>,
}

/// A table with more slots is so large that the processor must also wait for the page tables before
/// it can fetch a line. It waits hardly longer for a whole burst of lines than for one line. So the
/// lines of a burst are fetched together.
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

    /// One poll at the moment `now`: takes the waiting frames, up to [`ROUNDS`] bursts from each
    /// port, and forwards them. Returns the number of frames that it took and of timers that it
    /// checked. 0 means that there was nothing to do.
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
            // More frames probably wait after a full burst.
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

    /// Parses the burst that came in and forwards the one before it.
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

    /// Forwards the packets of the burst that goes out, one after the other. Between them it looks
    /// up the connections of the burst that comes in. So the lines of one burst are fetched while
    /// the other burst is handled.
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

    /// Sends frames that Linux sent on the host interfaces, and frames that waited for a MAC.
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

    /// Tells the senders of packets whose next hop did not answer. Each of these packets was
    /// counted as `resolve` before.
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

    /// Moves on to the newest rules.
    #[inline]
    fn follow_rules(&mut self, now: Moment) {
        self.flows.now = now.ticks;
        self.flows.held_up.note(self.flows.micros, now.micros);
        self.flows.micros = now.micros;
        let Flows { token, stats, .. } = &mut self.flows;
        self.rules.refresh_with(|old, new| replay::follow(old, new, token, stats));
    }

    /// The counters of this worker.
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.flows.stats
    }

    /// The epoch of the rules that it follows.
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
