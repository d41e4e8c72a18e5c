//! The headers of a frame, read once.
//!
//! [`PacketMeta::parse`] walks L2 to L4 with one length check a layer. Later stages rely on this
//! for [`Class::Flow`]: the fixed IPv4 header is at `l3`, a whole TCP or UDP header is at `l4`, and
//! the frame has at least `l3 + total_len` bytes.

use zerocopy::FromBytes;

use crate::conn::key::FlowKey;
use crate::io::RxChecksum;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::ether;
use crate::wire::ether::EtherHeader;
use crate::wire::ether::Mac;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4;
use crate::wire::l4::Transport;

/// What kind of frame this is for a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The frame is dropped.
    Drop(DropReason),
    /// TCP or UDP over IPv4, not a fragment. It may belong to a connection or a service.
    Flow,
    /// As `Flow`, but the sender must be checked: the way back to it may lead through another port
    /// than the one that the packet came by. Parsing never gives this class.
    Astray,
    /// The first fragment of a TCP or UDP packet. It has the ports.
    FirstFragment,
    /// A later fragment of a TCP or UDP packet, or a first one that is too short for ports. `key`
    /// has the addresses, and its ports are 0.
    LaterFragment,
    /// The frame is for Linux: ARP, IPv6, multicast, other protocols.
    Host,
    /// An ICMP error over IPv4.
    IcmpError,
}

/// A frame's headers, read once.
#[derive(Clone, Copy, Debug)]
pub struct PacketMeta {
    /// Addresses, ports and protocol of the packet. The ports are 0 unless the class is
    /// [`Class::Flow`], [`Class::Astray`] or [`Class::FirstFragment`].
    pub key: FlowKey,
    /// Length of the IP packet with its header, in bytes.
    pub total_len: u16,
    /// Offset of the IP header in the frame, in bytes.
    pub l3: u8,
    /// Offset of the L4 header in the frame, in bytes.
    pub l4: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// The kind of frame.
    pub class: Class,
}

impl PacketMeta {
    /// Reads `frame`, received on a port whose MAC is `mac`. `checksum` is what the device says
    /// about the IPv4 header checksum. If the device did not check it and `verify` is set, it is
    /// checked in software.
    pub fn parse(frame: &[u8], mac: Mac, checksum: RxChecksum, verify: bool) -> Self {
        let mut meta = Self::nothing(Class::Host);
        meta.read(frame, mac, checksum, verify);
        meta
    }

    /// As [`Self::parse`], but writes into `self`. Returns the key. So the caller has the key in
    /// registers. Reading it back from memory would cost more than the parsing, because it was just
    /// written there in pieces of another size.
    #[inline(always)]
    pub(crate) fn read(&mut self, frame: &[u8], mac: Mac, checksum: RxChecksum, verify: bool) -> FlowKey {
        let looked_at = checksum == RxChecksum::Good || checksum == RxChecksum::Unknown && !verify;
        match plain(frame, mac) {
            Some(meta) if looked_at => {
                *self = meta;
                meta.key
            }
            _ => {
                *self = Self::parse_any(frame, mac, checksum, verify);
                self.key
            }
        }
    }

    #[inline(never)]
    fn parse_any(frame: &[u8], mac: Mac, checksum: RxChecksum, verify: bool) -> Self {
        match walk(frame, mac, checksum, verify) {
            Ok(meta) => meta,
            Err(class) => Self::nothing(class),
        }
    }

    /// A frame of this class about which nothing else is known.
    pub(crate) const fn nothing(class: Class) -> Self {
        Self { key: FlowKey::ZERO, total_len: 0, l3: 0, l4: 0, tcp_flags: 0, class }
    }
}

/// Reads the frames that nearly all are: TCP or UDP over IPv4 without options, not a fragment, to
/// our MAC, at least 54 bytes long. Returns `None` for all others. Its result is the same as that
/// of [`walk`].
#[inline(always)]
fn plain(frame: &[u8], mac: Mac) -> Option<PacketMeta> {
    const L4: usize = ether::ETHER_LEN + ipv4::IPV4_LEN;
    let head = frame.first_chunk::<{ L4 + l4::TCP_LEN }>()?;
    let (ether, rest) = EtherHeader::ref_from_prefix(head).ok()?;
    let (ip, l4) = Ipv4Header::ref_from_prefix(rest).ok()?;
    let total_len = ip.total_len.get();
    let (least, tcp_flags) = match ip.protocol {
        l4::TCP => (L4 - ether::ETHER_LEN + l4::TCP_LEN, l4[13]),
        l4::UDP => (L4 - ether::ETHER_LEN + l4::UDP_LEN, 0),
        _ => return None,
    };
    let right = ether.dst == mac
        && ether.ethertype.get() == ether::IPV4
        && ip.version_ihl == 0x45
        && ip.fragment.get() & ipv4::FRAGMENT_MASK == 0
        && (least..=frame.len() - ether::ETHER_LEN).contains(&usize::from(total_len));
    right.then(|| PacketMeta {
        key: FlowKey::from_wire(ip.addrs, [l4[0], l4[1], l4[2], l4[3]], ip.protocol),
        total_len,
        l3: ether::ETHER_LEN as u8,
        l4: L4 as u8,
        tcp_flags,
        class: Class::Flow,
    })
}

#[inline]
fn walk(frame: &[u8], mac: Mac, rx: RxChecksum, verify: bool) -> Result<PacketMeta, Class> {
    let Ok((ether, _)) = EtherHeader::ref_from_prefix(frame) else {
        return Err(Class::Drop(DropReason::Truncated));
    };
    if ether.dst != mac {
        let group = ether.dst.is_group();
        return Err(if group { Class::Host } else { Class::Drop(DropReason::OtherMac) });
    }
    // Tagged frames are for Linux: its VLAN interfaces are on top of the host interface.
    if ether.ethertype.get() != ether::IPV4 {
        return Err(Class::Host);
    }
    let l3 = ether::ETHER_LEN;
    let packet = &frame[l3..];
    let Ok((ip, _)) = Ipv4Header::ref_from_prefix(packet) else {
        return Err(Class::Drop(DropReason::Truncated));
    };
    let (header_len, total_len) = (ip.header_len(), ip.total_len.get());
    if ip.version_ihl >> 4 != 4 || header_len < ipv4::IPV4_LEN || usize::from(total_len) < header_len {
        return Err(Class::Drop(DropReason::Malformed));
    }
    if packet.len() < usize::from(total_len) {
        return Err(Class::Drop(DropReason::Truncated));
    }
    if rx == RxChecksum::Bad
        || verify && rx == RxChecksum::Unknown && checksum::sum(&packet[..header_len]) != 0xffff
    {
        return Err(Class::Drop(DropReason::BadChecksum));
    }
    let l4 = &packet[header_len..usize::from(total_len)];
    let mut meta = PacketMeta {
        key: FlowKey::from_wire(ip.addrs, [0; 4], ip.protocol),
        total_len,
        l3: l3 as u8,
        l4: (l3 + header_len) as u8,
        tcp_flags: 0,
        class: Class::Flow,
    };
    let balanced = Transport::from_number(ip.protocol).is_some();
    if ip.fragment.get() & ipv4::FRAGMENT_MASK != 0 {
        meta.class = if balanced { Class::LaterFragment } else { Class::Host };
        if let ([a, b, c, d, ..], true, 0) = (l4, balanced, ip.fragment.get() & ipv4::OFFSET_MASK) {
            meta.class = Class::FirstFragment;
            meta.key = FlowKey::from_wire(ip.addrs, [*a, *b, *c, *d], ip.protocol);
        }
        return Ok(meta);
    }
    match (ip.protocol, l4) {
        (l4::TCP, [a, b, c, d, ..]) => {
            if l4.len() < l4::TCP_LEN {
                return Err(Class::Drop(DropReason::Truncated));
            }
            meta.key = FlowKey::from_wire(ip.addrs, [*a, *b, *c, *d], l4::TCP);
            meta.tcp_flags = l4[13];
        }
        (l4::UDP, [a, b, c, d, ..]) => {
            if l4.len() < l4::UDP_LEN {
                return Err(Class::Drop(DropReason::Truncated));
            }
            meta.key = FlowKey::from_wire(ip.addrs, [*a, *b, *c, *d], l4::UDP);
        }
        (l4::TCP | l4::UDP, _) => return Err(Class::Drop(DropReason::Truncated)),
        (l4::ICMP, [icmp::UNREACHABLE | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED, ..]) => {
            meta.class = Class::IcmpError;
        }
        _ => return Err(Class::Host),
    }
    Ok(meta)
}
