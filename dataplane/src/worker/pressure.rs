//! Who makes room when the table is full, or a local port is wanted and none is free.
//!
//! First whoever never led to anything: handshakes that were not completed, or led to no packet
//! more; datagrams that nobody answered, or a single one that was; what is closed; templates on
//! which nothing hangs that ever did. When there is none of those nearby, timeouts shorten: whoever
//! has been silent for longest beyond the shorter time goes. When there is none of those either,
//! whoever has had little traffic and has been silent for ten seconds. All others stay: connections
//! with traffic are never touched. Linux's `drop_entry` has the same in mind
//! (`net/netfilter/ipvs/ip_vs_conn.c: ip_vs_random_dropentry`).
//!
//! A hand goes round the slots of the table and stops where it found one. Vacant slots are used
//! first in, first out, so a newcomer mostly stands behind the hand, and all others are looked at
//! before it; and who was heard of a moment ago is passed over if somebody else is near. Those that
//! stay often lie in long rows, for they are as old as each other: over such a row the hand leaps.

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

/// Slots looked at before one will do that never led to anything, but was heard of a moment ago.
const NEAR: u32 = 8;
/// And before one that did lead to something, but is silent.
const NEARBY: u32 = 64;
/// And before one that has had little traffic.
const NOT_FAR: u32 = 4 * NEARBY;
/// That moment.
const MOMENT: u32 = Ticks::PER_SECOND;
/// Slots of which none can make room, before the hand leaps.
const ROW: u32 = NEARBY + 1;
/// Slots looked at for one connection at most, as far as the allowance goes; and during a flood, when
/// packets are lost while the worker searches.
const MOST: u32 = 4096;
const MOST_FLOODED: u32 = 256;
/// Slots ahead of the hand whose lines are sent for.
const AHEAD: u32 = 8;

/// A client's packets that make a handshake and no more.
const HANDSHAKE: u8 = 2;
/// Datagrams without an answer that may be no more than a client asking again.
const ASKED_AGAIN: u8 = 3;
/// Fewer packets than this are little traffic.
const LITTLE: u8 = 16;

/// What a connection is worth when there is no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It never led to anything, or is over; it has been silent for so many ticks.
    Nothing(u32),
    /// It has been silent for so many ticks more than it may while there is no room.
    Silent(u32),
    /// It has had little traffic, and has been silent for so many ticks.
    Little(u32),
    /// It stays.
    Much,
}

impl Flows {
    /// Ends a connection that is worth least, with its template if that led nowhere, but never the
    /// template `kept`; false when none was found.
    pub(super) fn make_room(&mut self, snapshot: &Snapshot, kept: u32) -> bool {
        let capacity = self.capacity();
        self.defence.grant_looks(NEARBY);
        // Each with its ticks of silence.
        let mut fresh: Option<(ConnId, u32)> = None;
        let mut silent: Option<(ConnId, u32)> = None;
        let mut little: Option<(ConnId, u32)> = None;
        let most = if self.defence.flooded { MOST_FLOODED } else { MOST };
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
        let Some((id, _)) = fresh.or(silent).or(little) else { return false };
        self.defence.walk();
        self.stats.displaced_silent.add(u64::from(fresh.is_none()));
        self.displace(snapshot, id, kept);
        true
    }

    /// What a slot's tenant is worth; much if it is the template `kept`, or none.
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

    /// Ends a connection for another, with its template if that led nowhere, unless it is `kept`.
    pub(super) fn displace(&mut self, snapshot: &Snapshot, id: ConnId, kept: u32) {
        let control = self.table.cold(id).control;
        let missed = is_missed(self.table.hot(id));
        self.end(snapshot, id);
        self.stats.displaced.add(1);
        if missed {
            self.defence.note_displaced(self.now);
        }
        // Or a flood would leave nothing but templates.
        if control != NONE && matches!(self.worth(snapshot, ConnId::new(control), kept), Worth::Nothing(_)) {
            self.end(snapshot, ConnId::new(control));
            self.stats.displaced.add(1);
        }
    }

    /// Takes note that a connection of the template `control` ends: whether it led to anything is
    /// the template's worth.
    pub(super) fn note_end(&mut self, hot: &Hot, control: u32) {
        if has_led_somewhere(hot) {
            let template = self.table.hot_mut(ConnId::new(control));
            template.in_pkts = template.in_pkts.saturating_add(1);
        }
    }
}

/// Whether its client may yet send what Linux would reset: so with TCP, while it is not over.
fn is_missed(hot: &Hot) -> bool {
    let over = matches!(TcpState::from_raw(hot.state), TcpState::TimeWait | TcpState::Close);
    hot.request.transport() == Transport::Tcp && !hot.flags.has(Flags::TEMPLATE) && !over
}

/// Whether more came of a connection than its beginning. Replies of direct routing and tunnels are
/// not seen here, so there the client's packets have to say it.
fn has_led_somewhere(hot: &Hot) -> bool {
    let translated = Method::from_bits(hot.flags.bits()).is_translated();
    let beginning = match hot.request.transport() {
        Transport::Tcp => HANDSHAKE,
        Transport::Udp if translated && hot.state == 0 => ASKED_AGAIN,
        // A question and its answer are mostly all there is. A real server also answers senders that
        // are made up.
        Transport::Udp => 1,
    };
    hot.in_pkts > beginning
}

/// What a connection is worth that is not a template.
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

/// How many ticks ago the last packet came, which set a timeout of so many ticks.
fn silence(hot: &Hot, timeout: u32, now: Ticks) -> u32 {
    // A timeout that was changed since, or an end that is overdue, makes it more or less than it
    // can be.
    u32::try_from(i64::from(timeout) - i64::from(hot.expires.since(now))).unwrap_or(0)
}

/// What is worth something is worth less when it has been silent for longer than so many seconds.
fn beyond(silent: u32, seconds: u32) -> Worth {
    silent.checked_sub(seconds * Ticks::PER_SECOND).map_or(Worth::Much, Worth::Silent)
}
