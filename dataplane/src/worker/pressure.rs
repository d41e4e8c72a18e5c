//! Which connection makes room if the table is full, or if no local port is free.
//!
//! First a connection that never led to anything: a handshake that was not completed, or after
//! which no packet came; a datagram without an answer, or a single one with an answer; a closed
//! connection; a template whose connections never led to anything. If there is none of these
//! nearby, shorter timeouts apply: the connection that has been silent for longest beyond its
//! shorter timeout makes room. If there is none of these either, one makes room that had little
//! traffic and has been silent for ten seconds. All others stay: connections with traffic never
//! make room. Linux's `drop_entry` has the same purpose
//! (`net/netfilter/ipvs/ip_vs_conn.c: ip_vs_random_dropentry`).
//!
//! A hand goes round the slots of the table and stops at the slot that makes room. Vacant slots are
//! used first in, first out. So a new connection is mostly behind the hand, and all others are
//! looked at before it. A connection with a packet a moment ago is passed over if another candidate
//! is near. Connections that stay are often in long rows, because they are equally old. The hand
//! leaps over such rows.

use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::entry::Hot;
use crate::conn::entry::NONE;
use crate::conn::tcp::TcpState;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::snapshot::tunables::Tunables;
use crate::time::Ticks;
use crate::wire::l4::Transport;
use crate::worker::flows::Flows;

/// After this many slots the search accepts a connection that never led to anything but had a
/// packet a moment ago.
const NEAR: u32 = 8;
/// After this many slots it accepts a connection that led to something but is silent.
const NEARBY: u32 = 64;
/// After this many slots it accepts a connection with little traffic.
const NOT_FAR: u32 = 4 * NEARBY;
/// The length of "a moment", in ticks.
const MOMENT: u32 = Ticks::PER_SECOND;
/// The hand leaps after this many slots that cannot make room.
const ROW: u32 = NEARBY + 1;
/// How many slots one search looks at, at most and as far as the allowance goes. During a flood it
/// is fewer, because packets are lost while the worker searches.
const MOST: u32 = 4096;
const MOST_FLOODED: u32 = 256;
/// The lines of a slot are fetched this many slots ahead of the hand.
const AHEAD: u32 = 8;

/// How many of the client's packets belong to a handshake.
const HANDSHAKE: u8 = 2;
/// This many datagrams without an answer may be repetitions of one.
const ASKED_AGAIN: u8 = 3;
/// A connection with fewer packets than this has little traffic.
const LITTLE: u8 = 16;

/// The worth of a connection if there is no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It never led to anything, or it is closed. It has been silent for this many ticks.
    Nothing(u32),
    /// It has been silent for this many ticks beyond its shorter timeout.
    Silent(u32),
    /// It had little traffic, and it has been silent for this many ticks.
    Little(u32),
    /// It stays.
    Much,
}

impl Flows {
    /// Ends the connection with the least worth, together with its template if that never led to
    /// anything, but never the template `kept`. Returns false if no connection was found.
    pub(super) fn make_room(&mut self, snapshot: &Snapshot, kept: u32) -> bool {
        let capacity = self.capacity();
        self.defence.grant_looks(NEARBY);
        // The candidates so far, each with its ticks of silence.
        let mut fresh: Option<(ConnId, u32)> = None;
        let mut silent: Option<(ConnId, u32)> = None;
        let mut little: Option<(ConnId, u32)> = None;
        let most = if self.defence.flooded { MOST_FLOODED } else { MOST };
        let mut looked = 0;
        for step in 0..most.min(capacity) {
            let enough = step >= NEAR && fresh.is_some()
                || step >= NEARBY && silent.is_some()
                || step >= NOT_FAR && little.is_some();
            if enough || !self.defence.may_look(self.now) {
                break;
            }
            if step % ROW == ROW - 1 {
                self.defence.leap(capacity);
            }
            looked = step + 1;
            let id = self.defence.turn_hand(capacity);
            self.table.prefetch_hot(ConnId::new(id.as_u32().saturating_add(AHEAD)));
            match self.worth(snapshot, id, kept) {
                Worth::Nothing(moment) if moment >= MOMENT => {
                    self.defence.walk();
                    self.displace(snapshot, id, kept);
                    return true;
                }
                Worth::Nothing(moment) if fresh.is_none_or(|(_, most)| moment > most) => {
                    fresh = Some((id, moment));
                }
                Worth::Silent(beyond) if silent.is_none_or(|(_, most)| beyond > most) => {
                    silent = Some((id, beyond));
                }
                Worth::Little(moment) if little.is_none_or(|(_, most)| moment > most) => {
                    little = Some((id, moment));
                }
                _ => {}
            }
        }
        // A search that was cut short has not shown that nobody better is near.
        let little = little.filter(|_| looked >= NOT_FAR.min(capacity));
        let Some((id, _)) = fresh.or(silent).or(little) else { return false };
        self.defence.walk();
        self.stats.displaced_silent.add(u64::from(fresh.is_none()));
        self.displace(snapshot, id, kept);
        true
    }

    /// The worth of a slot's connection. A vacant slot and the template `kept` never make room.
    pub(super) fn worth(&self, snapshot: &Snapshot, id: ConnId, kept: u32) -> Worth {
        let hot = self.table.hot(id);
        if !self.table.is_live(id) || hot.flags.has(Flags::OPENING) {
            return Worth::Much;
        }
        if !hot.flags.has(Flags::TEMPLATE) {
            return worth(hot, &snapshot.tunables, self.now);
        }
        let cold = self.table.cold(id);
        if cold.controlled != 0 || id.as_u32() == kept {
            Worth::Much
        } else if hot.in_pkts == 0 {
            Worth::Nothing(silence(hot, cold.timeout, self.now))
        } else {
            beyond(silence(hot, cold.timeout, self.now), 60)
        }
    }

    /// Ends a connection for another one, together with its template if that never led to anything
    /// and is not `kept`.
    pub(super) fn displace(&mut self, snapshot: &Snapshot, id: ConnId, kept: u32) {
        let control = self.table.cold(id).control;
        let missed = is_missed(self.table.hot(id));
        self.end(snapshot, id);
        self.stats.displaced.add(1);
        if missed {
            self.defence.note_displaced(self.now);
        }
        // Otherwise a flood would fill the table with templates.
        if control != NONE && matches!(self.worth(snapshot, ConnId::new(control), kept), Worth::Nothing(_)) {
            self.end(snapshot, ConnId::new(control));
            self.stats.displaced.add(1);
        }
    }

    /// Notes that a connection of the template `control` ends. Whether it led to anything
    /// determines the template's worth.
    pub(super) fn note_end(&mut self, hot: &Hot, control: u32) {
        if has_led_somewhere(hot) {
            let template = self.table.hot_mut(ConnId::new(control));
            template.in_pkts = template.in_pkts.saturating_add(1);
        }
    }
}

/// Whether its client may still send packets that Linux would reset: so with TCP, unless it is
/// closed.
fn is_missed(hot: &Hot) -> bool {
    let over = matches!(TcpState::from_raw(hot.state), TcpState::TimeWait | TcpState::Close);
    hot.request.transport() == Transport::Tcp && !hot.flags.has(Flags::TEMPLATE) && !over
}

/// Whether a connection led to more than its beginning. With DR and TUN no replies are seen, so
/// only the client's packets are counted.
fn has_led_somewhere(hot: &Hot) -> bool {
    let translated = Method::from_bits(hot.flags.bits()).is_translated();
    let beginning = match hot.request.transport() {
        Transport::Tcp => HANDSHAKE,
        Transport::Udp if translated && hot.state == 0 => ASKED_AGAIN,
        // Many UDP exchanges are one question and one answer. But a real server also answers forged
        // senders.
        Transport::Udp => 1,
    };
    hot.in_pkts > beginning
}

/// The worth of a connection that is not a template.
fn worth(hot: &Hot, tunables: &Tunables, now: Ticks) -> Worth {
    let little = hot.in_pkts < LITTLE;
    if hot.request.transport() == Transport::Udp {
        let silent = silence(hot, tunables.udp_timeout, now);
        let seconds = if little { 10 } else { 30 };
        return if has_led_somewhere(hot) { beyond(silent, seconds) } else { Worth::Nothing(silent) };
    }
    let state = TcpState::from_raw(hot.state);
    let silent = silence(hot, tunables.tcp_timeouts[state as usize], now);
    match state {
        TcpState::Established if !has_led_somewhere(hot) => Worth::Nothing(silent),
        TcpState::Established if little => match beyond(silent, 60) {
            Worth::Much if silent >= 10 * Ticks::PER_SECOND => Worth::Little(silent),
            worth => worth,
        },
        TcpState::Established => beyond(silent, 300),
        TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck => beyond(silent, 10),
        TcpState::None
        | TcpState::SynSent
        | TcpState::SynRecv
        | TcpState::SynAck
        | TcpState::Listen
        | TcpState::TimeWait
        | TcpState::Close => Worth::Nothing(silent),
    }
}

/// How many ticks ago the last packet came. It set a timeout of `timeout` ticks.
fn silence(hot: &Hot, timeout: u32, now: Ticks) -> u32 {
    // The result is only approximate if the timeout has changed since then or the end is overdue.
    u32::try_from(i64::from(timeout) - i64::from(hot.expires.since(now))).unwrap_or(0)
}

/// The worth of a connection that led to something. If it has been silent for more than `seconds`,
/// it may make room.
fn beyond(silent: u32, seconds: u32) -> Worth {
    silent.checked_sub(seconds * Ticks::PER_SECOND).map_or(Worth::Much, Worth::Silent)
}
