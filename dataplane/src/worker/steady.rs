//! The short way for packets of established connections, which nearly all packets take.
//!
//! [`Flows::steady`] does in one function what [`super::flows`] does step by step. It carries
//! packets about which nothing must be decided: the connection is judged by the present rules, its
//! next hop is known, and the packet fits the MTU. For any other packet it changes nothing, and the
//! packet takes the steps one by one. Both ways must give the same result:
//! `dataplane/tests/all/steady.rs` compares them.

use sched::DestId;

use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::conn::entry::Hot;
use crate::conn::table::Candidate;
use crate::conn::tcp::Row;
use crate::conn::tcp::TcpState;
use crate::forward::tunnel;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::snapshot::route::Reach;
use crate::stats::WorkerStats;
use crate::wire::checksum;
use crate::wire::ether::ETHER_LEN;
use crate::wire::ipv4;
use crate::wire::ipv4::IPV4_LEN;
use crate::wire::l4::Transport;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;

/// Offset of the TCP or UDP header if the IP header has no options.
const L4: usize = ETHER_LEN + IPV4_LEN;
/// Length of the headers up to the ports.
const HEAD: usize = L4 + 4;
const TTL: usize = ETHER_LEN + 8;
const CHECKSUM: usize = ETHER_LEN + 10;
const ADDRS: usize = ETHER_LEN + 12;
/// Packets of connections with any of these bits never take the short way.
const UNSTEADY: u16 =
    Flags::GONE.bits() | Flags::TEMPLATE.bits() | Flags::MEASURED.bits() | Flags::OPENING.bits();

impl Flows {
    /// Has the lines fetched that [`Self::steady`] touches besides the hot line. The hot line must
    /// have arrived.
    #[inline(always)]
    pub(crate) fn peek(&self, snapshot: &Snapshot, candidate: Candidate) {
        if let Some((dest, hop)) = self.table.leads_to(candidate) {
            self.stats.prefetch(DestId::new(dest));
            snapshot.paths.adjacencies.prefetch(hop as usize);
        }
    }

    /// Forwards a packet of an established connection. Returns the port by which it leaves. For any
    /// other packet returns `None` and changes nothing.
    #[inline(always)]
    pub(crate) fn steady<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        candidate: Candidate,
    ) -> Option<PortId> {
        if meta.class != Class::Flow || usize::from(meta.l4) != L4 {
            return None;
        }
        let (hot, direction) = self.table.guessed(meta.key, candidate)?;
        if hot.rules != snapshot.generation || !is_steady(hot, direction, meta) {
            return None;
        }
        let adjacency = snapshot.paths.adjacency(hot.hops[direction as usize])?;
        let Reach::Port(port) = adjacency.reach else { return None };
        let (head, rest) = frame.bytes_mut().split_first_chunk_mut::<HEAD>()?;
        if head[TTL] <= 1 {
            return None;
        }
        match Method::from_bits(hot.flags.bits()) {
            // Linux routes a reply that passes the director anyway.
            Method::Tunnel | Method::DirectRoute if direction == Direction::Reply => return None,
            Method::Tunnel => {
                let dest = snapshot.dest(DestId::new(hot.dest))?;
                if !tunnel::fits(meta.total_len, adjacency.mtu) {
                    return None;
                }
                let pmtu_disc = snapshot.tunables.pmtu_disc;
                if !tunnel::send_through(frame, meta.total_len, dest, pmtu_disc, &adjacency.header) {
                    return None;
                }
            }
            _ if meta.total_len > adjacency.mtu => return None,
            Method::DirectRoute => {
                lower_ttl(head, ipv4::TTL_STEP);
                head[..ETHER_LEN].copy_from_slice(&adjacency.header);
            }
            Method::Masquerade | Method::FullNat => {
                let transport = meta.key.transport();
                let at = match transport {
                    Transport::Tcp => 12,
                    Transport::Udp => 2,
                };
                let field = rest.get_mut(at..)?.first_chunk_mut::<2>()?;
                let delta = hot.l4_delta(direction);
                *field = match transport {
                    Transport::Tcp => checksum::apply(*field, delta),
                    Transport::Udp => checksum::apply_udp(*field, delta),
                };
                let other = match direction {
                    Direction::Request => hot.reply,
                    Direction::Reply => hot.request,
                }
                .reversed();
                lower_ttl(head, checksum::add(hot.l3_delta(direction), ipv4::TTL_STEP));
                head[ADDRS..ADDRS + 8].copy_from_slice(&other.wire_addrs());
                head[L4..].copy_from_slice(&other.wire_ports());
                head[..ETHER_LEN].copy_from_slice(&adjacency.header);
            }
        }
        hot.in_pkts = hot.in_pkts.saturating_add(u8::from(direction == Direction::Request));
        count(&self.stats, DestId::new(hot.dest), direction, meta.total_len);
        if meta.key.transport() == Transport::Udp {
            hot.expires = self.now.plus(snapshot.tunables.udp_timeout);
            return Some(port);
        }
        if is_settled(hot, meta) {
            hot.expires = self.now.plus(snapshot.tunables.tcp_timeouts[TcpState::Established as usize]);
            return Some(port);
        }
        let row = match direction {
            Direction::Reply => Row::Output,
            Direction::Request if hot.flags.has(Flags::NOOUTPUT) => Row::InputOnly,
            Direction::Request => Row::Input,
        };
        let old = TcpState::from_raw(hot.state);
        let new = old.next(row, meta.tcp_flags);
        hot.state = new as u8;
        hot.expires = self.now.plus(snapshot.tunables.tcp_timeouts[new as usize]);
        if new != old
            && let Some(id) = candidate.id()
        {
            self.state_changed(snapshot, id, old, new);
        }
        Some(port)
    }
}

/// Whether nothing must be decided about the packet and its connection.
#[inline(always)]
fn is_steady(hot: &Hot, direction: Direction, meta: &PacketMeta) -> bool {
    let odd = hot.flags.bits() & UNSTEADY != 0;
    let plain = match direction {
        // A SYN may begin a new connection.
        Direction::Request => meta.tcp_flags & flag::SYN == 0,
        Direction::Reply => {
            !hot.flags.has(Flags::NOOUTPUT) && (meta.key.transport() == Transport::Tcp || hot.state != 0)
        }
    };
    plain && !odd
}

/// Whether the connection is established and stays so after this TCP packet.
#[inline(always)]
fn is_settled(hot: &Hot, meta: &PacketMeta) -> bool {
    meta.tcp_flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK) == flag::ACK
        && hot.state == TcpState::Established as u8
}

/// Lowers the TTL, and applies `delta` to the header's checksum.
#[inline(always)]
fn lower_ttl(head: &mut [u8; HEAD], delta: u16) {
    head[TTL] -= 1;
    let sum = checksum::apply([head[CHECKSUM], head[CHECKSUM + 1]], delta);
    head[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum);
}

#[inline(always)]
fn count(stats: &WorkerStats, dest: DestId, direction: Direction, total_len: u16) {
    let Some(stats) = stats.dest(dest) else { return };
    let (packets, bytes) = match direction {
        Direction::Request => (&stats.in_pkts, &stats.in_bytes),
        Direction::Reply => (&stats.out_pkts, &stats.out_bytes),
    };
    packets.add(1);
    bytes.add(u64::from(total_len));
}
