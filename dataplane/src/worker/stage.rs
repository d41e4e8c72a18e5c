//! One burst between parsing and forwarding.
//!
//! A worker has two stages. While the packets of one are forwarded, the lines that the packets of
//! the other will touch are fetched.

use std::boxed::Box;

use crate::BURST;
use crate::conn::key::FlowKey;
use crate::conn::table::Approach;
use crate::conn::table::Candidate;
use crate::conn::table::FlowTable;
use crate::io::Burst;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::route::PortFacts;
use crate::verdict::DropReason;
use crate::wire::ether::Mac;
use crate::worker::flows::Flows;
use crate::worker::source;

/// The frames of a burst and the notes about each of them, with the same index. Notes beyond the
/// frames have no meaning.
pub(super) struct Stage<F> {
    pub(super) frames: Burst<F>,
    /// The port by which they came.
    pub(super) ingress: PortId,
    /// Whether they are part of a flood.
    pub(super) flooded: bool,
    pub(super) notes: Box<Notes>,
}

/// Notes about the packets of a burst.
pub(super) struct Notes {
    pub(super) metas: [PacketMeta; BURST],
    approaches: [Approach; BURST],
    pub(super) candidates: [Candidate; BURST],
    /// Bit n is set if the connection of packet n must be looked up in its other bucket.
    away: u32,
    /// Bit n is set if packet n is part of a flood and is dropped if it belongs to no connection.
    pub(super) unwanted: u32,
}

const _: () = assert!(BURST <= 32, "each packet needs a bit in `Notes::away`");

impl<F: Frame> Stage<F> {
    pub(super) fn new() -> Self {
        let notes = Notes {
            metas: [PacketMeta::nothing(Class::Host); BURST],
            approaches: [Approach::default(); BURST],
            candidates: [Candidate::UNKNOWN; BURST],
            away: 0,
            unwanted: 0,
        };
        Self { frames: Burst::new(), ingress: PortId::new(0), flooded: false, notes: Box::new(notes) }
    }

    /// Parses the frames, and has the home buckets of their keys fetched.
    #[inline]
    pub(super) fn parse(&mut self, snapshot: &Snapshot, flows: &mut Flows) {
        let facts = snapshot.paths.ports.get(self.ingress.index()).copied().unwrap_or_default();
        self.frames.iter().for_each(Frame::prefetch);
        if flows.offload.is_due(self.ingress, flows.now) {
            flows.offload.finish(&mut self.frames, self.ingress, flows.now, &flows.stats);
        }
        self.flooded = flows.is_flooded(self.frames.len());
        self.notes.unwanted = 0;
        if self.flooded {
            self.parse_flood(facts, snapshot, flows);
        } else {
            self.parse_all(facts, &flows.table);
        }
        if !snapshot.paths.more_macs(self.ingress).is_empty() {
            self.parse_for_others(facts, snapshot, flows);
        }
    }

    #[inline(always)]
    fn parse_all(&mut self, facts: PortFacts, table: &FlowTable) {
        let Notes { metas, approaches, .. } = &mut *self.notes;
        for ((frame, meta), approach) in self.frames.iter().zip(metas).zip(approaches) {
            *approach = table.approach(read(meta, frame, facts));
        }
    }

    /// Parses frames to other MACs of the host interface again. This is a function of its own, so
    /// that ports without such MACs cost nothing more.
    #[cold]
    fn parse_for_others(&mut self, facts: PortFacts, snapshot: &Snapshot, flows: &mut Flows) {
        let (macs, flooded) = (snapshot.paths.more_macs(self.ingress), self.flooded);
        let Notes { metas, approaches, .. } = &mut *self.notes;
        for ((frame, meta), approach) in self.frames.iter().zip(metas).zip(approaches) {
            let Some(mac) = frame.bytes().first_chunk().map(|mac| Mac(*mac)) else { continue };
            if meta.class != Class::Drop(DropReason::OtherMac) || !macs.contains(&mac) {
                continue;
            }
            let key = read(meta, frame, PortFacts { mac, ..facts });
            if flooded && flows.holds_back(snapshot, meta, self.ingress) {
                *meta = PacketMeta::nothing(Class::Drop(DropReason::SynFlood));
            } else {
                *approach = flows.table.approach(key);
            }
        }
    }

    /// For a port with strict `rp_filter`, just before its burst is forwarded: marks the packets
    /// whose way back does not lead through this port. They then take every step, and their sender
    /// is checked.
    #[cold]
    pub(super) fn single_out(&mut self, snapshot: &Snapshot, table: &FlowTable) {
        let Self { frames, ingress, notes, .. } = self;
        for nth in 0..frames.len() {
            let meta = &mut notes.metas[nth];
            if meta.class != Class::Flow {
                continue;
            }
            let known = table.confirm(meta.key, notes.candidates[nth]);
            // What a connection knows of the way back holds for the rules under which it was judged.
            let back = known.is_some_and(|(id, direction)| {
                let hot = table.hot(id);
                hot.rules == snapshot.generation && source::came_back(snapshot, hot, direction, *ingress)
            });
            if !back {
                meta.class = Class::Astray;
            }
        }
    }

    /// Has all lines fetched together that [`Notes::guess`] would fetch one by one. This is a
    /// function of its own, so that the loops for small tables stay as they are.
    #[cold]
    pub(super) fn send_for_all(&self, table: &FlowTable) {
        for approach in &self.notes.approaches[..self.frames.len()] {
            let _ = table.guess(*approach);
        }
    }

    /// As `parse_all`, for a burst that is part of a flood. Most of its SYNs are held back here.
    #[inline(never)]
    fn parse_flood(&mut self, facts: PortFacts, snapshot: &Snapshot, flows: &mut Flows) {
        let Notes { metas, approaches, unwanted, .. } = &mut *self.notes;
        for (nth, ((frame, meta), approach)) in self.frames.iter().zip(metas).zip(approaches).enumerate() {
            let key = read(meta, frame, facts);
            if flows.holds_back(snapshot, meta, self.ingress) {
                *meta = PacketMeta::nothing(Class::Drop(DropReason::SynFlood));
                *approach = Approach::default();
            } else {
                *approach = flows.table.approach(key);
                *unwanted |= u32::from(flows.is_unwanted(snapshot, meta)) << nth;
            }
        }
    }
}

#[inline(always)]
fn read<F: Frame>(meta: &mut PacketMeta, frame: &F, facts: PortFacts) -> FlowKey {
    meta.read(frame.bytes(), facts.mac, frame.l3_checksum(), facts.verify_checksum)
}

impl Notes {
    /// Looks up the connection of packet `nth`, and has its hot line fetched. Call it exactly once
    /// for every packet.
    #[inline(always)]
    pub(super) fn guess(&mut self, nth: usize, table: &FlowTable) {
        let (candidate, away) = table.guess(self.approaches[nth]);
        self.candidates[nth] = candidate;
        self.away |= u32::from(away) << nth;
    }

    /// Looks up the connections that may be in their other bucket.
    #[inline]
    pub(super) fn guess_away(&mut self, table: &FlowTable) {
        while self.away != 0 {
            let nth = self.away.trailing_zeros() as usize;
            self.away &= self.away - 1;
            self.candidates[nth] = table.guess_away(self.approaches[nth], self.candidates[nth]);
        }
    }
}
