//! Packets without a connection: service, scheduler, new connection.
//!
//! Must agree with `net/netfilter/ipvs/ip_vs_core.c: ip_vs_schedule, ip_vs_leave` and
//! `ip_vs_conn.c: ip_vs_conn_new, ip_vs_bind_dest`.

use core::net::IpAddr;
use core::net::Ipv4Addr;

use sched::DestId;
use sched::Kind;

use crate::conn::entry::Cold;
use crate::conn::entry::ConnId;
use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::conn::entry::Hot;
use crate::conn::entry::NONE;
use crate::conn::key::FlowKey;
use crate::conn::table::InsertError;
use crate::conn::tcp::TcpState;
use crate::conn::track::Track;
use crate::forward;
use crate::forward::Refusal;
use crate::io::Frame;
use crate::io::PortId;
use crate::local::LocalAddress;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::DestInfo;
use crate::snapshot::dest::Method;
use crate::snapshot::route::NextHop;
use crate::snapshot::service::Service;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::wire::checksum;
use crate::wire::icmp::IcmpError;
use crate::wire::l4;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;
use crate::worker::outcome::Outcome;
use crate::worker::wanted::Intent;
use crate::worker::wanted::Wanted;

/// Where active FTP's data connections come from: never scheduled.
pub(super) const FTP_DATA: u16 = 20;
const FTP: u16 = 21;

impl Flows {
    /// A packet that belongs to no connection.
    #[inline(never)]
    pub(crate) fn stranger<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        ingress: PortId,
    ) -> Outcome {
        let key = meta.key;
        if is_nobody(key.src()) {
            return Verdict::Drop(DropReason::Martian).into();
        }
        if key.protocol() == l4::TCP {
            let opens = meta.tcp_flags & flag::SYN != 0 || snapshot.tunables.sloppy_tcp;
            if meta.tcp_flags & flag::RST != 0 || !opens {
                return self.stray(snapshot, key, ingress);
            }
        }
        let mark = snapshot.marks.mark(key, ingress);
        let Some(service) = snapshot.services.find(mark, key) else {
            return Outcome::Unknown;
        };
        if key.protocol() != l4::TCP && self.holds_back_datagram() {
            return Verdict::Drop(DropReason::UdpFlood).into();
        }
        let client = match snapshot.paths.admit(key.src(), ingress) {
            Ok(NextHop::Known(adjacency)) => adjacency,
            Ok(_) => NONE,
            Err(reason) => return Verdict::Drop(reason).into(),
        };
        let wanted = Wanted { service, key, mark, client };
        if key.sport() == FTP_DATA {
            return Outcome::Unknown;
        }
        if service.one_packet && key.protocol() == l4::UDP {
            return self.one_packet(snapshot, wanted, frame, meta).into();
        }
        let made = match service.persistence {
            Some(persistence) => self.schedule_persistent(snapshot, wanted, persistence),
            None if wanted.misses() => Err(DropReason::NoDestination),
            None => self.schedule(snapshot, wanted),
        };
        match made {
            Ok(id) => {
                // At once: whether it is active counts for the next choice.
                self.step_request(snapshot, meta, id);
                Outcome::Opens(id)
            }
            Err(reason) => self.leave(snapshot, service, frame, meta, reason).into(),
        }
    }

    /// A TCP packet that belongs to no connection and begins none: Linux's, which answers by a
    /// reset. But not while its connection may have had to make room: the client meant it.
    fn stray(&self, snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> Outcome {
        if !self.defence.has_displaced(self.now) || key.sport() == FTP_DATA {
            return Outcome::Unknown;
        }
        let mark = snapshot.marks.mark(key, ingress);
        match snapshot.services.find(mark, key) {
            Some(service) if service.persistence.is_some() => Outcome::Stray,
            Some(service) if !(Wanted { service, key, mark, client: NONE }).misses() => Outcome::Stray,
            _ => Outcome::Unknown,
        }
    }

    /// What happens to a packet whose service could not place it.
    fn leave<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        service: &Service,
        frame: &mut F,
        meta: &PacketMeta,
        reason: DropReason,
    ) -> Verdict {
        if reason != DropReason::NoDestination {
            return Verdict::Drop(reason);
        }
        if service.key.port() == FTP && meta.key.dport() != FTP {
            return Verdict::Forward(Egress::Host);
        }
        let refusal = Refusal::Tell(reason, IcmpError::PortUnreachable);
        self.refuse(snapshot, frame, meta, refusal, meta.key.dst(), self.replaced)
    }

    fn schedule(&mut self, snapshot: &Snapshot, wanted: Wanted<'_>) -> Result<ConnId, DropReason> {
        let (dest, info) = self.choose(snapshot, wanted.service, wanted.key)?;
        self.create(snapshot, &wanted.intent(dest, info, wanted.scheduled_port(info), NONE))
    }

    /// Asks the service's scheduler.
    pub(crate) fn choose<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        service: &Service,
        key: FlowKey,
    ) -> Result<(DestId, &'s DestInfo), DropReason> {
        let wanted = sched::Key {
            client: IpAddr::V4(key.src()),
            client_port: key.sport(),
            target: IpAddr::V4(key.dst()),
            protocol: key.protocol(),
        };
        let mut ctx =
            sched::Ctx { now: self.now.millis(), random: &mut self.random, tuning: sched::Tuning::default() };
        let state = service.cells.states.get_mut(&mut self.token);
        let dest =
            state.pick(&service.plan, &*self.stats, &wanted, &mut ctx).ok_or(DropReason::NoDestination)?;
        let info = snapshot.dest(dest).ok_or(DropReason::NoDestination)?;
        Ok((dest, info))
    }

    /// Makes the connection, counts it at its destination and starts its timer. It is opening then,
    /// unless it is a template.
    pub(crate) fn create(&mut self, snapshot: &Snapshot, intent: &Intent<'_>) -> Result<ConnId, DropReason> {
        let Intent { service, key, info, .. } = *intent;
        self.defence.note_attempt(self.now, self.table.capacity());
        let (local, reply) = self.reply_key(intent)?;
        let mut hot = compile(snapshot, intent, reply);
        let cold = Cold {
            control: intent.control,
            service: service.id.as_u32(),
            fwmark: intent.mark,
            daddr: info.addr.octets(),
            dport: intent.dport,
            local,
            asked: self.micros,
            ..Cold::VACANT
        };
        if key.is_template() || intent.control != NONE || local != NONE {
            hot.flags = hot.flags.with(Flags::TIED);
        }
        if service.plan.kind() == Kind::Wrt && info.method.is_translated() && !key.is_template() {
            hot.flags = hot.flags.with(Flags::MEASURED);
            self.stats.asks(intent.dest, self.now);
        }
        let made = match self.enter(&hot, &cold) {
            Err(InsertError::Full) if self.make_room(snapshot, intent.control) => self.enter(&hot, &cold),
            other => other,
        };
        let id = made?;
        self.note_port(snapshot, local, LocalAddress::taken);
        self.table.hot_mut(id).expires = self.now.plus(first_timeout(snapshot, intent));
        if intent.control != NONE {
            self.table.cold_mut(ConnId::new(intent.control)).controlled += 1;
            let hot = self.table.hot_mut(id);
            hot.flags = hot.flags.with(Flags::CONTROLLED);
        }
        self.bind(snapshot, id);
        self.stats.created.add(1);
        if !self.start_timer(id) {
            self.end(snapshot, id);
            return Err(DropReason::TableFull);
        }
        self.stats.connections.set(self.table.len());
        Ok(id)
    }

    #[inline]
    fn enter(&mut self, hot: &Hot, cold: &Cold) -> Result<ConnId, InsertError> {
        // A packet's connection has been looked for; a template may be there still, and unusable.
        if hot.request.is_template() { self.table.insert(*hot, *cold) } else { self.table.begin(*hot, *cold) }
    }

    /// The key of the real server's packets, and the slot of the local address taken for it.
    fn reply_key(&mut self, intent: &Intent<'_>) -> Result<(u32, FlowKey), DropReason> {
        let Intent { key, info, dport, service, .. } = *intent;
        if key.is_template() {
            return Ok((NONE, FlowKey::ZERO));
        }
        let protocol = key.protocol();
        match info.method {
            Method::Masquerade => {
                Ok((NONE, FlowKey::new(protocol, info.addr, dport, key.src(), key.sport())))
            }
            Method::DirectRoute | Method::Tunnel => Ok((NONE, key.reversed())),
            // Whether the port is free turns out when the connection opens.
            Method::FullNat => {
                let (local, port) = self.next_port(service, intent.dest).ok_or(DropReason::NoLocalPort)?;
                Ok((local.slot, FlowKey::new(protocol, info.addr, dport, local.addr, port)))
            }
        }
    }

    /// Counts a new connection at its destination (`ip_vs_conn.c: ip_vs_bind_dest`).
    fn bind(&mut self, snapshot: &Snapshot, id: ConnId) {
        let hot = self.table.hot(id);
        let dest = DestId::new(hot.dest);
        let Some(stats) = self.stats.dest(dest) else { return };
        if hot.flags.has(Flags::TEMPLATE) {
            stats.persistent.up();
            return;
        }
        stats.conns.add(1);
        stats.inactive.up();
        let conns = stats.active.get() + stats.inactive.get();
        if snapshot.dest(dest).is_some_and(|info| info.overloads(conns)) {
            stats.overloaded.set(1);
        }
        self.load_changed(snapshot, dest);
    }

    /// A datagram of a one-packet service: scheduled and forwarded, and nothing remains of it.
    fn one_packet<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        wanted: Wanted<'_>,
        frame: &mut F,
        meta: &PacketMeta,
    ) -> Verdict {
        let Wanted { service, key, .. } = wanted;
        let (chosen, sticks) = match service.persistence {
            Some(persistence) => (self.stick(snapshot, wanted, persistence), true),
            None if wanted.misses() => (Err(DropReason::NoDestination), false),
            None => (self.choose(snapshot, service, key), false),
        };
        let (dest, info) = match chosen {
            Ok(chosen) => chosen,
            Err(reason) => return self.leave(snapshot, service, frame, meta, reason),
        };
        if info.method == Method::FullNat {
            // Its local port would have to outlive the packet.
            return Verdict::Drop(DropReason::NoLocalPort);
        }
        let dport = if sticks { wanted.sticky_port(info) } else { wanted.scheduled_port(info) };
        let intent = wanted.intent(dest, info, dport, NONE);
        let reply = match self.reply_key(&intent) {
            Ok((_, reply)) => reply,
            Err(reason) => return Verdict::Drop(reason),
        };
        let mut hot = compile(snapshot, &intent, reply);
        if let Some(stats) = self.stats.dest(dest) {
            stats.conns.add(1);
            stats.in_pkts.add(1);
            stats.in_bytes.add(u64::from(meta.total_len));
        }
        match forward::forward(snapshot, frame, meta, &mut hot, Direction::Request) {
            Ok(egress) => Verdict::Forward(egress),
            Err(refusal) => self.refuse(snapshot, frame, meta, refusal, meta.key.dst(), NONE),
        }
    }
}

/// Whether no station on a network can have this address: Linux drops such senders before IPVS sees
/// them (`net/ipv4/route.c: ip_route_input_slow`).
pub(super) const fn is_nobody(addr: Ipv4Addr) -> bool {
    addr.is_loopback() || addr.is_multicast() || addr.is_broadcast() || addr.octets()[0] == 0
}

/// Ticks until a new connection ends, most likely: its first packet sets the end at once, but the
/// timer should then be right already.
fn first_timeout(snapshot: &Snapshot, intent: &Intent<'_>) -> u32 {
    let tunables = &snapshot.tunables;
    match intent.service.persistence {
        Some(persistence) if intent.key.is_template() => persistence.ticks(),
        _ if intent.key.protocol() == l4::TCP => tunables.tcp_timeouts[TcpState::SynRecv as usize],
        _ => tunables.udp_timeout,
    }
}

/// The hot line of a connection: both keys and the rewrites between them.
fn compile(snapshot: &Snapshot, intent: &Intent<'_>, reply: FlowKey) -> Hot {
    let Intent { key, info, client, dest, .. } = *intent;
    let mut flags = Flags::from_bits(info.method as u16).with(Flags::INACTIVE);
    if !info.method.is_translated() {
        flags = flags.with(Flags::NOOUTPUT);
    }
    if key.is_template() {
        flags = flags.with(Flags::TEMPLATE);
    }
    let (l3_delta, l4_delta) = deltas(key, reply);
    let track = Track {
        rules: snapshot.generation,
        dest: dest.as_u32(),
        hops: [info.hop, client],
        l3_delta,
        l4_delta,
        flags,
        ..Track::VACANT
    };
    Hot { request: key, reply, track }
}

/// What the rewrite of a connection's requests adds to their IPv4 and to their TCP or UDP checksum.
pub(super) fn deltas(key: FlowKey, reply: FlowKey) -> (u16, u16) {
    // Sums do not care for order, so keys need not be turned round to compare them.
    let ([addrs, _], [new_addrs, _]) = (key.words(), reply.words());
    let l3 = checksum::delta_of_words(addrs, new_addrs);
    let [ports, new_ports] = [key, reply].map(|key| u64::from(u32::from_ne_bytes(key.wire_ports())));
    (l3, checksum::add(l3, checksum::delta_of_words(ports, new_ports)))
}
