//! Packets whose next hop did not answer. Their senders are told.
//!
//! Such a packet comes back to the worker as it should have left. Its connection is found as for
//! the quote of an ICMP error. Then the packet becomes again what its sender sent, except for its
//! TTL. Linux does the same in two steps: the neighbour's failure makes an error about the packet
//! as it should have left, and IPVS translates that error when it leaves
//! (`net/ipv4/route.c: ipv4_link_failure`,
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
    /// Drops a packet whose next hop did not answer. Its frame becomes an error to its sender, if
    /// the sender is known and the rate limit allows it. No error is sent about an ICMP error. None
    /// is sent about packets of one-packet services either, because they have no connection.
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
                // Linux first sends an error about the outer packet to itself, and counts that too.
                packets.add(1);
                bytes.add(u64::from(meta.total_len));
            }
        }
        Verdict::Answer(REASON, egress)
    }
}

/// The director's own address on the path to `client`. Errors about packets that are neither local
/// nor rewritten come from this address.
fn own_address(snapshot: &Snapshot, client: Ipv4Addr) -> Option<Ipv4Addr> {
    let (adjacency, _) = forward::toward(snapshot, client).ok()?;
    snapshot.paths.ports.get(adjacency.port()?.index())?.addr
}

/// Parses a frame that should have left. If it is in a tunnel, removes the outer header.
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
