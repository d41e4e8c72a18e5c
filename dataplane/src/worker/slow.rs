//! The packets of a burst that take every step. They have code of their own, so that the code for
//! nearly all packets stays small.

use crate::BURST;
use crate::conn::entry::ConnId;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::meta::Class;
use crate::snapshot::Snapshot;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::worker::flows::Flows;
use crate::worker::outbox::Outbox;
use crate::worker::outcome::Outcome;
use crate::worker::stage::Notes;

use arrayvec::ArrayVec;

/// Carries the packets of one burst that take every step.
pub(super) struct Slow<'a, Io: PacketIo> {
    pub(super) io: &'a mut Io,
    pub(super) flows: &'a mut Flows,
    pub(super) outbox: &'a mut Outbox<Io::Frame>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) notes: &'a Notes,
    pub(super) ingress: PortId,
    /// The first packets of opening connections, each with its place in the burst and its
    /// connection.
    pub(super) opening: ArrayVec<(Io::Frame, usize, ConnId), BURST>,
}

impl<Io: PacketIo> Slow<'_, Io> {
    /// Carries the burst's `nth` packet.
    #[inline(never)]
    pub(super) fn carry(&mut self, nth: usize, mut frame: Io::Frame) {
        let (meta, candidate) = (&self.notes.metas[nth], self.notes.candidates[nth]);
        if let Class::Drop(reason) = meta.class {
            self.outbox.drop(self.io, &self.flows.stats, frame, reason);
            return;
        }
        if self.notes.unwanted >> nth & 1 != 0
            && self.opening.is_empty()
            && self.flows.table.confirm(meta.key, candidate).is_none()
            && let Some(reason) = self.flows.shed(meta)
        {
            self.outbox.drop(self.io, &self.flows.stats, frame, reason);
            return;
        }
        loop {
            match self.flows.handle(self.snapshot, &mut frame, meta, candidate, self.ingress) {
                Outcome::Done(verdict) => return self.post(frame, verdict),
                Outcome::Unknown if self.opening.is_empty() => {
                    return self.post(frame, Verdict::Forward(Egress::Host));
                }
                Outcome::Stray if self.opening.is_empty() => {
                    return self.post(frame, Verdict::Drop(DropReason::Stray));
                }
                Outcome::Opens(id) => {
                    self.opening.push((frame, nth, id));
                    return;
                }
                // This may be a real server's packet in the same burst as the client's first
                // packet. Its connection is found only after it is open. No connection is opening
                // then, so this happens at most once.
                Outcome::Early | Outcome::Unknown | Outcome::Stray => self.open_all(),
            }
        }
    }

    fn post(&mut self, frame: Io::Frame, verdict: Verdict) {
        self.outbox.post(self.io, &self.flows.stats, self.ingress, frame, verdict);
    }

    /// Opens all opening connections. Call it at the end of the burst.
    pub(super) fn open_all(&mut self) {
        for (_, _, id) in &self.opening {
            self.flows.prepare(*id);
        }
        for (mut frame, nth, id) in self.opening.drain(..) {
            let verdict = self.flows.open(self.snapshot, &mut frame, &self.notes.metas[nth], id);
            self.outbox.post(self.io, &self.flows.stats, self.ingress, frame, verdict);
        }
    }
}
