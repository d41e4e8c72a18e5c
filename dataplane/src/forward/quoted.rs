//! ICMP errors from others about packets of our connections.
//!
//! A router or host quotes the packet it could not handle; the quote is what the director sent, so
//! before the error goes on, the quote must become what the receiver of the error knows
//! (`net/netfilter/ipvs/ip_vs_core.c: ip_vs_in_icmp, ip_vs_out_icmp, ip_vs_nat_icmp`). Of L4 the
//! quote's ports are read and nothing else, and what quotes less is about nobody's connection.

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
    /// The quoted packet's flow.
    pub key: FlowKey,
    /// Offset of the quoted IP header in the frame.
    ip: usize,
    /// Offset of the quoted L4 header in the frame.
    l4: usize,
}

/// Reads the quote of the ICMP error in `frame`; `None` when it is not about TCP or UDP, is about a
/// later fragment, or quotes too little to tell: such errors are about a tunnel ([`super::outer`])
/// or Linux's.
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
/// `direction` is the error's own: [`Direction::Request`] when it comes from the client's side
/// about a reply.
pub fn translate<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    quote: &Quote,
    conn: &Hot,
    direction: Direction,
) {
    // The quote was sent by us as the reverse of one key and must read as its origin sent it: the
    // other key.
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
        // A router on the client's side keeps its own address, unless the real server knows only
        // local ones.
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

/// Sends the error in `frame` about a packet of `conn` on its way. `direction` is the error's own.
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
        // Linux routes what a DR or TUN server's side has to say.
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
