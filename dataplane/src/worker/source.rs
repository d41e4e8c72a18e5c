//! Whether a packet may come from whom it says, and by the way it says: what Linux asks of packets
//! that it takes in (`net/ipv4/ip_input.c: ip_rcv_options`, `net/ipv4/fib_frontend.c:
//! fib_validate_source`).
//!
//! The sender of a packet that makes a connection is looked up then, once. Packets of a standing
//! connection are looked at only where `rp_filter` is strict, and then the port is compared with
//! the one that leads back.

use crate::conn::entry::Direction;
use crate::conn::entry::Hot;
use crate::conn::entry::NONE;
use crate::conn::table::Candidate;
use crate::io::PortId;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::snapshot::route::NextHop;
use crate::verdict::DropReason;
use crate::wire::ipv4::IPV4_LEN;
use crate::worker::flows::Flows;

/// IPv4 options (RFC 791 §3.1): end of the list, no operation, and the two that name routers on the
/// way.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;

impl Flows {
    /// Refuses a packet of a connection by a port that `rp_filter` does not take its sender's packets
    /// from. Packets of no connection pass: the connection that they make is judged.
    #[cold]
    pub(crate) fn inspect_sender(
        &mut self,
        snapshot: &Snapshot,
        meta: &PacketMeta,
        candidate: Candidate,
        ingress: PortId,
    ) -> Result<(), DropReason> {
        let Some((id, direction)) = self.table.confirm(meta.key, candidate) else { return Ok(()) };
        // What DR and TUN servers send back is Linux's, which looks for itself.
        let method = Method::from_bits(self.table.hot(id).flags.bits());
        if direction == Direction::Reply && !method.is_translated() {
            return Ok(());
        }
        let next = snapshot.paths.admit(meta.key.src(), ingress)?;
        // Its neighbour has become known meanwhile: the short way is open then.
        let back = &mut self.table.hot_mut(id).hops[1 - direction as usize];
        if let (NONE, NextHop::Known(adjacency)) = (*back, next) {
            *back = adjacency;
        }
        Ok(())
    }
}

/// Whether a packet came by the port that the other side's packets leave by.
#[inline(always)]
pub(crate) fn came_back(snapshot: &Snapshot, hot: &Hot, direction: Direction, ingress: PortId) -> bool {
    let back = hot.hops[1 - direction as usize];
    snapshot.paths.adjacency(back).and_then(|adjacency| adjacency.port()) == Some(ingress)
}

/// Whether the packet's IPv4 header has options.
#[inline(always)]
pub(crate) fn has_options(meta: &PacketMeta) -> bool {
    usize::from(meta.l4 - meta.l3) > IPV4_LEN
}

/// Refuses source routes where they are not accepted, and options that contradict themselves.
#[cold]
pub(crate) fn inspect_options(
    snapshot: &Snapshot,
    frame: &[u8],
    meta: &PacketMeta,
    ingress: PortId,
) -> Result<(), DropReason> {
    let accepted =
        snapshot.paths.ports.get(ingress.index()).is_some_and(|facts| facts.input.accept_source_route);
    let options = usize::from(meta.l3) + IPV4_LEN..usize::from(meta.l4);
    let mut options = frame.get(options).ok_or(DropReason::Truncated)?;
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (END, _) => break,
            (NO_OPERATION, _) => rest,
            (LOOSE_ROUTE | STRICT_ROUTE, _) if !accepted => return Err(DropReason::SourceRoute),
            // Its length counts the two bytes in front.
            (_, [len, ..]) if *len >= 2 => options.get(usize::from(*len)..).ok_or(DropReason::Malformed)?,
            _ => return Err(DropReason::Malformed),
        };
    }
    Ok(())
}
