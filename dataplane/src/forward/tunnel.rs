//! TUN: IPv4 in IPv4 (RFC 2003), as `ip_vs_xmit.c: ip_vs_tunnel_xmit` makes it.

use zerocopy::FromBytes;

use crate::forward::Refusal;
use crate::forward::lower_ttl;
use crate::io::Frame;
use crate::meta::PacketMeta;
use crate::snapshot::dest::DestInfo;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::ether::ETHER_LEN;
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4;

/// The smallest tunnel MTU that Linux accepts, in bytes.
const LEAST_MTU: u16 = 68;

/// Whether a packet of this length, in bytes, fits into a tunnel over a path with this MTU. Its TTL
/// must be left.
#[inline]
pub(crate) const fn fits(total_len: u16, mtu: u16) -> bool {
    let inner = mtu.saturating_sub(IPV4_LEN as u16);
    inner >= LEAST_MTU && total_len <= inner
}

/// Refuses a packet whose TTL runs out here, or that is too large for the path to the real server
/// once it is encapsulated. `mtu` is the MTU of that path, in bytes.
pub(crate) fn admit<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    mtu: u16,
    pmtu_disc: bool,
) -> Result<(), Refusal> {
    let bytes = &frame.bytes()[usize::from(meta.l3)..];
    let Ok((ip, _)) = Ipv4Header::ref_from_prefix(bytes) else { return Err(DropReason::Truncated.into()) };
    if ip.ttl <= 1 {
        return Err(Refusal::Tell(DropReason::TtlExceeded, IcmpError::TimeExceeded));
    }
    let inner = mtu.saturating_sub(IPV4_LEN as u16);
    if inner < LEAST_MTU {
        return Err(DropReason::NoRoute.into());
    }
    if meta.total_len > inner {
        if !ip.dont_fragment() || !pmtu_disc {
            return Err(DropReason::NeedsFragmenting.into());
        }
        lower_ttl(frame, meta);
        return Err(Refusal::Tell(DropReason::TooBig, IcmpError::FragNeeded { mtu: inner }));
    }
    Ok(())
}

/// Lowers the inner TTL, which must not be 0, and puts an outer header in front. Before it there is
/// room for an Ethernet header. An error leaves the frame unchanged.
pub(crate) fn encapsulate<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    dest: &DestInfo,
    pmtu_disc: bool,
) -> Result<(), DropReason> {
    encapsulate_at(frame, usize::from(meta.l3), meta.total_len, dest, pmtu_disc)
}

/// As [`encapsulate`], for a packet that follows directly after its Ethernet header. Also writes
/// the Ethernet header `header`. Returns false after an error.
#[inline(never)]
pub(crate) fn send_through<F: Frame>(
    frame: &mut F,
    total_len: u16,
    dest: &DestInfo,
    pmtu_disc: bool,
    header: &[u8; ETHER_LEN],
) -> bool {
    if encapsulate_at(frame, ETHER_LEN, total_len, dest, pmtu_disc).is_err() {
        return false;
    }
    if let Some(front) = frame.bytes_mut().first_chunk_mut() {
        *front = *header;
    }
    true
}

#[inline(always)]
fn encapsulate_at<F: Frame>(
    frame: &mut F,
    l3: usize,
    total_len: u16,
    dest: &DestInfo,
    pmtu_disc: bool,
) -> Result<(), DropReason> {
    if frame.bytes().len() < l3 + IPV4_LEN || usize::from(total_len) < IPV4_LEN {
        return Err(DropReason::Truncated);
    }
    // Padding is cut off: inside a tunnel it would only make the frame longer.
    if !frame.reframe(IPV4_LEN, l3 + IPV4_LEN + usize::from(total_len)) {
        return Err(DropReason::NoHeadroom);
    }
    frame.shrink_front(l3 - ETHER_LEN);
    let (words, _) = frame.bytes_mut()[ETHER_LEN..].as_chunks_mut();
    // There is room for both headers: checked above.
    let Some((outer, inner)) = words.split_first_chunk_mut() else { return Err(DropReason::Truncated) };
    let Some(inner) = inner.first_chunk_mut() else { return Err(DropReason::Truncated) };
    let words = inner.map(u32::from_ne_bytes);
    *outer = outer_header(words, dest, total_len.saturating_add(IPV4_LEN as u16), pmtu_disc);
    inner[2] = lower_ttl_in(words[2]).to_ne_bytes();
    Ok(())
}

/// Masks for the first word of a header, in native order as it was loaded: type of service, and the
/// low one of its ECN bits.
const TOS: u32 = u32::from_ne_bytes([0, 0xff, 0, 0]);
const ECN_LOW: u32 = u32::from_ne_bytes([0, 1, 0, 0]);
/// Masks for the second word: identification, and the DF bit.
const ID: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
const DONT_FRAGMENT: u32 = u32::from_ne_bytes([0, 0, (ipv4::DONT_FRAGMENT >> 8) as u8, 0]);
/// Masks for the third word: TTL, one unit of the TTL, and the checksum.
const TTL: u32 = u32::from_ne_bytes([0xff, 0, 0, 0]);
const ONE_TTL: u32 = u32::from_ne_bytes([1, 0, 0, 0]);
const CHECKSUM: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// The outer header for a packet whose header begins with the words `inner`. Its TTL is the inner
/// one minus one. `total_len` is the length of the whole outer packet, in bytes. It computes with
/// words, because the processor must wait if bytes are stored one by one and then read as words.
#[inline]
fn outer_header(inner: [u32; 3], dest: &DestInfo, total_len: u16, pmtu_disc: bool) -> [[u8; 4]; 5] {
    const FIRST: u32 = u32::from_ne_bytes([0x45, 0, 0, 0]);
    const THIRD: u32 = u32::from_ne_bytes([0, l4::IPIP, 0, 0]);
    let [first, second, third] = inner;
    debug_assert!(third & TTL != 0, "packets with TTL 0 are refused earlier");
    // DSCP is copied. "Congestion experienced" inside becomes ECT(0) outside (RFC 3168 §9.1.1, full
    // functionality).
    let tos = first & TOS & !(first >> 1 & ECN_LOW);
    let first = FIRST | tos | second_half(total_len.to_be());
    // Only packets that may be fragmented need an identification. The inner one is unique enough.
    let keep_df = pmtu_disc && second & DONT_FRAGMENT != 0;
    let second = if keep_df { DONT_FRAGMENT } else { second & ID };
    let third = THIRD | (third & TTL).wrapping_sub(ONE_TTL);
    let [source, destination] = [dest.tunnel_source, dest.addr].map(|addr| u32::from_ne_bytes(addr.octets()));
    let third = third | second_half(checksum::of_words(first, second, third, source, destination));
    [first, second, third, source, destination].map(u32::to_ne_bytes)
}

/// The third word of a header after its TTL is lowered by one. The TTL must not be 0.
#[inline]
const fn lower_ttl_in(third: u32) -> u32 {
    let sum = if cfg!(target_endian = "little") { third >> 16 } else { third } as u16;
    let sum = !checksum::add(!sum, ipv4::TTL_STEP);
    third.wrapping_sub(ONE_TTL) & !CHECKSUM | second_half(sum)
}

/// The word whose second half in memory is `half`. Its first half is zero.
#[inline]
const fn second_half(half: u16) -> u32 {
    if cfg!(target_endian = "little") { (half as u32) << 16 } else { half as u32 }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use proptest::prelude::*;
    use zerocopy::IntoBytes;
    use zerocopy::network_endian::U16;

    use super::*;
    use crate::mem::MemFrame;
    use crate::meta::Class;

    fn outer_of(inner: &Ipv4Header, dest: &DestInfo, total_len: u16, pmtu_disc: bool) -> Ipv4Header {
        let (words, _) = inner.as_bytes().as_chunks::<4>();
        let words = [words[0], words[1], words[2]].map(u32::from_ne_bytes);
        let outer = outer_header(words, dest, total_len, pmtu_disc);
        Ipv4Header::read_from_bytes(outer.as_flattened()).unwrap()
    }

    fn header(tos: u8) -> Ipv4Header {
        Ipv4Header {
            version_ihl: 0x45,
            tos,
            total_len: U16::new(40),
            id: U16::new(7),
            fragment: U16::new(0),
            ttl: 64,
            protocol: l4::TCP,
            checksum: [0; 2],
            addrs: [10, 0, 0, 2, 10, 0, 0, 100],
        }
    }

    #[test]
    fn a_length_below_a_header_changes_nothing() {
        let mut frame = MemFrame::new(&[0x45; 60]);
        let before = frame.bytes().to_vec();
        let meta = PacketMeta { l3: 14, total_len: 10, ..PacketMeta::nothing(Class::Flow) };
        let made = encapsulate(&mut frame, &meta, &DestInfo::default(), true);
        assert_eq!((made, frame.bytes()), (Err(DropReason::Truncated), &before[..]));
    }

    #[test]
    fn ecn_is_copied_except_congestion_experienced() {
        let outer_tos = |tos| outer_of(&header(tos), &DestInfo::default(), 60, true).tos;
        assert_eq!([0xb8, 0xb9, 0xba, 0xbb].map(outer_tos), [0xb8, 0xb9, 0xba, 0xba]);
    }

    proptest! {
        /// Compares each field, and the checksum over the bytes.
        #[test]
        fn the_outer_header_follows_from_the_inner_one(
            (tos, id, fragment, ttl) in (any::<u8>(), any::<u16>(), any::<u16>(), 2_u8..),
            (source, addr, total_len, pmtu_disc) in (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u16>(), any::<bool>()),
        ) {
            let inner = Ipv4Header { id: U16::new(id), fragment: U16::new(fragment), ttl, ..header(tos) };
            let dest = DestInfo {
                tunnel_source: Ipv4Addr::from(source),
                addr: Ipv4Addr::from(addr),
                ..DestInfo::default()
            };
            let keeps = pmtu_disc && inner.dont_fragment();
            let mut expected = Ipv4Header {
                version_ihl: 0x45,
                tos: if tos & 3 == 3 { tos & !1 } else { tos },
                total_len: U16::new(total_len),
                id: U16::new(if keeps { 0 } else { id }),
                fragment: U16::new(if keeps { ipv4::DONT_FRAGMENT } else { 0 }),
                ttl: ttl - 1,
                protocol: l4::IPIP,
                checksum: [0; 2],
                addrs: [source, addr].concat().try_into().unwrap(),
            };
            expected.seal();
            let outer = outer_of(&inner, &dest, total_len, pmtu_disc);
            prop_assert_eq!(outer.as_bytes(), expected.as_bytes());
        }

        #[test]
        fn the_checksum_in_the_third_word_stays_right(tos: u8, ttl in 1_u8..) {
            let mut before = Ipv4Header { ttl, ..header(tos) };
            before.seal();
            let third = u32::from_ne_bytes(before.as_bytes()[8..12].try_into().unwrap());
            let mut after = Ipv4Header { ttl: ttl - 1, ..before };
            after.seal();
            prop_assert_eq!(&lower_ttl_in(third).to_ne_bytes()[..], &after.as_bytes()[8..12]);
        }
    }
}
