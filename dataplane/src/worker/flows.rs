//! One worker's connections, and the pipeline that carries a packet.
//!
//! `Flows::handle` does what `net/netfilter/ipvs/ip_vs_core.c: ip_vs_in, ip_vs_out` do. It finds
//! the connection, judges it (`judge`), counts the packet, steps the state (`step`), forwards the
//! packet and winds the timer. Connections are made in `stranger`, `persist` and `create`. They end
//! in `expire`.

use std::sync::Arc;

use sched::DestId;
use sched::XorShift;

use crate::conn::entry::ConnId;
use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::conn::entry::NONE;
use crate::conn::table::Candidate;
use crate::conn::table::FlowTable;
use crate::conn::tcp::Row;
use crate::conn::wheel::Wheel;
use crate::epoch::WorkerToken;
use crate::forward;
use crate::forward::Refusal;
use crate::forward::limit::IcmpLimiter;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::secret::Secrets;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::stats::WorkerStats;
use crate::time::Ticks;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::wire::l4::flag;
use crate::worker::defence::Defence;
use crate::worker::expire::DueBatch;
use crate::worker::fragments::Trails;
use crate::worker::held_up::HeldUp;
use crate::worker::offload::Offload;
use crate::worker::outcome::Outcome;
use crate::worker::source;

/// A worker's connections, and all that the packet path needs besides them.
pub struct Flows {
    pub(crate) table: FlowTable,
    pub(crate) wheel: Wheel,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) token: WorkerToken,
    pub(crate) random: XorShift,
    pub(crate) now: Ticks,
    /// While a packet replaces its connection: the destination of the replaced connection, which
    /// counts an error about the packet. Otherwise [`NONE`].
    pub(crate) replaced: u32,
    pub(super) limiter: IcmpLimiter,
    pub(super) icmp_id: u16,
    /// The same moment as `now`, in microseconds since the start, modulo 2^32.
    pub(crate) micros: u32,
    /// When the worker itself was last late. That time must not count as a real server's response
    /// time.
    pub(super) held_up: HeldUp,
    pub(super) defence: Defence,
    /// The local port with which destinations begin.
    pub(super) first_port: u32,
    /// Due timers that are being checked.
    pub(super) due: DueBatch,
    pub(super) trails: Trails,
    pub(super) offload: Offload,
    /// When the schedulers were last tended.
    pub(super) tended: Ticks,
    /// How many estimator ticks this worker has seen.
    pub(super) rate_ticks: u32,
}

/// The memory of a worker's connections, still empty. Making large tables takes a while.
pub struct Tables {
    table: FlowTable,
    wheel: Wheel,
    secrets: Secrets,
}

impl Tables {
    /// Room for `capacity` connections. All memory is taken and written. Timers start at `now`.
    pub fn new(capacity: u32, secrets: Secrets, now: Ticks) -> Self {
        Self { table: FlowTable::new(capacity, secrets.table), wheel: Wheel::new(capacity, now), secrets }
    }
}

impl Flows {
    /// No connections, with room for `capacity`.
    pub fn new(
        capacity: u32,
        secrets: Secrets,
        stats: Arc<WorkerStats>,
        token: WorkerToken,
        now: Ticks,
    ) -> Self {
        Self::over(Tables::new(capacity, secrets, now), stats, token, now)
    }

    /// As [`Self::new`], with tables that were made before.
    pub fn over(tables: Tables, stats: Arc<WorkerStats>, token: WorkerToken, now: Ticks) -> Self {
        let Tables { table, wheel, secrets } = tables;
        Self {
            table,
            wheel,
            stats,
            token,
            random: XorShift::new(secrets.choices),
            now,
            replaced: NONE,
            limiter: IcmpLimiter::default(),
            icmp_id: secrets.icmp_id,
            micros: 0,
            held_up: HeldUp::default(),
            defence: Defence::new(secrets.lots, now),
            first_port: secrets.ports,
            due: DueBatch::default(),
            trails: Trails::default(),
            offload: Offload::new(now),
            tended: now,
            rate_ticks: 0,
        }
    }

    /// How many connections there is room for.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// The memory of the tables, in bytes. It was taken at the start.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.wheel.memory_bytes()
    }

    /// Carries one frame through the steps of its class.
    #[inline(never)]
    pub(crate) fn handle<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        candidate: Candidate,
        ingress: PortId,
    ) -> Outcome {
        let verdict = match meta.class {
            Class::Flow => {
                if source::has_options(meta)
                    && let Err(reason) = source::inspect_options(snapshot, frame.bytes(), meta, ingress)
                {
                    return Verdict::Drop(reason).into();
                }
                return self.find(snapshot, frame, meta, candidate, ingress);
            }
            Class::Astray => {
                let options = source::inspect_options(snapshot, frame.bytes(), meta, ingress);
                let looked = options.and_then(|()| self.inspect_sender(snapshot, meta, candidate, ingress));
                match looked {
                    Ok(()) => return self.find(snapshot, frame, meta, candidate, ingress),
                    Err(reason) => Verdict::Drop(reason),
                }
            }
            Class::FirstFragment | Class::LaterFragment => {
                return self.fragment(snapshot, frame.bytes(), meta, candidate, ingress);
            }
            Class::Host => Verdict::Forward(Egress::Host),
            Class::IcmpError => return self.icmp_error(snapshot, frame, meta, ingress),
            Class::Drop(reason) => Verdict::Drop(reason),
        };
        verdict.into()
    }

    /// Handles a TCP or UDP packet whose sender and options are accepted: finds its connection.
    #[inline]
    fn find<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        candidate: Candidate,
        ingress: PortId,
    ) -> Outcome {
        match self.table.confirm(meta.key, candidate) {
            Some((id, _)) if self.is_opening(id) => Outcome::Early,
            Some((id, Direction::Request)) => self.request(snapshot, frame, meta, id, ingress),
            Some((id, Direction::Reply)) => self.reply(snapshot, frame, meta, id, ingress).into(),
            None => self.stranger(snapshot, frame, meta, ingress),
        }
    }

    /// Handles a packet from a client, of a known connection.
    #[inline]
    fn request<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        id: ConnId,
        ingress: PortId,
    ) -> Outcome {
        if meta.tcp_flags & flag::SYN != 0 && self.is_to_be_reused(snapshot, id) {
            return self.replace(snapshot, frame, meta, id, ingress);
        }
        let stale = self.table.hot(id).rules != snapshot.generation;
        if stale {
            self.judge(snapshot, id);
        }
        if self.table.hot(id).flags.has(Flags::GONE) {
            if snapshot.services.is_empty() {
                // Without services IPVS does not see the packet, because it removes its hooks
                // (`ip_vs_ctl.c: __ip_vs_del_service`). Then Linux answers with a reset.
                return Verdict::Forward(Egress::Host).into();
            }
            if !snapshot.tunables.expire_nodest_conn {
                return Verdict::Drop(DropReason::DestinationGone).into();
            }
            return self.replace(snapshot, frame, meta, id, ingress);
        }
        if meta.tcp_flags & flag::SYN != 0 {
            self.offload.look_closely(self.now);
        }
        self.step_request(snapshot, meta, id);
        let verdict = self.send_request(snapshot, frame, meta, id);
        if stale {
            // Timeouts may have become shorter.
            self.wind(id);
        }
        verdict.into()
    }

    /// Counts and forwards a request after the state was stepped.
    #[inline]
    pub(crate) fn send_request<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        id: ConnId,
    ) -> Verdict {
        let hot = self.table.hot_mut(id);
        let dest = hot.dest;
        if let Some(stats) = self.stats.dest(DestId::new(dest)) {
            stats.in_pkts.add(1);
            stats.in_bytes.add(u64::from(meta.total_len));
        }
        hot.in_pkts = hot.in_pkts.saturating_add(1);
        match forward::send(snapshot, frame, meta, hot, Direction::Request) {
            Ok(egress) => Verdict::Forward(egress),
            Err(refusal) => {
                // If the method does not translate, the error's quote is the reverse of a reply. So
                // in Linux the error passes the connection when it leaves, and is counted there.
                let counts = !Method::from_bits(hot.flags.bits()).is_translated();
                let dest = if counts { dest } else { NONE };
                self.refuse(snapshot, frame, meta, refusal, meta.key.dst(), dest)
            }
        }
    }

    /// Handles a packet from a real server, of a known connection.
    #[inline]
    fn reply<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        id: ConnId,
        ingress: PortId,
    ) -> Verdict {
        let stale = self.table.hot(id).rules != snapshot.generation;
        if stale {
            self.judge(snapshot, id);
        }
        let hot = self.table.hot_mut(id);
        let (dest, flags) = (hot.dest, hot.flags);
        let sent = if Method::from_bits(flags.bits()).is_translated() {
            forward::send(snapshot, frame, meta, hot, Direction::Reply)
        } else {
            // A reply with DR or TUN that passes the director anyway is counted and not changed.
            // Linux routes it.
            Ok(Egress::Host)
        };
        if let Err(refusal @ Refusal::Tell(..)) = sent {
            // Linux refuses the packet before IPVS sees it (`net/ipv4/ip_forward.c: ip_forward`).
            let facts = snapshot.paths.ports.get(ingress.index());
            let source = facts.and_then(|port| port.addr).unwrap_or(meta.key.dst());
            return self.refuse(snapshot, frame, meta, refusal, source, NONE);
        }
        let hot = self.table.hot_mut(id);
        hot.flags = flags.without(Flags::NOOUTPUT);
        if let Some(stats) = self.stats.dest(DestId::new(dest)).filter(|_| !flags.has(Flags::GONE)) {
            stats.out_pkts.add(1);
            stats.out_bytes.add(u64::from(meta.total_len));
        }
        self.step(snapshot, meta, id, Row::Output);
        if flags.has(Flags::MEASURED) {
            self.measure(snapshot, meta, id);
        }
        if stale {
            self.wind(id);
        }
        match sent {
            Ok(egress) => Verdict::Forward(egress),
            Err(Refusal::Drop(reason) | Refusal::Tell(reason, _)) => Verdict::Drop(reason),
        }
    }
}
