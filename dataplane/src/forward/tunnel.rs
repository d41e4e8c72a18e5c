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

/// The smallest tunnel MTU that Linux accepts.
const LEAST_MTU: u16 = 68;

/// Where these fields lie in a header.
const TTL: usize = 8;
const CHECKSUM: usize = 10;
/// In the first of the two bytes of flags and fragment offset.
const DONT_FRAGMENT: u8 = (ipv4::DONT_FRAGMENT >> 8) as u8;

/// Whether a packet of this length, which has TTL left, gets through a tunnel over a way with this MTU as it is.
#[inline]
pub(crate) const fn fits(total_len: u16, mtu: u16) -> bool {
    let inner = mtu.saturating_sub(IPV4_LEN as u16);
    inner >= LEAST_MTU && total_len <= inner
}

/// Refuses what has no TTL left, or does not fit the way to the real server once encapsulated. `mtu` is that way's.
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

/// Lowers the inner TTL and puts an outer header in front; one Ethernet header's room is left before it. An error leaves
/// the frame as it was.
pub(crate) fn encapsulate<F: Frame>(
    frame: &mut F,
    meta: &PacketMeta,
    dest: &DestInfo,
    pmtu_disc: bool,
) -> Result<(), DropReason> {
    let l3 = usize::from(meta.l3);
    if frame.bytes().len() < l3 + IPV4_LEN {
        return Err(DropReason::Truncated);
    }
    if !frame.grow_front(IPV4_LEN) {
        return Err(DropReason::NoHeadroom);
    }
    // Padding stays behind: inside a tunnel it would only make the frame longer.
    frame.truncate(l3 + IPV4_LEN + usize::from(meta.total_len));
    frame.shrink_front(l3 - ETHER_LEN);
    let headers = frame.bytes_mut()[ETHER_LEN..].split_first_chunk_mut::<IPV4_LEN>();
    let Some((outer, inner)) = headers else { return Err(DropReason::Truncated) };
    let Some(inner) = inner.first_chunk_mut::<IPV4_LEN>() else { return Err(DropReason::Truncated) };
    inner[TTL] = inner[TTL].wrapping_sub(1);
    let sum = checksum::apply([inner[CHECKSUM], inner[CHECKSUM + 1]], ipv4::TTL_STEP);
    inner[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum);
    *outer = outer_header(inner, dest, meta.total_len.saturating_add(IPV4_LEN as u16), pmtu_disc);
    Ok(())
}

/// The header in front of a packet with the header `inner`; `total_len` is the length of both and what follows.
#[inline]
fn outer_header(
    inner: &[u8; IPV4_LEN],
    dest: &DestInfo,
    total_len: u16,
    pmtu_disc: bool,
) -> [u8; IPV4_LEN] {
    let [_, tos, _, _, id, id_low, fragment, _, ttl, ..] = *inner;
    let keep_df = pmtu_disc && fragment & DONT_FRAGMENT != 0;
    let [len, len_low] = total_len.to_be_bytes();
    // Only packets that may be fragmented need an identification: the inner one's is as unique.
    let rest = if keep_df { [0, 0, DONT_FRAGMENT, 0] } else { [id, id_low, 0, 0] };
    let unsealed = [
        [0x45, outer_tos(tos), len, len_low],
        rest,
        [ttl, l4::IPIP, 0, 0],
        dest.tunnel_source.octets(),
        dest.addr.octets(),
    ];
    // In registers: bytes that are stored and read again as words would have to wait for the store.
    let [a, b, [ttl, protocol, ..], source, destination] = unsealed;
    let [sum, sum_low] = checksum::of_words(unsealed.map(u32::from_ne_bytes));
    let mut header = [0; IPV4_LEN];
    let words = [a, b, [ttl, protocol, sum, sum_low], source, destination];
    header.as_chunks_mut().0.copy_from_slice(&words);
    header
}

/// DSCP as it is; congestion experienced inside becomes ECT(0) outside (RFC 3168 §9.1.1, full functionality).
const fn outer_tos(inner: u8) -> u8 {
    const ECN: u8 = 3;
    const CE: u8 = 3;
    const ECT0: u8 = 2;
    if inner & ECN == CE { inner & !ECN | ECT0 } else { inner }
}

#[cfg(test)]
mod tests {
    use super::outer_tos;

    #[test]
    fn ecn_is_copied_but_for_congestion_experienced() {
        assert_eq!([0xb8, 0xb9, 0xba, 0xbb].map(outer_tos), [0xb8, 0xb9, 0xba, 0xba]);
    }
}
