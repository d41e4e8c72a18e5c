//! A director in memory, told what arrives and what time it is.

use std::sync::Arc;

use dataplane::BURST;
use dataplane::epoch::Publisher;
use dataplane::epoch::Workers;
use dataplane::io::Frame;
use dataplane::secret::Secrets;
use dataplane::snapshot::Snapshot;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::worker::Worker;
use dataplane::worker::flows::Flows;

use crate::io::FixedFrame;
use crate::io::FixedIo;
use crate::packet::Packet;
use crate::packet::turn_round;
use crate::rules::DESTS;
use crate::rules::LAN;
use crate::rules::WAN;
use crate::rules::rules;

/// A director with the [`rules`].
pub struct Rig {
    worker: Worker<FixedIo>,
    now: Ticks,
    spare: Vec<FixedFrame>,
    _publisher: Publisher<Snapshot>,
}

impl Rig {
    /// A director with room for `capacity` connections; nothing when the crates disagree with each
    /// other.
    pub fn new(capacity: u32) -> Option<Self> {
        let now = Ticks::from_secs(1000);
        let (workers, tokens) = Workers::new(1);
        let (publisher, readers) = Publisher::new(rules(workers)?.release(0), 1);
        let stats = Arc::new(WorkerStats::new(DESTS as usize));
        let flows = Flows::new(capacity, Secrets::repeatable(42), stats, tokens.into_iter().next()?, now);
        let spare: Vec<_> = (0..3 * BURST).map(|_| FixedFrame::empty()).collect();
        let io = FixedIo::with_room_for(spare.len());
        let worker = Worker::new(io, readers.into_iter().next()?, flows);
        Some(Self { worker, now, spare, _publisher: publisher })
    }

    /// Lays packets of clients ready to be received, a burst at most.
    pub fn lay(&mut self, packets: impl IntoIterator<Item = Packet>) {
        let io = self.worker.io_mut();
        self.spare.extend(io.sent.iter_mut().flat_map(|burst| burst.drain(..)));
        self.spare.append(&mut io.done);
        for packet in packets.into_iter().take(BURST) {
            let Some(mut frame) = self.spare.pop() else { return };
            frame.fill(&packet);
            io.waiting[WAN.index()].push(frame);
        }
    }

    /// Lays the real servers' answers to what was just sent to them ready to be received.
    pub fn lay_answers(&mut self, flags: u8) {
        let io = self.worker.io_mut();
        let [waiting, sent] = [&mut io.waiting[LAN.index()], &mut io.sent[LAN.index()]];
        for mut frame in sent.drain(..) {
            if turn_round(frame.bytes_mut(), flags) {
                waiting.push(frame);
            } else {
                self.spare.push(frame);
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ticks: u32) {
        self.now = self.now.plus(ticks);
    }

    /// One poll.
    pub fn poll(&mut self) -> usize {
        self.worker.poll(self.now)
    }

    /// Polls until there is nothing left to do.
    pub fn settle(&mut self) {
        while self.poll() != 0 {}
    }

    /// What the director counted.
    pub fn stats(&self) -> &WorkerStats {
        self.worker.stats()
    }

    /// Whether every packet was forwarded, but for `host` that were the host's.
    pub fn forwarded_all_but(&self, host: u64) -> bool {
        let stats = self.stats();
        stats.host.get() == host && stats.received.get() == stats.transmitted.get() + host
    }
}
