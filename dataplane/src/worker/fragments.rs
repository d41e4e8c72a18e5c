//! Fragments: whether they belong to balanced packets. They are not reassembled.
//!
//! Fragments of balanced packets are dropped, because reassembly is not built. They must not reach
//! Linux: it would answer them, or route a real server's reply with the server's own address. All
//! other fragments go to Linux.
//!
//! The first fragment has the ports, so its connection or service can be found. Later fragments
//! have no ports. They go where their first fragment went: some first fragments are remembered
//! ([`Trails`]). If a later fragment comes before its first one, it is dropped if it may be
//! balanced. That is so if it goes to a VIP, has a service's mark, or comes from a real server
//! whose replies are rewritten. Linux reassembles before it looks
//! (`net/netfilter/ipvs/ip_vs_core.c: ip_vs_gather_frags`), so it knows the connection of each
//! fragment.

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

/// How long fragments with the same identification belong to the same packet, in ticks. Linux waits
/// as long for fragments (`net.ipv4.ipfrag_time`).
const LIFETIME: i32 = 30 * Ticks::PER_SECOND.cast_signed();
/// How many first fragments are remembered; a power of two.
const TRAILS: usize = 1024;

/// The values that all fragments of a packet share (RFC 791 §3.2).
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

/// First fragments that came lately, and where they went. A newer one may take the place of an
/// older one.
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
    /// Handles a fragment of a TCP or UDP packet.
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
        // If the packet can only be for Linux, its later fragments need no trail.
        if first && (balanced || may_be_balanced(snapshot, meta.key, ingress)) {
            self.trails.note(packet, balanced, self.now);
        }
        match balanced {
            true => Verdict::Drop(DropReason::Fragment).into(),
            // The packet's connection may still be opening.
            false if first => Outcome::Unknown,
            false => Verdict::Forward(Egress::Host).into(),
        }
    }
}

/// Whether a packet with this key belongs to a service.
fn has_service(snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> bool {
    snapshot.services.find(snapshot.marks.mark(key, ingress), key).is_some()
}

/// Whether a packet between these addresses may be balanced. Its ports are not known.
fn may_be_balanced(snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> bool {
    snapshot.services.has_vip(key.dst())
        || snapshot.servers.contains(key.src())
        || snapshot.services.find_marked(snapshot.marks.mark(key, ingress)).is_some()
}
