//! ICMP errors of the director. An error is made in the frame of the packet that it is about.
//!
//! They look like Linux's (`net/ipv4/icmp.c: __icmp_send`): the quote is as long as a packet of 576
//! bytes allows, TTL 64, precedence "internetwork control", no DF.

use core::net::Ipv4Addr;

use zerocopy::FromBytes;
use zerocopy::IntoBytes;
use zerocopy::network_endian::U16;

use crate::io::Frame;
use crate::meta::PacketMeta;
use crate::wire::checksum;
use crate::wire::ether::ETHER_LEN;
use crate::wire::icmp::ICMP_LEN;
use crate::wire::icmp::IcmpError;
use crate::wire::icmp::IcmpHeader;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4;

/// Largest error packet with its IP header, in bytes (RFC 1812 §4.3.2.3).
const LARGEST: usize = 576;
const TTL: u8 = 64;
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Turns `frame` into an error about the packet in it, from `source` to the packet's sender, with
/// room for an Ethernet header in front. `id` is the IP id. Returns the receiver and the error's IP
/// length in bytes. Returns `None` if no error may be sent about such a packet, or if there is no
/// headroom.
pub fn error_about<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    error: IcmpError,
    source: Ipv4Addr,
    id: u16,
) -> Option<(Ipv4Addr, u16)> {
    let receiver = meta.key.src();
    if receiver.is_unspecified()
        || receiver.is_multicast()
        || receiver.is_broadcast()
        || receiver.is_loopback()
    {
        return None;
    }
    let (offending, _) = Ipv4Header::read_from_prefix(frame.bytes().get(usize::from(meta.l3)..)?).ok()?;
    // Make room in the frame for: Ethernet header, outer IP header, ICMP header, quote.
    if !frame.grow_front(IPV4_LEN + ICMP_LEN) {
        return None;
    }
    frame.shrink_front(usize::from(meta.l3) - ETHER_LEN);
    let quote = usize::from(meta.total_len).min(LARGEST - IPV4_LEN - ICMP_LEN);
    frame.truncate(ETHER_LEN + IPV4_LEN + ICMP_LEN + quote);
    let (kind, code, mtu) = error.fields();
    let icmp = IcmpHeader { kind, code, checksum: [0; 2], unused: U16::new(0), mtu: U16::new(mtu) };
    let total_len = (IPV4_LEN + ICMP_LEN + quote) as u16;
    let mut addrs = [0; 8];
    addrs[..4].copy_from_slice(&source.octets());
    addrs[4..].copy_from_slice(&receiver.octets());
    let mut ip = Ipv4Header {
        version_ihl: 0x45,
        tos: offending.tos & 0x1e | INTERNETWORK_CONTROL,
        total_len: U16::new(total_len),
        id: U16::new(id),
        fragment: U16::new(0),
        ttl: TTL,
        protocol: l4::ICMP,
        checksum: [0; 2],
        addrs,
    };
    ip.seal();
    let bytes = &mut frame.bytes_mut()[ETHER_LEN..];
    bytes[..IPV4_LEN].copy_from_slice(ip.as_bytes());
    bytes[IPV4_LEN..IPV4_LEN + ICMP_LEN].copy_from_slice(icmp.as_bytes());
    let field = checksum::compute(&bytes[IPV4_LEN..]);
    bytes[IPV4_LEN + 2..IPV4_LEN + 4].copy_from_slice(&field);
    Some((receiver, total_len))
}
