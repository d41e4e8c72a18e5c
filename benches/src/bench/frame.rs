//! The packets for the director: a template of headers, and the few bytes in which flows differ.
//!
//! A [`Record`] is 16 bytes, so that an array of millions of them takes little of the cache from
//! the director.

use core::net::Ipv4Addr;

use dataplane::wire::checksum;
use dataplane::wire::ether;
use dataplane::wire::ether::ETHER_LEN;
use dataplane::wire::ether::Mac;
use dataplane::wire::ipv4::IPV4_LEN;
use dataplane::wire::l4;
use dataplane::wire::l4::TCP_LEN;
use dataplane::wire::l4::UDP_LEN;
use dpdk::Mbuf;

const L3: usize = ETHER_LEN;
const L4: usize = L3 + IPV4_LEN;
const HEADERS: usize = L4 + TCP_LEN;
/// The byte that holds the tag: the last byte of the sequence number, or the eighth byte of a
/// datagram's data. No method changes it.
const TAG: usize = L4 + 7;
const UDP_TAG: usize = TAG + UDP_LEN;
/// Where the checksums lie.
const TCP_SUM: usize = L4 + 16;
const UDP_SUM: usize = L4 + 6;
/// The frame check sequence, which is on the wire but in no buffer.
const FCS: u16 = 4;
/// Bytes of a stamp: the room that the smallest frame has behind its headers.
const STAMP: usize = 6;
/// The bits of a time that a stamp holds. At a few gigahertz they wrap after about a day.
const STAMP_MASK: u64 = (1 << (8 * STAMP)) - 1;

/// The bytes that distinguish one flow's packets from another's, as they are in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Record {
    addrs: [u8; 8],
    ports: [u8; 4],
    /// One's-complement sum of the addresses.
    l3_sum: u16,
    /// One's-complement sum of the addresses and ports.
    l4_sum: u16,
}

impl Record {
    /// A packet from `from` to `to`.
    pub(super) fn new(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (from.0.octets(), to.0.octets());
        let ([i, j], [k, l]) = (from.1.to_be_bytes(), to.1.to_be_bytes());
        Self::of([a, b, c, d, e, f, g, h], [i, j, k, l])
    }

    /// The answer to a frame that the director sent to a real server; `None` if the frame is too
    /// short.
    pub(super) fn answer(frame: &[u8]) -> Option<Self> {
        let &[a, b, c, d, e, f, g, h] = frame.get(L3 + 12..)?.first_chunk()?;
        let &[i, j, k, l] = frame.get(L4..)?.first_chunk()?;
        Some(Self::of([e, f, g, h, a, b, c, d], [k, l, i, j]))
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> Ipv4Addr {
        let [a, b, c, d, ..] = self.addrs;
        Ipv4Addr::new(a, b, c, d)
    }

    fn of(addrs: [u8; 8], ports: [u8; 4]) -> Self {
        let l3_sum = checksum::sum(&addrs);
        Self { addrs, ports, l3_sum, l4_sum: checksum::add(l3_sum, checksum::sum(&ports)) }
    }
}

/// Reads the tag from a packet that the director has forwarded.
#[inline]
pub(super) fn tag(frame: &[u8]) -> Option<u8> {
    let outer = if frame.get(L3 + 9) == Some(&l4::IPIP) { IPV4_LEN } else { 0 };
    let udp = frame.get(outer + L3 + 9) == Some(&l4::UDP);
    frame.get(outer + if udp { UDP_TAG } else { TAG }).copied()
}

/// The bytes that all packets of one kind share.
#[derive(Clone, Debug)]
pub(super) struct Template {
    headers: [u8; HEADERS],
    /// Bytes in the buffer.
    len: u16,
    /// Checksums over all bytes that are not in a [`Record`].
    l3_sum: u16,
    l4_sum: u16,
    /// Where the checksum of TCP or UDP lies.
    sum_at: usize,
}

impl Template {
    /// TCP packets with `flags` and a payload of zeros, sent to `mac`, `frame` bytes long on the
    /// wire.
    pub(super) fn new(mac: Mac, flags: u8, frame: u16) -> Self {
        Self::tagged(mac, flags, frame, 0)
    }

    /// The same with a [`tag`].
    pub(super) fn tagged(mac: Mac, flags: u8, frame: u16, tag: u8) -> Self {
        Self::with(mac, frame, l4::TCP, TCP_SUM, |headers| {
            headers[TAG] = tag;
            headers[L4 + 12] = (TCP_LEN as u8 / 4) << 4;
            headers[L4 + 13] = flags;
            headers[L4 + 14] = 0xff; // window
        })
    }

    /// UDP datagrams with a payload of zeros and a [`tag`].
    pub(super) fn datagram(mac: Mac, frame: u16, tag: u8) -> Self {
        Self::with(mac, frame, l4::UDP, UDP_SUM, |headers| {
            headers[L4 + 4..L4 + 6].copy_from_slice(&(frame - FCS - L4 as u16).to_be_bytes());
            headers[UDP_TAG] = tag;
        })
    }

    fn with(
        mac: Mac,
        frame: u16,
        protocol: u8,
        sum_at: usize,
        fill: impl FnOnce(&mut [u8; HEADERS]),
    ) -> Self {
        let len = frame - FCS;
        let (ip_len, l4_len) = (len - L3 as u16, len - L4 as u16);
        let mut headers = [0; HEADERS];
        headers[..6].copy_from_slice(&mac.0);
        headers[6..12].copy_from_slice(&[2, 0, 0, 0, 0xff, 1]);
        headers[12..14].copy_from_slice(&ether::IPV4.to_be_bytes());
        headers[L3] = 0x45;
        headers[L3 + 2..L3 + 4].copy_from_slice(&ip_len.to_be_bytes());
        headers[L3 + 6] = 0x40; // don't fragment
        headers[L3 + 8] = 64; // TTL
        headers[L3 + 9] = protocol;
        fill(&mut headers);
        let l3_sum = checksum::sum(&headers[L3..L4]);
        let l4_sum =
            checksum::add(checksum::sum(&headers[L4..]), checksum::pseudo_v4([0; 8], protocol, l4_len));
        Self { headers, len, l3_sum, l4_sum, sum_at }
    }

    /// Bytes behind the headers.
    pub(super) fn payload(&self) -> usize {
        usize::from(self.len) - HEADERS
    }

    /// Writes the packet of `record` into an empty buffer.
    #[inline]
    pub(super) fn write(&self, record: &Record, frame: &mut Mbuf) {
        let Some(headers) = frame.append(usize::from(self.len)).and_then(|b| b.first_chunk_mut::<HEADERS>())
        else {
            return;
        };
        *headers = self.headers;
        let l3 = !checksum::add(self.l3_sum, record.l3_sum);
        let l4 = !checksum::add(self.l4_sum, record.l4_sum);
        headers[L3 + 10..L3 + 12].copy_from_slice(&l3.to_ne_bytes());
        headers[L3 + 12..L4].copy_from_slice(&record.addrs);
        headers[L4..L4 + 4].copy_from_slice(&record.ports);
        headers[self.sum_at..self.sum_at + 2].copy_from_slice(&l4.to_ne_bytes());
    }
}

/// Writes the time at which a packet of a [`Template`] was due into the packet, in cycles.
#[inline]
pub(super) fn stamp(frame: &mut Mbuf, due: u64) {
    write_stamp(frame.data_mut(), due);
}

#[inline]
fn write_stamp(frame: &mut [u8], due: u64) {
    let [a, b, c, d, e, f, _, _] = due.to_le_bytes();
    let bytes = [a, b, c, d, e, f];
    // The bytes were zero before, so nothing is subtracted from the sum.
    let sum = checksum::sum(&bytes);
    let Some(headers) = frame.first_chunk_mut::<{ HEADERS + STAMP }>() else { return };
    headers[HEADERS..].copy_from_slice(&bytes);
    let field = [headers[L4 + 16], headers[L4 + 17]];
    headers[L4 + 16..L4 + 18].copy_from_slice(&checksum::apply(field, sum));
}

/// How many cycles before `now` a stamped packet was due. `payload` is the number of bytes behind
/// the headers; the director may have put a header in front.
#[inline]
pub(super) fn age(frame: &[u8], payload: usize, now: u64) -> Option<u64> {
    let &[a, b, c, d, e, f] = frame.get(frame.len().checked_sub(payload)?..)?.first_chunk::<STAMP>()?;
    Some(now.wrapping_sub(u64::from_le_bytes([a, b, c, d, e, f, 0, 0])) & STAMP_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_behind_any_headers_and_keeps_the_checksum_right() {
        for len in [60, 1514] {
            let template = Template::new(Mac([2, 0, 0, 0, 0, 1]), 0x10, len + FCS);
            let mut frame = vec![0; usize::from(len)];
            frame[..HEADERS].copy_from_slice(&template.headers);
            frame[L4 + 16..L4 + 18].copy_from_slice(&(!template.l4_sum).to_ne_bytes());
            let now = 0x1234_5678_9abc_def0;
            write_stamp(&mut frame, now - 2600);
            let pseudo = checksum::pseudo_v4([0; 8], l4::TCP, len - L4 as u16);
            assert_eq!(checksum::add(checksum::sum(&frame[L4..]), pseudo), 0xffff);
            let tunnelled = [&[0; IPV4_LEN], &frame[..]].concat();
            assert_eq!(age(&tunnelled, template.payload(), now), Some(2600));
        }
    }

    #[test]
    fn an_age_is_right_when_the_stamp_has_wrapped() {
        let mut frame = [0; HEADERS + STAMP];
        write_stamp(&mut frame, STAMP_MASK - 9);
        assert_eq!(age(&frame, STAMP, STAMP_MASK + 11), Some(20));
    }
}
