//! Making a connection: its keys, its rewrite, its first timer.
//!
//! Must agree with `net/netfilter/ipvs/ip_vs_conn.c: ip_vs_conn_new, ip_vs_bind_dest`.

use sched::DestId;
use sched::Kind;

use crate::conn::entry::Cold;
use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::entry::Hot;
use crate::conn::entry::NONE;
use crate::conn::key::FlowKey;
use crate::conn::table::InsertError;
use crate::conn::tcp::TcpState;
use crate::conn::track::Track;
use crate::local::LocalAddress;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::l4::Transport;
use crate::worker::flows::Flows;
use crate::worker::wanted::Intent;

impl Flows {
    /// Makes a connection or a template, counts it at its destination and starts its timer. A
    /// connection is then opening ([`super::opening`]).
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
        // The key of a connection was looked up before and is not in the table. An unusable
        // template may still be in the table.
        if hot.request.is_template() { self.table.insert(*hot, *cold) } else { self.table.begin(*hot, *cold) }
    }

    /// The slot of the connection's local address, or [`NONE`], and its reply key.
    pub(super) fn reply_key(&mut self, intent: &Intent<'_>) -> Result<(u32, FlowKey), DropReason> {
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
            // Whether the port is free is checked when the connection opens.
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
}

/// The probable timeout of a new connection, in ticks. Its first packet stamps `expires` directly
/// afterwards; with this value the timer's record is then already right.
fn first_timeout(snapshot: &Snapshot, intent: &Intent<'_>) -> u32 {
    let tunables = &snapshot.tunables;
    match intent.service.persistence {
        Some(persistence) if intent.key.is_template() => persistence.ticks(),
        _ => match intent.key.transport() {
            Transport::Tcp => tunables.tcp_timeouts[TcpState::SynRecv as usize],
            Transport::Udp => tunables.udp_timeout,
        },
    }
}

/// The hot line of a connection: both keys, and the rewrite from one to the other.
pub(super) fn compile(snapshot: &Snapshot, intent: &Intent<'_>, reply: FlowKey) -> Hot {
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

/// The checksum deltas of a connection's requests: for the IPv4 header, and for TCP or UDP.
pub(super) fn deltas(key: FlowKey, reply: FlowKey) -> (u16, u16) {
    // A sum does not depend on the order of its words, so no key needs to be reversed.
    let ([addrs, _], [new_addrs, _]) = (key.words(), reply.words());
    let l3 = checksum::delta_of_words(addrs, new_addrs);
    let [ports, new_ports] = [key, reply].map(|key| u64::from(u32::from_ne_bytes(key.wire_ports())));
    (l3, checksum::add(l3, checksum::delta_of_words(ports, new_ports)))
}
