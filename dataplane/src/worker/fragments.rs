//! Fragments: whose they are, without reassembling them.
//!
//! Balanced packets in fragments are dropped, for reassembly is not built. They must not reach
//! Linux, which would answer them, or route a real server's reply under the server's own address.
//! All other fragments are Linux's.
//!
//! The first fragment has the ports, so it is known whose it is. The later ones have none and go
//! where their first went: a few first ones are remembered ([`Trails`]). A later one whose first
//! did not come before is dropped when it may be balanced: when it goes to a virtual address, bears
//! a service's mark, or comes from a real server whose replies are rewritten. Linux reassembles
//! first and then looks (`net/netfilter/ipvs/ip_vs_core.c: ip_vs_gather_frags`), so it tells all of
//! them apart.

use core::hash::BuildHasher;
use core::net::Ipv4Addr;
use std::boxed::Box;

use hashbrown::DefaultHashBuilder;
use zerocopy::FromBytes;

use crate::conn::key::FlowKey;
use crate::conn::table::Candidate;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::time::Ticks;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::wire::ipv4::Ipv4Header;
use crate::worker::flows::Flows;
use crate::worker::outcome::Outcome;

/// How long an identification means the same packet: as long as Linux waits for its fragments
/// (`net.ipv4.ipfrag_time`).
const LIFETIME: i32 = 30 * Ticks::PER_SECOND.cast_signed();
/// First fragments that are remembered; a power of two.
const TRAILS: usize = 1024;

/// What all fragments of a packet have in common (RFC 791 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Packet {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    id: u16,
    protocol: u8,
}

#[derive(Clone, Copy, Debug)]
struct Trail {
    packet: Packet,
    balanced: bool,
    at: Ticks,
}

/// Where the first fragments went that came lately. A newer one takes the place of an older one.
#[derive(Debug)]
pub(crate) struct Trails {
    hasher: DefaultHashBuilder,
    slots: Box<[Option<Trail>; TRAILS]>,
}

impl Default for Trails {
    fn default() -> Self {
        Self { hasher: DefaultHashBuilder::default(), slots: Box::new([None; TRAILS]) }
    }
}

impl Trails {
    fn slot(&self, packet: Packet) -> usize {
        self.hasher.hash_one(packet) as usize % TRAILS
    }

    fn note(&mut self, packet: Packet, balanced: bool, now: Ticks) {
        let slot = self.slot(packet);
        self.slots[slot] = Some(Trail { packet, balanced, at: now });
    }

    fn find(&self, packet: Packet, now: Ticks) -> Option<bool> {
        let trail = self.slots[self.slot(packet)]?;
        let fresh = (0..LIFETIME).contains(&now.since(trail.at));
        (trail.packet == packet && fresh).then_some(trail.balanced)
    }
}

impl Flows {
    /// A fragment of a TCP or UDP packet.
    #[cold]
    pub(crate) fn fragment(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        meta: &PacketMeta,
        candidate: Candidate,
        ingress: PortId,
    ) -> Outcome {
        let Ok((ip, _)) = Ipv4Header::ref_from_prefix(&frame[usize::from(meta.l3)..]) else {
            return Verdict::Drop(DropReason::Truncated).into();
        };
        let (src, dst) = (meta.key.src(), meta.key.dst());
        let packet = Packet { src, dst, id: ip.id.get(), protocol: meta.key.protocol() };
        let first = meta.class == Class::FirstFragment;
        let balanced = if first {
            self.table.confirm(meta.key, candidate).is_some() || has_service(snapshot, meta.key, ingress)
        } else {
            let trail = self.trails.find(packet, self.now);
            trail.unwrap_or_else(|| may_be_balanced(snapshot, meta.key, ingress))
        };
        // Of a packet that can only be Linux's, the later ones need no trail.
        if first && (balanced || may_be_balanced(snapshot, meta.key, ingress)) {
            self.trails.note(packet, balanced, self.now);
        }
        match balanced {
            true => Verdict::Drop(DropReason::Fragment).into(),
            // The connection may be opening.
            false if first => Outcome::Unknown,
            false => Verdict::Forward(Egress::Host).into(),
        }
    }
}

/// Whether a packet of this flow, whole, would be a service's.
fn has_service(snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> bool {
    snapshot.services.find(snapshot.marks.mark(key, ingress), key).is_some()
}

/// Whether a packet between these addresses may be balanced, for all that is known without its
/// ports.
fn may_be_balanced(snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> bool {
    snapshot.services.has_vip(key.dst())
        || snapshot.servers.contains(key.src())
        || snapshot.services.find_marked(snapshot.marks.mark(key, ingress)).is_some()
}
