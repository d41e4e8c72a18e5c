//! Packets whose next hop did not answer: their senders are told.
//!
//! Such a packet comes back as it was to leave. From it its connection is found, as from the quote
//! of an ICMP error, and it becomes again what its sender sent, but for its TTL. Linux does the
//! same in two steps: the neighbour's failure makes an error about the packet as it was to leave,
//! and IPVS translates that error on its way out (`net/ipv4/route.c: ipv4_link_failure`,
//! `net/netfilter/ipvs/ip_vs_core.c: ip_vs_out_icmp, ip_vs_in_icmp`).

use core::net::Ipv4Addr;

use sched::DestId;

use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::forward;
use crate::io::Frame;
use crate::io::RxChecksum;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::verdict::DropReason;
use crate::verdict::Verdict;
use crate::wire::ether::ETHER_LEN;
use crate::wire::ether::IPV4;
use crate::wire::ether::Mac;
use crate::wire::icmp::IcmpError;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::l4;
use crate::worker::flows::Flows;

impl Flows {
    /// What becomes of a packet whose next hop did not answer. It is dropped; its frame becomes an
    /// error to whoever sent it, when that is known and allowed. Nothing is said about errors,
    /// nor to senders of one-packet services, of which nothing is remembered.
    #[cold]
    pub(crate) fn unreachable<F: Frame>(&mut self, snapshot: &Snapshot, frame: &mut F) -> Verdict {
        const REASON: DropReason = DropReason::NoNeighbour;
        let Some(mut meta) = read(frame) else { return Verdict::Drop(REASON) };
        let Some((id, direction)) = self.table.find(meta.key.reversed()) else {
            return Verdict::Drop(REASON);
        };
        let hot = self.table.hot(id);
        let (dest, flags) = (DestId::new(hot.dest), hot.flags);
        let method = Method::from_bits(flags.bits());
        let source = match (method, direction) {
            (Method::DirectRoute, Direction::Reply) => own_address(snapshot, hot.request.src()),
            _ => None,
        };
        let source = source.unwrap_or(hot.request.dst());
        forward::restore(frame, &mut meta, hot, direction);
        let Some((egress, len)) = self.tell(snapshot, frame, &meta, IcmpError::HostUnreachable, source)
        else {
            return Verdict::Drop(REASON);
        };
        if let Some(stats) = self.stats.dest(dest).filter(|_| !flags.has(Flags::GONE)) {
            let (packets, bytes) = match direction {
                Direction::Request => (&stats.in_pkts, &stats.in_bytes),
                Direction::Reply => (&stats.out_pkts, &stats.out_bytes),
            };
            packets.add(1);
            bytes.add(u64::from(len));
            if method == Method::Tunnel {
                // Linux tells itself first, about the tunnel, and counts that too.
                packets.add(1);
                bytes.add(u64::from(meta.total_len));
            }
        }
        Verdict::Answer(REASON, egress)
    }
}

/// The director's own address on the way to `client`: what is neither local nor rewritten is
/// answered from there.
fn own_address(snapshot: &Snapshot, client: Ipv4Addr) -> Option<Ipv4Addr> {
    let (adjacency, _) = forward::toward(snapshot, client).ok()?;
    snapshot.paths.ports.get(adjacency.port()?.index())?.addr
}

/// Reads a frame that was to leave; of one in a tunnel the outer header goes.
fn read<F: Frame>(frame: &mut F) -> Option<PacketMeta> {
    let outer: &[u8; ETHER_LEN + IPV4_LEN] = frame.bytes().first_chunk()?;
    if outer[ETHER_LEN] == 0x45 && outer[ETHER_LEN + 9] == l4::IPIP {
        frame.shrink_front(IPV4_LEN);
        frame.bytes_mut().get_mut(12..ETHER_LEN)?.copy_from_slice(&IPV4.to_be_bytes());
    }
    let to = Mac(*frame.bytes().first_chunk()?);
    let meta = PacketMeta::parse(frame.bytes(), to, RxChecksum::Good, false);
    (meta.class == Class::Flow).then_some(meta)
}
