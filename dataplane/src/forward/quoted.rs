//! ICMP errors of others about packets of our connections.
//!
//! A router or a host quotes the packet that it could not handle. The quote is the packet as the
//! director sent it. Before the error is forwarded, the quote must become the packet as the error's
//! receiver knows it (`net/netfilter/ipvs/ip_vs_core.c: ip_vs_in_icmp, ip_vs_out_icmp,
//! ip_vs_nat_icmp`). Only the ports of the quoted L4 header are read. An error that does not quote
//! the ports is about no connection.

use zerocopy::FromBytes;

use crate::conn::entry::Direction;
use crate::conn::entry::Hot;
use crate::conn::key::FlowKey;
use crate::forward::Refusal;
use crate::forward::destination;
use crate::forward::lower_ttl;
use crate::forward::tunnel;
use crate::forward::way;
use crate::forward::write_ether;
use crate::io::Frame;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::wire::checksum;
use crate::wire::ether::ETHER_LEN;
use crate::wire::icmp::ICMP_LEN;
use crate::wire::ipv4;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4::Transport;

/// The quote inside an ICMP error.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Key of the quoted packet.
    pub key: FlowKey,
    /// Offset of the quoted IP header in the frame, in bytes.
    ip: usize,
    /// Offset of the quoted L4 header in the frame, in bytes.
    l4: usize,
}

/// Reads the quote of the ICMP error in `frame`. Returns `None` if the quote is not TCP or UDP, is
/// a later fragment, or is too short for ports. Such an error is about a tunnelled packet
/// ([`super::outer`]) or is for Linux.
pub fn read(frame: &[u8], meta: &PacketMeta) -> Result<Option<Quote>, DropReason> {
    let end = usize::from(meta.l3) + usize::from(meta.total_len);
    let at = usize::from(meta.l4) + ICMP_LEN;
    let Some(quoted) = frame.get(at..end) else { return Err(DropReason::BadIcmp) };
    Ok(quote(quoted, at))
}

fn quote(quoted: &[u8], at: usize) -> Option<Quote> {
    let (ip, _) = Ipv4Header::ref_from_prefix(quoted).ok()?;
    let header_len = ip.header_len();
    let first = ip.fragment.get() & ipv4::OFFSET_MASK == 0;
    let balanced = Transport::from_number(ip.protocol).is_some();
    if ip.version_ihl >> 4 != 4 || header_len < IPV4_LEN || !balanced || !first {
        return None;
    }
    let ports = *quoted.get(header_len..)?.first_chunk::<4>()?;
    let key = FlowKey::from_wire(ip.addrs, ports, ip.protocol);
    Some(Quote { key, ip: at, l4: at + header_len })
}

/// Whether the ICMP checksum of the error in `frame` is right.
pub fn intact(frame: &[u8], meta: &PacketMeta) -> bool {
    let end = usize::from(meta.l3) + usize::from(meta.total_len);
    frame.get(usize::from(meta.l4)..end).is_some_and(|icmp| checksum::sum(icmp) == 0xffff)
}

/// Rewrites the error in `frame` about a packet of the NAT or FULLNAT connection `conn`.
/// `direction` is the direction of the error: [`Direction::Request`] if it comes from the client's
/// side and is about a reply.
pub fn translate<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    quote: &Quote,
    conn: &Hot,
    direction: Direction,
) {
    // The director sent the quoted packet as the reverse of one key. The quote must become the
    // packet as it came to the director: the other key.
    let (quoted, outer) = match direction {
        Direction::Request => (conn.reply, conn.reply.reversed()),
        Direction::Reply => (conn.request, conn.request.reversed()),
    };
    let bytes = frame.bytes_mut();
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(&mut bytes[quote.ip..]) {
        let new = quoted.wire_addrs();
        ip.checksum = checksum::apply(ip.checksum, checksum::delta(&ip.addrs, &new));
        ip.addrs = new;
    }
    bytes[quote.l4..quote.l4 + 4].copy_from_slice(&quoted.wire_ports());
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(&mut bytes[usize::from(meta.l3)..]) {
        let mut new = outer.wire_addrs();
        // The address of a router on the client's side is kept, except with FULLNAT, where the real
        // server knows only local addresses.
        let keeps_source = direction == Direction::Request && conn.reply.dst() == conn.request.src();
        if keeps_source {
            new[..4].copy_from_slice(&ip.addrs[..4]);
        }
        ip.checksum = checksum::apply(ip.checksum, checksum::delta(&ip.addrs, &new));
        ip.addrs = new;
    }
    let (start, end) = (usize::from(meta.l4), usize::from(meta.l3) + usize::from(meta.total_len));
    bytes[start + 2..start + 4].copy_from_slice(&[0; 2]);
    let field = checksum::compute(&bytes[start..end]);
    bytes[start + 2..start + 4].copy_from_slice(&field);
}

/// Forwards the error in `frame` about a packet of `conn`. `direction` is the direction of the
/// error.
pub fn send<F: Frame>(
    snapshot: &Snapshot,
    frame: &mut F,
    meta: &PacketMeta,
    quote: &Quote,
    conn: &mut Hot,
    direction: Direction,
) -> Result<Egress, Refusal> {
    let method = Method::from_bits(conn.flags.bits());
    if !method.is_translated() && direction == Direction::Reply {
        // With DR and TUN, Linux routes errors that come from the real server's side.
        return Ok(Egress::Host);
    }
    let mut spare = None;
    let (adjacency, egress) = way(snapshot, conn, direction, &mut spare)?;
    let overhead = if method == Method::Tunnel { IPV4_LEN } else { 0 };
    let ttl = frame.bytes().get(usize::from(meta.l3) + 8).copied().unwrap_or(0);
    if egress != Egress::Host && ttl <= 1 {
        return Err(DropReason::TtlExceeded.into());
    }
    if usize::from(meta.total_len) + overhead > usize::from(adjacency.mtu) && egress != Egress::Host {
        return Err(DropReason::NeedsFragmenting.into());
    }
    if method.is_translated() {
        translate(frame, meta, quote, conn, direction);
    }
    if egress == Egress::Host {
        return Ok(egress);
    }
    if method == Method::Tunnel {
        tunnel::encapsulate(frame, meta, destination(snapshot, conn)?, snapshot.tunables.pmtu_disc)?;
    } else {
        lower_ttl(frame, meta);
        frame.shrink_front(usize::from(meta.l3) - ETHER_LEN);
    }
    write_ether(frame, &adjacency.header);
    Ok(egress)
}
