//! One worker's connections and what packets do to them.
//!
//! `Flows::handle` is the pipeline of `net/netfilter/ipvs/ip_vs_core.c: ip_vs_in, ip_vs_out`: find
//! the connection, judge it, count, step its state, forward, wind its timer. What makes connections
//! is in [`super::create`] and [`super::persist`], what ends them in [`super::expire`].

use core::net::Ipv4Addr;
use std::sync::Arc;

use sched::DestId;
use sched::Kind;
use sched::XorShift;

use crate::conn::entry::ConnId;
use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::conn::entry::NONE;
use crate::conn::table::Candidate;
use crate::conn::table::FlowTable;
use crate::conn::tcp::Row;
use crate::conn::tcp::TcpState;
use crate::conn::wheel::Wheel;
use crate::epoch::WorkerToken;
use crate::forward;
use crate::forward::Refusal;
use crate::forward::icmp;
use crate::forward::limit::IcmpLimiter;
use crate::forward::quoted;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::secret::Secrets;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::snapshot::route::NextHop;
use crate::stats::WorkerStats;
use crate::time::Ticks;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::wire::icmp::IcmpError;
use crate::wire::l4;
use crate::wire::l4::flag;
use crate::worker::defence::Defence;
use crate::worker::expire::DueBatch;
use crate::worker::fragments::Trails;
use crate::worker::held_up::HeldUp;
use crate::worker::offload::Offload;
use crate::worker::outcome::Outcome;
use crate::worker::source;

/// A worker's connections, with all that they touch.
pub struct Flows {
    pub(crate) table: FlowTable,
    pub(crate) wheel: Wheel,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) token: WorkerToken,
    pub(crate) random: XorShift,
    pub(crate) now: Ticks,
    /// The destination that counts an error about the packet at hand, as its connection was only
    /// just replaced.
    pub(crate) replaced: u32,
    limiter: IcmpLimiter,
    icmp_id: u16,
    /// The same moment as `now`, in microseconds.
    pub(crate) micros: u32,
    /// When the worker was last late, which is not to be laid at a real server's door.
    pub(super) held_up: HeldUp,
    pub(super) defence: Defence,
    /// Where destinations begin among the local ports.
    pub(super) first_port: u32,
    /// Timers that are being looked at.
    pub(super) due: DueBatch,
    pub(super) trails: Trails,
    pub(super) offload: Offload,
    /// When the schedulers were last tended.
    tended: Ticks,
    /// Estimator ticks seen.
    rate_ticks: u32,
}

/// Microseconds before which nobody sends a datagram again that was not answered.
const SENT_AGAIN: u32 = 200_000;
/// Ticks between two looks after the schedulers.
const TEND_TICKS: i32 = 10;

/// The memory of a worker's connections, empty. To make it takes a while when there are many.
pub struct Tables {
    table: FlowTable,
    wheel: Wheel,
    secrets: Secrets,
}

impl Tables {
    /// Room for `capacity` connections, all of it taken and written to; timers count from `now`.
    pub fn new(capacity: u32, secrets: Secrets, now: Ticks) -> Self {
        Self { table: FlowTable::new(capacity, secrets.table), wheel: Wheel::new(capacity, now), secrets }
    }
}

impl Flows {
    /// No connections yet, room for `capacity`.
    pub fn new(
        capacity: u32,
        secrets: Secrets,
        stats: Arc<WorkerStats>,
        token: WorkerToken,
        now: Ticks,
    ) -> Self {
        Self::over(Tables::new(capacity, secrets, now), stats, token, now)
    }

    /// The same over tables that were made before.
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

    /// Connections that there is room for.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// Memory of the tables, all taken at the start.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.wheel.memory_bytes()
    }

    /// Carries one frame from what it says to where it goes.
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

    /// A TCP or UDP packet that may be here: finds its connection.
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

    /// A packet from a client, of a known connection.
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
                // Without any service IPVS is not in the packet's way, and Linux resets what it
                // knows nothing of (`ip_vs_ctl.c: __ip_vs_del_service`, which takes its hooks
                // away).
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

    /// Treats a packet as if its connection were not. Linux ends that one with its next tick, so
    /// the scheduler still sees it counted (`ip_vs_conn.c: ip_vs_conn_expire_now`).
    #[inline(never)]
    fn replace<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        id: ConnId,
        ingress: PortId,
    ) -> Outcome {
        if self.table.cold(id).controlled != 0 {
            return self.stranger(snapshot, frame, meta, ingress);
        }
        let old = self.unlink(snapshot, id);
        // Nor is it gone yet when an error about the packet passes by.
        if !old.flags.has(Flags::GONE) && !Method::from_bits(old.flags.bits()).is_translated() {
            self.replaced = old.dest;
        }
        let outcome = self.stranger(snapshot, frame, meta, ingress);
        self.replaced = NONE;
        self.unbind(snapshot, &old);
        outcome
    }

    /// What a request does to its connection: steps the state and winds the timer.
    #[inline]
    pub(crate) fn step_request(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId) {
        let row = if self.table.hot(id).flags.has(Flags::NOOUTPUT) { Row::InputOnly } else { Row::Input };
        self.step(snapshot, meta, id, row);
    }

    /// Counts a request that its connection has taken note of, and forwards it.
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
        match forward::forward(snapshot, frame, meta, hot, Direction::Request) {
            Ok(egress) => Verdict::Forward(egress),
            Err(refusal) => {
                // The error meets the connection on its way out when its quote is the reverse of a
                // reply.
                let counts = !Method::from_bits(hot.flags.bits()).is_translated();
                let dest = if counts { dest } else { NONE };
                self.refuse(snapshot, frame, meta, refusal, meta.key.dst(), dest)
            }
        }
    }

    /// A packet from a real server, of a known connection.
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
            forward::forward(snapshot, frame, meta, hot, Direction::Reply)
        } else {
            // A DR or TUN reply that passes here all the same: seen, not changed; Linux routes it.
            Ok(Egress::Host)
        };
        if let Err(refusal @ Refusal::Tell(..)) = sent {
            // Linux finds this out before IPVS sees the packet (`net/ipv4/ip_forward.c:
            // ip_forward`).
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

    /// Steps the protocol's state and winds the timer (`ip_vs_proto_tcp.c: set_tcp_state`).
    #[inline]
    fn step(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId, row: Row) {
        let now = self.now;
        let hot = self.table.hot_mut(id);
        if meta.key.protocol() != l4::TCP {
            hot.expires = now.plus(snapshot.tunables.udp_timeout);
            if row == Row::Output && hot.state == 0 {
                // Once is enough; the state of UDP means nothing else.
                hot.state = 1;
                self.assure(id);
            }
            return;
        }
        let old = TcpState::from_raw(hot.state);
        let new = old.next(row, meta.tcp_flags);
        let timeout = snapshot.tunables.tcp_timeouts[new as usize];
        hot.expires = now.plus(timeout);
        if new != old {
            hot.state = new as u8;
            self.state_changed(snapshot, id, old, new);
        }
    }

    /// What a change of TCP state entails: active or inactive, an assured template, an earlier end.
    #[inline(never)]
    pub(super) fn state_changed(&mut self, snapshot: &Snapshot, id: ConnId, old: TcpState, new: TcpState) {
        self.defence.note(old, new);
        let hot = self.table.hot_mut(id);
        let (dest, inactive) = (hot.dest, hot.flags.has(Flags::INACTIVE));
        if inactive == new.is_active() {
            hot.flags =
                if inactive { hot.flags.without(Flags::INACTIVE) } else { hot.flags.with(Flags::INACTIVE) };
            if let Some(stats) = self.stats.dest(DestId::new(dest)) {
                let (from, to) = if inactive {
                    (&stats.inactive, &stats.active)
                } else {
                    (&stats.active, &stats.inactive)
                };
                from.down();
                to.up();
                self.load_changed(snapshot, DestId::new(dest));
            }
        }
        if new == TcpState::Established {
            self.assure(id);
        }
        self.wind(id);
    }

    /// Marks the template that `id` hangs on as having led somewhere.
    fn assure(&mut self, id: ConnId) {
        if self.table.hot(id).flags.has(Flags::CONTROLLED) {
            let control = self.table.cold(id).control;
            let template = self.table.hot_mut(ConnId::new(control));
            template.flags = template.flags.with(Flags::ASSURED);
        }
    }

    /// Has schedulers drop what they remember for too long, a bounded part of it each time, and
    /// look anew at what is measured once an estimator tick; ten times a second. Whether it was
    /// time.
    pub(crate) fn tend_schedulers(&mut self, snapshot: &Snapshot) -> bool {
        if self.now.since(self.tended) < TEND_TICKS {
            return false;
        }
        self.tended = self.now;
        let rate_ticks = self.stats.rate_ticks();
        let measured = rate_ticks != self.rate_ticks;
        self.rate_ticks = rate_ticks;
        for service in snapshot.services.tended() {
            let ctx = sched::Ctx {
                now: self.now.millis(),
                random: &mut self.random,
                tuning: sched::Tuning::default(),
            };
            let state = service.cells.states.get_mut(&mut self.token);
            state.tick(&ctx);
            if measured && matches!(service.plan.kind(), Kind::Lt | Kind::Wlt | Kind::Wrt) {
                state.loads_changed();
            }
        }
        true
    }

    /// The first reply of a connection whose real server is being timed. It says nothing when the
    /// first packet had been sent again, as nobody knows which of them is answered (Karn's
    /// rule, RFC 6298 section 3), nor when it was this worker that was late.
    #[cold]
    fn measure(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId) {
        let hot = self.table.hot_mut(id);
        hot.flags = hot.flags.without(Flags::MEASURED);
        let (dest, again) = (DestId::new(hot.dest), hot.in_pkts != 1);
        let micros = self.micros.wrapping_sub(self.table.cold(id).asked);
        let answers = if meta.key.protocol() == l4::TCP {
            meta.tcp_flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK && !again
        } else {
            // Datagrams may come in a row without one being the other again.
            !again || micros < SENT_AGAIN
        };
        if !answers || self.held_up.spoils(micros, self.micros) {
            return;
        }
        if self.stats.answered_after(dest, micros, self.now) {
            // What is assumed of servers that have not answered may be another from now on.
            self.loads_changed(snapshot, dest);
        }
        self.load_changed(snapshot, dest);
    }

    /// Lets the service's scheduler know that a destination's numbers moved.
    pub(crate) fn load_changed(&mut self, snapshot: &Snapshot, dest: DestId) {
        let Some(info) = snapshot.dest(dest).filter(|info| info.weighed && info.available) else { return };
        let Some(service) = snapshot.services.by_id(info.service) else { return };
        let state = service.cells.states.get_mut(&mut self.token);
        state.load_changed(&service.plan, dest, &*self.stats);
    }

    /// Has the scheduler of a destination's service look at all destinations anew.
    fn loads_changed(&mut self, snapshot: &Snapshot, dest: DestId) {
        let Some(info) = snapshot.dest(dest).filter(|info| info.available) else { return };
        let Some(service) = snapshot.services.by_id(info.service) else { return };
        service.cells.states.get_mut(&mut self.token).loads_changed();
    }

    /// Whether a SYN on this connection starts a new one (`ip_vs_core.c: is_new_conn_expected`).
    #[cold]
    fn is_to_be_reused(&self, snapshot: &Snapshot, id: ConnId) -> bool {
        let (hot, cold, tunables) = (self.table.hot(id), self.table.cold(id), &snapshot.tunables);
        if tunables.expire_nodest_conn
            && snapshot.dest(DestId::new(hot.dest)).is_some_and(|info| info.weight == 0)
        {
            return true;
        }
        if tunables.conn_reuse_mode == 0 || cold.control != NONE {
            return false;
        }
        match TcpState::from_raw(hot.state) {
            TcpState::TimeWait | TcpState::Close => true,
            TcpState::FinWait => tunables.conn_reuse_mode & 2 != 0 && hot.flags.has(Flags::NOOUTPUT),
            _ => false,
        }
    }

    /// Looks at a connection again because the rules or routes changed.
    #[cold]
    pub(crate) fn judge(&mut self, snapshot: &Snapshot, id: ConnId) {
        let hot = self.table.hot_mut(id);
        hot.rules = snapshot.generation;
        if let Some(info) = snapshot.dest(DestId::new(hot.dest)) {
            hot.flags =
                if info.available { hot.flags.without(Flags::GONE) } else { hot.flags.with(Flags::GONE) };
            hot.hops[Direction::Request as usize] = info.hop;
        }
        hot.hops[Direction::Reply as usize] = match snapshot.paths.next_hop(hot.request.src()) {
            NextHop::Known(adjacency) => adjacency,
            _ => NONE,
        };
    }

    /// An ICMP error from somebody else, perhaps about one of our connections.
    #[cold]
    fn icmp_error<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        ingress: PortId,
    ) -> Outcome {
        let quote = match quoted::read(frame.bytes(), meta) {
            Ok(Some(quote)) => quote,
            Ok(None) => return self.tunnel_error(snapshot, frame, meta).into(),
            Err(reason) => return Verdict::Drop(reason).into(),
        };
        let Some((id, direction)) = self.table.find(quote.key.reversed()) else {
            return Outcome::Unknown;
        };
        if self.is_opening(id) {
            return Outcome::Early;
        }
        if let Err(reason) = snapshot.paths.admit(meta.key.src(), ingress) {
            return Verdict::Drop(reason).into();
        }
        if !quoted::intact(frame.bytes(), meta) {
            return Verdict::Drop(DropReason::BadIcmp).into();
        }
        if self.table.hot(id).rules != snapshot.generation {
            self.judge(snapshot, id);
        }
        let hot = self.table.hot_mut(id);
        if let Some(stats) = self.stats.dest(DestId::new(hot.dest)).filter(|_| !hot.flags.has(Flags::GONE)) {
            let (packets, bytes) = match direction {
                Direction::Request => (&stats.in_pkts, &stats.in_bytes),
                Direction::Reply => (&stats.out_pkts, &stats.out_bytes),
            };
            packets.add(1);
            bytes.add(u64::from(meta.total_len));
        }
        match quoted::forward(snapshot, frame, meta, &quote, hot, direction) {
            Ok(egress) => Verdict::Forward(egress).into(),
            // No error is ever sent about an error.
            Err(Refusal::Drop(reason) | Refusal::Tell(reason, _)) => Verdict::Drop(reason).into(),
        }
    }

    /// Drops a packet, telling its sender when that is due and allowed. `dest` is the destination
    /// as whose packet the error counts: in Linux errors about DR and TUN connections meet them
    /// on their way out.
    #[cold]
    pub(crate) fn refuse<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        refusal: Refusal,
        source: Ipv4Addr,
        dest: u32,
    ) -> Verdict {
        let (reason, error) = match refusal {
            Refusal::Drop(reason) => return Verdict::Drop(reason),
            Refusal::Tell(reason, error) => (reason, error),
        };
        match self.tell(snapshot, frame, meta, error, source) {
            Some((egress, len)) => {
                if let Some(stats) = self.stats.dest(DestId::new(dest)) {
                    stats.out_pkts.add(1);
                    stats.out_bytes.add(u64::from(len));
                }
                Verdict::Answer(reason, egress)
            }
            None => Verdict::Drop(reason),
        }
    }

    /// Makes the frame the ICMP error about itself; where it goes and its IP length.
    pub(crate) fn tell<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        error: IcmpError,
        source: Ipv4Addr,
    ) -> Option<(Egress, u16)> {
        if !self.limiter.allow(meta.key.src(), error, self.now) {
            self.stats.icmp_suppressed.add(1);
            return None;
        }
        self.icmp_id = self.icmp_id.wrapping_add(1);
        let (receiver, len) = icmp::error_about(frame, meta, error, source, self.icmp_id)?;
        let egress = forward::address(snapshot, frame, receiver)?;
        self.stats.icmp_sent.add(1);
        Some((egress, len))
    }
}
