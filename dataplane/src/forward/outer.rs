//! ICMP errors about packets that the director has tunnelled.
//!
//! A router between the director and a real server quotes the outer packet, which no client knows.
//! The inner packet is the client's. So the client gets an error about the inner packet
//! (`net/netfilter/ipvs/ip_vs_core.c: ip_vs_in_icmp`, its `ipip` branch).

use core::net::Ipv4Addr;

use zerocopy::FromBytes;

use crate::conn::key::FlowKey;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::verdict::DropReason;
use crate::wire::icmp;
use crate::wire::icmp::IcmpError;
use crate::wire::icmp::IcmpHeader;
use crate::wire::ipv4;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4;
use crate::wire::l4::Transport;

/// Smallest MTU of an IPv4 link, in bytes (RFC 791).
const LEAST_MTU: u16 = 68;
/// Code of [`icmp::UNREACHABLE`]: fragmentation needed and DF set.
const FRAG_NEEDED: u8 = 4;

/// The content of an error about a tunnelled packet.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// The quoted part of the inner packet, as if it had been received.
    pub inner: PacketMeta,
    /// The destination of the outer packet: the real server.
    pub server: Ipv4Addr,
    /// The drop reason of the client's packet.
    pub reason: DropReason,
    /// The error for the client.
    pub error: IcmpError,
}

/// Reads the ICMP error in `frame`. Returns `None` if it is not about a tunnelled packet, if it
/// quotes too little of it, or if it has no meaning for a client.
pub fn read(frame: &[u8], meta: &PacketMeta) -> Option<Outer> {
    let end = usize::from(meta.l3) + usize::from(meta.total_len);
    let (header, quoted) = IcmpHeader::ref_from_prefix(frame.get(usize::from(meta.l4)..end)?).ok()?;
    let (outer, packet) = split(quoted)?;
    if outer.protocol != l4::IPIP {
        return None;
    }
    let (inner, payload) = split(packet)?;
    let ports = *payload.first_chunk::<4>()?;
    Transport::from_number(inner.protocol)?;
    let (reason, error) = match (header.kind, header.code) {
        (icmp::UNREACHABLE, FRAG_NEEDED) if inner.dont_fragment() => {
            let overhead = IPV4_LEN as u16;
            let mtu = header.mtu.get();
            let mtu = if mtu > LEAST_MTU + overhead { mtu - overhead } else { mtu };
            (DropReason::TooBig, IcmpError::FragNeeded { mtu })
        }
        // A client that does not set DF does not search for the MTU and needs no error.
        (icmp::UNREACHABLE, FRAG_NEEDED) => return None,
        (kind @ icmp::TIME_EXCEEDED, code) => (DropReason::TtlExceeded, IcmpError::Relayed { kind, code }),
        (kind, code) => (DropReason::NoRoute, IcmpError::Relayed { kind, code }),
    };
    let at = end - packet.len();
    let [.., a, b, c, d] = outer.addrs;
    Some(Outer {
        inner: PacketMeta {
            key: FlowKey::from_wire(inner.addrs, ports, inner.protocol),
            total_len: packet.len() as u16,
            l3: u8::try_from(at).ok()?,
            l4: u8::try_from(end - payload.len()).ok()?,
            tcp_flags: 0,
            class: Class::Flow,
        },
        server: Ipv4Addr::new(a, b, c, d),
        reason,
        error,
    })
}

/// The IPv4 header at the start of `bytes`, and the bytes after it. `None` if there is no whole
/// header, or if it is a later fragment's.
fn split(bytes: &[u8]) -> Option<(&Ipv4Header, &[u8])> {
    let (ip, _) = Ipv4Header::ref_from_prefix(bytes).ok()?;
    let header_len = ip.header_len();
    let first = ip.fragment.get() & ipv4::OFFSET_MASK == 0;
    let whole = ip.version_ihl >> 4 == 4 && header_len >= IPV4_LEN && first;
    Some((ip, bytes.get(header_len..).filter(|_| whole)?))
}
