//! A director in memory, told what arrives and what time it is.

use dataplane::BURST;
use dataplane::epoch::Workers;
use dataplane::io::Frame;
use dataplane::mem::MemDirector;
use dataplane::mem::Size;
use dataplane::snapshot::rules::Rules;
use dataplane::stats::WorkerStats;

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
    director: MemDirector<Rules, FixedIo>,
    spare: Vec<FixedFrame>,
}

impl Rig {
    /// A director with room for `connections`; nothing when the crates disagree with each other.
    pub fn new(connections: u32) -> Option<Self> {
        let (workers, tokens) = Workers::new(1);
        let (rules, ends) = Rules::new(rules(workers)?, tokens);
        let spare: Vec<_> = (0..3 * BURST).map(|_| FixedFrame::empty()).collect();
        let size = Size { connections, destinations: DESTS, seed: 42 };
        let director = MemDirector::over(rules, ends, size, [FixedIo::with_room_for(spare.len())]);
        Some(Self { director, spare })
    }

    /// Lays packets of clients ready to be received, a burst at most.
    pub fn lay(&mut self, packets: impl IntoIterator<Item = Packet>) {
        let io = self.director.io();
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
        let io = self.director.io();
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
        self.director.pass(ticks);
    }

    /// One poll.
    pub fn poll(&mut self) -> usize {
        self.poller()()
    }

    /// One poll to be measured: the worker's and nothing else.
    pub fn poller(&mut self) -> impl FnOnce() -> usize {
        let now = self.director.now();
        let worker = self.director.worker();
        move || worker.poll(now)
    }

    /// Polls until there is nothing left to do.
    pub fn settle(&mut self) {
        while self.poll() != 0 {}
    }

    /// What the director counted.
    pub fn stats(&self) -> &WorkerStats {
        self.director.stats()
    }

    /// Whether every packet was forwarded, but for `host` that were the host's.
    pub fn forwarded_all_but(&self, host: u64) -> bool {
        let stats = self.stats();
        stats.host.get() == host && stats.received.get() == stats.transmitted.get() + host
    }
}
