//! Forwarding a packet by the four methods.
//!
//! [`send`] does the same steps for all methods, as `net/netfilter/ipvs/ip_vs_xmit.c` does: next
//! hop, TTL, MTU, rewrite. Addresses, ports and checksum deltas were compiled into the connection
//! when it was made (see [`crate::conn::entry`]). So NAT and FULLNAT are one code in both
//! directions.

pub mod icmp;
pub mod limit;
pub mod outer;
pub mod quoted;
pub mod tunnel;

use core::net::Ipv4Addr;

use zerocopy::FromBytes;

use crate::conn::entry::Direction;
use crate::conn::entry::Hot;
use crate::conn::key::FlowKey;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::dest::Method;
use crate::snapshot::route::Adjacency;
use crate::snapshot::route::NextHop;
use crate::snapshot::route::PortFacts;
use crate::snapshot::route::Reach;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::wire::checksum;
use crate::wire::ether;
use crate::wire::ether::ETHER_LEN;
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4::Transport;

/// Why a packet cannot leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped and its sender is told.
    Tell(DropReason, IcmpError),
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// Forwards `frame`, a packet of the connection `conn` that goes in `direction`.
///
/// If the client's neighbour has become known meanwhile, fills in `hops[direction]`.
#[inline]
pub fn send<F: Frame>(
    snapshot: &Snapshot,
    frame: &mut F,
    meta: &PacketMeta,
    conn: &mut Hot,
    direction: Direction,
) -> Result<Egress, Refusal> {
    let method = Method::read(conn.flags.bits());
    let mut spare = None;
    let (adjacency, egress) = way(snapshot, conn, direction, &mut spare)?;
    if egress == Egress::Host {
        if method.is_translated() {
            translate(frame, meta, conn, direction, 0);
        }
        return Ok(egress);
    }
    if method == Method::Tunnel && direction == Direction::Request {
        tunnel::admit(frame, meta, adjacency.mtu, snapshot.tunables.pmtu_disc)?;
        tunnel::encapsulate(frame, meta, destination(snapshot, conn)?, snapshot.tunables.pmtu_disc)?;
    } else {
        admit(frame, meta, adjacency.mtu)?;
        if method.is_translated() {
            translate(frame, meta, conn, direction, ipv4::TTL_STEP);
        } else {
            lower_ttl(frame, meta);
        }
        frame.shrink_front(usize::from(meta.l3) - ETHER_LEN);
    }
    write_ether(frame, &adjacency.header);
    Ok(egress)
}

/// The adjacency by which packets of `conn` in `direction` leave, and the egress that belongs to
/// it. If the adjacency is not in the snapshot, it is put into `spare`.
#[inline]
pub(crate) fn way<'a>(
    snapshot: &'a Snapshot,
    conn: &mut Hot,
    direction: Direction,
    spare: &'a mut Option<Adjacency>,
) -> Result<(&'a Adjacency, Egress), Refusal> {
    let adjacency = match snapshot.paths.adjacency(conn.hops[direction as usize]) {
        Some(adjacency) => adjacency,
        None => spare.insert(find_adjacency(snapshot, conn, direction)?),
    };
    match adjacency.reach {
        Reach::Port(port) => Ok((adjacency, Egress::Port(port))),
        Reach::Resolving(port) => {
            Ok((adjacency, Egress::Resolve(port, adjacency.next_hop.unwrap_or(Ipv4Addr::UNSPECIFIED))))
        }
        Reach::Host => Ok((adjacency, Egress::Host)),
        Reach::Nowhere => Err(Refusal::Tell(DropReason::NoRoute, IcmpError::HostUnreachable)),
    }
}

/// Refuses a packet whose TTL runs out here, or that is larger than the next hop's MTU.
#[inline]
pub(crate) fn admit<F: Frame>(frame: &mut F, meta: &PacketMeta, mtu: u16) -> Result<(), Refusal> {
    let bytes = &frame.bytes()[usize::from(meta.l3)..];
    let Ok((ip, _)) = Ipv4Header::ref_from_prefix(bytes) else { return Err(DropReason::Truncated.into()) };
    if ip.ttl <= 1 {
        return Err(Refusal::Tell(DropReason::TtlExceeded, IcmpError::TimeExceeded));
    }
    if meta.total_len > mtu {
        if !ip.dont_fragment() {
            return Err(DropReason::NeedsFragmenting.into());
        }
        // Linux lowers the TTL before it checks the MTU, and the quote in the error shows that.
        lower_ttl(frame, meta);
        return Err(Refusal::Tell(DropReason::TooBig, IcmpError::FragNeeded { mtu }));
    }
    Ok(())
}

/// Lowers the TTL by one.
#[inline]
pub(crate) fn lower_ttl<F: Frame>(frame: &mut F, meta: &PacketMeta) {
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(&mut frame.bytes_mut()[usize::from(meta.l3)..]) {
        ip.ttl = ip.ttl.wrapping_sub(1);
        ip.checksum = checksum::apply(ip.checksum, ipv4::TTL_STEP);
    }
}

/// Makes the packet look like the reverse of the connection's other key. `ttl_step` is 0 or
/// [`ipv4::TTL_STEP`]; with the latter it also lowers the TTL by one.
#[inline]
fn translate<F: Frame>(frame: &mut F, meta: &PacketMeta, conn: &Hot, direction: Direction, ttl_step: u16) {
    let other = match direction {
        Direction::Request => conn.reply,
        Direction::Reply => conn.request,
    }
    .reversed();
    rewrite(frame, meta, conn, direction, other, ttl_step);
}

/// Gives a forwarded packet of `conn` the addresses and ports that it had when it came. `direction`
/// is the direction of an answer to it, so the packet itself goes the other way.
pub(crate) fn restore<F: Frame>(frame: &mut F, meta: &mut PacketMeta, conn: &Hot, direction: Direction) {
    let original = match direction {
        Direction::Request => conn.reply,
        Direction::Reply => conn.request,
    };
    if Method::from_bits(conn.flags.bits()).is_translated() {
        rewrite(frame, meta, conn, direction, original, 0);
    }
    meta.key = original;
}

#[inline(always)]
fn rewrite<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    conn: &Hot,
    direction: Direction,
    other: FlowKey,
    ttl_step: u16,
) {
    let (head, tail) = frame.bytes_mut().split_at_mut(usize::from(meta.l4));
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(&mut head[usize::from(meta.l3)..]) {
        ip.addrs = other.wire_addrs();
        ip.ttl = ip.ttl.wrapping_sub(u8::from(ttl_step != 0));
        ip.checksum = checksum::apply(ip.checksum, checksum::add(conn.l3_delta(direction), ttl_step));
    }
    if let Some(ports) = tail.first_chunk_mut::<4>() {
        *ports = other.wire_ports();
    }
    match meta.key.transport() {
        Transport::Tcp => {
            if let Some(field) = tail.get_mut(16..).and_then(|rest| rest.first_chunk_mut::<2>()) {
                *field = checksum::apply(*field, conn.l4_delta(direction));
            }
        }
        Transport::Udp => {
            if let Some(field) = tail.get_mut(6..).and_then(|rest| rest.first_chunk_mut::<2>()) {
                *field = checksum::apply_udp(*field, conn.l4_delta(direction));
            }
        }
    }
}

#[inline]
pub(crate) fn write_ether<F: Frame>(frame: &mut F, header: &[u8; ETHER_LEN]) {
    if let Some(front) = frame.bytes_mut().first_chunk_mut() {
        *front = *header;
    }
}

pub(crate) fn destination<'a>(snapshot: &'a Snapshot, conn: &Hot) -> Result<&'a DestInfo, Refusal> {
    snapshot.dest(sched::DestId::new(conn.dest)).ok_or(Refusal::Drop(DropReason::DestinationGone))
}

/// Finds the adjacency for a packet if the connection does not hold it yet.
#[cold]
fn find_adjacency(snapshot: &Snapshot, conn: &mut Hot, direction: Direction) -> Result<Adjacency, Refusal> {
    let target = match direction {
        // Requests leave by their destination's adjacency. If the destination has none, there is no
        // route to it.
        Direction::Request => return Err(Refusal::Tell(DropReason::NoRoute, IcmpError::HostUnreachable)),
        Direction::Reply => conn.request.src(),
    };
    let (adjacency, id) = toward(snapshot, target)?;
    if let Some(id) = id {
        conn.hops[direction as usize] = id;
    }
    Ok(adjacency)
}

/// The adjacency for packets to `addr`, and its number if it has one.
pub(crate) fn toward(snapshot: &Snapshot, addr: Ipv4Addr) -> Result<(Adjacency, Option<u32>), Refusal> {
    match snapshot.paths.next_hop(addr) {
        NextHop::Known(id) => {
            let adjacency = snapshot.paths.adjacency(id).copied().unwrap_or_default();
            Ok((adjacency, Some(id)))
        }
        NextHop::Unknown(port, mtu) => {
            let facts = snapshot.paths.ports.get(port.index()).copied().unwrap_or_default();
            Ok((unresolved(port, facts, addr, mtu), None))
        }
        NextHop::Host => Ok((Adjacency { reach: Reach::Host, ..Adjacency::default() }, None)),
        NextHop::Nowhere => Err(Refusal::Tell(DropReason::NoRoute, IcmpError::HostUnreachable)),
    }
}

fn unresolved(port: PortId, facts: PortFacts, next_hop: Ipv4Addr, mtu: u16) -> Adjacency {
    let mut header = [0; ETHER_LEN];
    header[6..12].copy_from_slice(&facts.mac.0);
    header[12..].copy_from_slice(&ether::IPV4.to_be_bytes());
    Adjacency { header, reach: Reach::Resolving(port), mtu, next_hop: Some(next_hop) }
}

/// Writes the Ethernet header of a finished IP packet to `addr` into the first bytes of `frame`;
/// the IP header follows them. Returns `None` if the packet cannot leave.
pub(crate) fn address<F: Frame>(snapshot: &Snapshot, frame: &mut F, addr: Ipv4Addr) -> Option<Egress> {
    let (adjacency, _) = toward(snapshot, addr).ok()?;
    write_ether(frame, &adjacency.header);
    match adjacency.reach {
        Reach::Port(port) => Some(Egress::Port(port)),
        Reach::Resolving(port) => Some(Egress::Resolve(port, adjacency.next_hop.unwrap_or(addr))),
        // The receiver would be the director itself, and Linux sends itself no such errors.
        Reach::Host | Reach::Nowhere => None,
    }
}
