//! TCP and UDP checksums that the sender left unfinished.
//!
//! A virtual machine or a container hands its packets over without a finished checksum: the field
//! holds only the sum of the pseudo-header, not inverted. The device shall do the rest
//! (`net/ipv4/tcp_ipv4.c: __tcp_v4_send_check`, `CHECKSUM_PARTIAL`). A real device does it. Between
//! virtual devices nobody does it, and a receiver that checks the checksum drops the packet. The
//! kernel has a flag for such packets, but a user of AF_XDP does not see it. So such a packet is
//! recognised by its checksum field.
//!
//! One of 65 536 finished packets has such a field by chance. To finish it again does no harm: the
//! result is the value that the field already has. If such a packet was damaged on its way, it gets
//! a right checksum. But that is as likely as a damaged packet whose checksum is right by chance.

use zerocopy::FromBytes;

use crate::wire::checksum;
use crate::wire::ether;
use crate::wire::ether::ETHER_LEN;
use crate::wire::ether::EtherHeader;
use crate::wire::ipv4;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4;

/// Length of an IPv6 header, in bytes (RFC 8200 §3).
const IPV6_LEN: usize = 40;
/// Ethertype of IPv6.
const IPV6: u16 = 0x86dd;

/// Finishes the checksum of the TCP or UDP packet in `frame` if it is unfinished. Returns whether
/// the frame changed; so it returns false for a finished packet that only looks unfinished. Handles
/// IPv4 and IPv6 without a VLAN tag. Fragments and packets with extension headers are never
/// unfinished: Linux finishes them itself.
#[inline]
pub fn finish(frame: &mut [u8]) -> bool {
    !is_plainly_finished(frame) && finish_any(frame)
}

/// Whether `frame` is TCP or UDP over IPv4 without options, is not a fragment, and its checksum is
/// finished. Nearly all frames are such frames. Returns false for all others.
#[inline]
fn is_plainly_finished(frame: &[u8]) -> bool {
    const L4: usize = ETHER_LEN + IPV4_LEN;
    let Some(head) = frame.first_chunk::<{ L4 + l4::TCP_LEN }>() else { return false };
    let Ok((ether, rest)) = EtherHeader::ref_from_prefix(head) else { return false };
    let Ok((ip, segment)) = Ipv4Header::ref_from_prefix(rest) else { return false };
    let field = match ip.protocol {
        l4::TCP => [segment[16], segment[17]],
        l4::UDP => [segment[6], segment[7]],
        _ => return false,
    };
    let plain = ether.ethertype.get() == ether::IPV4
        && ip.version_ihl == 0x45
        && ip.fragment.get() & ipv4::FRAGMENT_MASK == 0;
    let len = ip.total_len.get().wrapping_sub(IPV4_LEN as u16);
    plain && u16::from_ne_bytes(field) != checksum::pseudo_v4(ip.addrs, ip.protocol, len)
}

#[inline(never)]
fn finish_any(frame: &mut [u8]) -> bool {
    let Some((at, len, protocol, pseudo)) = segment(frame) else { return false };
    let Some(segment) = frame.get_mut(at..at + len) else { return false };
    let field = if protocol == l4::TCP { 16 } else { 6 };
    let Some(bytes) = segment.get_mut(field..).and_then(|rest| rest.first_chunk_mut::<2>()) else {
        return false;
    };
    if u16::from_ne_bytes(*bytes) != pseudo {
        return false;
    }
    let before = *bytes;
    compute(segment, field, protocol, pseudo);
    segment[field..field + 2] != before
}

/// The TCP or UDP segment: its offset, its length, its protocol and the sum of its pseudo-header.
#[inline]
fn segment(frame: &[u8]) -> Option<(usize, usize, u8, u16)> {
    let (ether, packet) = EtherHeader::ref_from_prefix(frame).ok()?;
    match ether.ethertype.get() {
        ether::IPV4 => {
            let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
            let header_len = ip.header_len();
            let len = ip.total_len.get().checked_sub(header_len as u16)?;
            let whole = ip.version_ihl >> 4 == 4
                && header_len >= IPV4_LEN
                && ip.fragment.get() & ipv4::FRAGMENT_MASK == 0;
            let pseudo = checksum::pseudo_v4(ip.addrs, ip.protocol, len);
            known(ip.protocol)
                .filter(|_| whole)
                .map(|protocol| (ETHER_LEN + header_len, usize::from(len), protocol, pseudo))
        }
        IPV6 => {
            let header = packet.first_chunk::<IPV6_LEN>()?;
            let (protocol, len) = (known(header[6])?, [header[4], header[5]]);
            let pseudo =
                checksum::add(checksum::sum(&header[8..]), checksum::sum(&[0, protocol, len[0], len[1]]));
            Some((ETHER_LEN + IPV6_LEN, usize::from(u16::from_be_bytes(len)), protocol, pseudo))
        }
        _ => None,
    }
}

fn known(protocol: u8) -> Option<u8> {
    (protocol == l4::TCP || protocol == l4::UDP).then_some(protocol)
}

#[cold]
fn compute(segment: &mut [u8], field: usize, protocol: u8, pseudo: u16) {
    segment[field..field + 2].fill(0);
    let sum = !checksum::add(checksum::sum(segment), pseudo);
    // With UDP 0 means "no checksum" (RFC 768).
    let sum = if protocol == l4::UDP && sum == 0 { 0xffff } else { sum };
    segment[field..field + 2].copy_from_slice(&sum.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    /// A finished packet, made by an independent library.
    fn packet(v6: bool, tcp: bool, payload: &[u8], seed: u8) -> Vec<u8> {
        let step = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let step = if v6 {
            step.ipv6([seed; 16], [9; 16], 64)
        } else {
            step.ipv4([10, 0, 0, seed], [10, 0, 1, 2], 64)
        };
        let mut frame = Vec::new();
        if tcp {
            step.tcp(1000 + u16::from(seed), 80, 7, 9).write(&mut frame, payload).unwrap();
        } else {
            step.udp(1000 + u16::from(seed), 53).write(&mut frame, payload).unwrap();
        }
        frame
    }

    /// The same packet as a sender leaves it for the device to finish.
    fn unfinished(frame: &[u8]) -> Vec<u8> {
        let (at, _, protocol, pseudo) = segment(frame).unwrap();
        let field = at + if protocol == l4::TCP { 16 } else { 6 };
        let mut frame = frame.to_vec();
        frame[field..field + 2].copy_from_slice(&pseudo.to_ne_bytes());
        frame
    }

    #[test]
    fn a_field_that_linux_left_unfinished_is_recognised() {
        // A SYN-ACK of Linux 6.1 over veth: 10.2.0.11:80 to 10.1.0.10:40000, 40 bytes of TCP, field
        // 0x163d.
        let mut frame = packet(false, true, &[0; 20], 1);
        frame[26..34].copy_from_slice(&[10, 2, 0, 11, 10, 1, 0, 10]);
        let sum = 0x0a02_u32 + 0x000b + 0x0a01 + 0x000a + 6 + 40;
        frame[50..52].copy_from_slice(&(sum as u16).to_be_bytes());
        assert!(finish(&mut frame));
        assert!(!finish(&mut frame), "it is finished now");
    }

    proptest! {
        #[test]
        fn an_unfinished_packet_becomes_the_finished_packet(
            v6: bool, tcp: bool, payload in proptest::collection::vec(any::<u8>(), 0..300), seed: u8, padding in 0..9_usize,
        ) {
            let right = packet(v6, tcp, &payload, seed);
            let mut frame = unfinished(&right);
            let unlike = frame != right;
            frame.resize(frame.len() + padding, 0xee);
            prop_assert_eq!(finish(&mut frame), unlike);
            prop_assert_eq!(&frame[..right.len()], &right[..]);
            // By chance a finished field may look unfinished. The packet must not change then
            // either.
            prop_assert!(!finish(&mut frame));
            prop_assert_eq!(&frame[..right.len()], &right[..]);
        }

        #[test]
        fn only_the_checksum_field_is_ever_changed(mut frame in proptest::collection::vec(any::<u8>(), 0..120)) {
            if frame.len() > 23 {
                frame[12..14].copy_from_slice(&[8, 0]);
                frame[14] = 0x45 + frame[14] % 12;
                frame[23] = if frame[23] & 1 == 0 { 6 } else { 17 };
            }
            let before = frame.clone();
            if !finish(&mut frame) {
                prop_assert_eq!(frame, before);
            }
        }
    }

    #[test]
    fn a_finished_packet_that_looks_unfinished_is_not_changed() {
        // Search for a payload whose finished checksum equals the sum of the pseudo-header.
        let mut found = 0;
        for n in 0..=u16::MAX {
            let mut frame = packet(false, true, &n.to_be_bytes(), 3);
            let before = frame.clone();
            assert!(!finish(&mut frame));
            assert_eq!(frame, before);
            found += u32::from(unfinished(&before) == before);
        }
        assert!(found > 0, "one of 65536 looks so");
    }
}
