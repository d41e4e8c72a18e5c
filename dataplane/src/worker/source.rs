//! Checks of a packet's sender and of its source route, as Linux checks them
//! (`net/ipv4/fib_frontend.c: fib_validate_source`, `net/ipv4/ip_input.c: ip_rcv_options`).
//!
//! If a packet makes a connection, its sender is looked up once. Packets of established connections
//! are checked only if `rp_filter` is strict: their port is compared with the one that leads back
//! to the sender.

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

/// IPv4 options (RFC 791 §3.1): end of the list, no operation, and the two source routes.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;

impl Flows {
    /// Refuses a packet of a connection if `rp_filter` of its port does not accept its sender.
    /// Packets without a connection pass: their sender is checked when they make one.
    #[cold]
    pub(crate) fn inspect_sender(
        &mut self,
        snapshot: &Snapshot,
        meta: &PacketMeta,
        candidate: Candidate,
        ingress: PortId,
    ) -> Result<(), DropReason> {
        let Some((id, direction)) = self.table.confirm(meta.key, candidate) else { return Ok(()) };
        // Replies with DR and TUN go to Linux, which checks them itself.
        let method = Method::from_bits(self.table.hot(id).flags.bits());
        if direction == Direction::Reply && !method.is_translated() {
            return Ok(());
        }
        let next = snapshot.paths.admit(meta.key.src(), ingress)?;
        // If the neighbour has become known meanwhile, later packets can take the short way.
        let back = &mut self.table.hot_mut(id).hops[1 - direction as usize];
        if let (NONE, NextHop::Known(adjacency)) = (*back, next) {
            *back = adjacency;
        }
        Ok(())
    }
}

/// Whether a packet came by the port by which packets to its sender leave.
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

/// Refuses source routes that the port does not accept, and malformed options.
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
            // The length includes the two bytes of type and length.
            (_, [len, ..]) if *len >= 2 => options.get(usize::from(*len)..).ok_or(DropReason::Malformed)?,
            _ => return Err(DropReason::Malformed),
        };
    }
    Ok(())
}
