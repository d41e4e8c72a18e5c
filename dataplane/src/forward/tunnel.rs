//! TUN: IPv4 in IPv4 (RFC 2003), as `ip_vs_xmit.c: ip_vs_tunnel_xmit` makes it.

use zerocopy::FromBytes;
use zerocopy::IntoBytes;
use zerocopy::network_endian::U16;

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
    let Ok((mut inner, _)) = Ipv4Header::read_from_prefix(&frame.bytes()[l3..]) else {
        return Err(DropReason::Truncated);
    };
    if !frame.grow_front(IPV4_LEN) {
        return Err(DropReason::NoHeadroom);
    }
    // Padding stays behind: inside a tunnel it would only make the frame longer.
    frame.truncate(l3 + IPV4_LEN + usize::from(meta.total_len));
    frame.shrink_front(l3 - ETHER_LEN);
    inner.ttl = inner.ttl.wrapping_sub(1);
    inner.checksum = checksum::apply(inner.checksum, ipv4::TTL_STEP);
    let keep_df = pmtu_disc && inner.dont_fragment();
    let mut addrs = [0; 8];
    addrs[..4].copy_from_slice(&dest.tunnel_source.octets());
    addrs[4..].copy_from_slice(&dest.addr.octets());
    let mut outer = Ipv4Header {
        version_ihl: 0x45,
        tos: outer_tos(inner.tos),
        total_len: U16::new(meta.total_len.saturating_add(IPV4_LEN as u16)),
        // Only packets that may be fragmented need an identification: the inner one's is as unique.
        id: if keep_df { U16::new(0) } else { inner.id },
        fragment: U16::new(if keep_df { ipv4::DONT_FRAGMENT } else { 0 }),
        ttl: inner.ttl,
        protocol: l4::IPIP,
        checksum: [0; 2],
        addrs,
    };
    outer.seal();
    let headers = &mut frame.bytes_mut()[ETHER_LEN..ETHER_LEN + 2 * IPV4_LEN];
    headers[..IPV4_LEN].copy_from_slice(outer.as_bytes());
    headers[IPV4_LEN..].copy_from_slice(inner.as_bytes());
    Ok(())
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
