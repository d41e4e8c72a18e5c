//! The defence of established connections against a flood of new ones.
//!
//! A packet that makes a connection costs many times more than a packet of an established one. In a
//! flood many connections are half open, or many packets want a connection, and more packets come
//! than the worker can handle. Then only one packet makes a connection now and then.
//! [`super::pressure`] says which connection makes room for it in a full table. Linux's
//! `drop_packet` has the same purpose (`net/netfilter/ipvs/ip_vs_ctl.c: update_defense_level`).

use sched::Random;
use sched::XorShift;

use crate::BURST;
use crate::conn::entry::ConnId;
use crate::conn::entry::Hot;
use crate::conn::key::FlowKey;
use crate::conn::tcp::TcpState;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::time::Ticks;
use crate::wire::l4::Transport;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;
use crate::worker::shed::Asked;

/// If more than one in this many slots is half open and packets wait, it is a flood.
const FLOODED: u32 = 8;
/// New connections are held back after this many polls in a row have left packets in a queue. This
/// is more than a device's queue holds, so packets are already being lost.
const BEHIND: u32 = 64;
/// As [`BEHIND`], within [`RELAPSE`] after the last time: then it is the same flood.
const BEHIND_AGAIN: u32 = 8;
const RELAPSE: u32 = 10 * Ticks::PER_SECOND;
/// The defence ends when every poll has emptied the queues for this time. So new clients are served
/// within a second after the flood.
const REMEMBERED: u32 = Ticks::PER_SECOND / 2;
/// During a flood one packet in this many full bursts makes a connection: if the queues are
/// emptied, and if packets wait.
const BURSTS_FOR_ONE: u32 = 16;
const BURSTS_BEHIND: u32 = 64;
/// More packets than this in one second that want a connection are a storm, whatever the size of
/// the table.
const STORMY: u32 = 65_536;
/// How long a storm is remembered, in ticks: as long as a half-open connection lives.
const STORM: u32 = 60 * Ticks::PER_SECOND;
/// How long packets of connections that had to make room may still come, in ticks.
const STRAY: u32 = 60 * Ticks::PER_SECOND;
/// How many slots of the table may be looked at for room in a tick at least, and how many local
/// ports may be tried in a tick at most. Each takes less than a twentieth of the time.
const LOOKS: u32 = 16_384;
const TRIES: u32 = 1024;
/// The longest leap of the hand is the number of slots divided by this.
const LONGEST_LEAP: u32 = 64;
/// How many unused looks may be saved for later searches. Connections that stay are often in long
/// rows, because they are equally old.
const MOST_LOOKS: u32 = 32_768;

/// A worker's defence.
#[derive(Debug)]
pub(super) struct Defence {
    /// TCP connections that were never established.
    half_open: u32,
    /// How many full bursts of floods have come since a packet was last let in.
    waited: u32,
    /// How many polls in a row left packets in a queue.
    behind: u32,
    /// When the defence ends if no more packets wait.
    until: Ticks,
    /// When packets last waited so long that the defence began or went on.
    held_back: Ticks,
    /// Whether the burst that is being forwarded is part of a flood.
    pub(super) flooded: bool,
    /// How many packets have wanted a connection since `second`.
    attempts: u32,
    second: Ticks,
    /// When there was last a storm.
    storm: Ticks,
    /// When a connection last ended for another one, or was last held back.
    displaced: Ticks,
    /// The slot of the table at which the next search for room begins, and the length of the hand's
    /// last leap.
    hand: u32,
    stride: u32,
    /// How many slots may still be looked at, and how many local ports may still be tried, in the
    /// tick `allowed_at`.
    looks: u32,
    tries: u32,
    allowed_at: Ticks,
    /// Services that floods asked for.
    pub(super) asked: Asked,
    /// Random choices of its own, because the choices of schedulers must not depend on floods.
    lots: XorShift,
}

impl Defence {
    pub(super) fn new(seed: u64, now: Ticks) -> Self {
        let long_ago = Ticks::new(now.raw().wrapping_sub(STORM.max(STRAY) + 1));
        Self {
            half_open: 0,
            waited: 0,
            behind: 0,
            until: now,
            held_back: long_ago,
            flooded: false,
            attempts: 0,
            second: now,
            storm: long_ago,
            displaced: long_ago,
            hand: 0,
            stride: 0,
            looks: LOOKS,
            tries: TRIES,
            allowed_at: now,
            asked: Asked::default(),
            lots: XorShift::new(seed),
        }
    }

    /// How many connections are half open.
    pub(super) const fn half_open(&self) -> u32 {
        self.half_open
    }

    /// Notes whether a poll left packets in a queue.
    #[inline]
    pub(super) fn note_queues(&mut self, behind: bool, now: Ticks) {
        self.behind = if behind { self.behind.saturating_add(1) } else { 0 };
        let flooded = self.until.since(now) > 0;
        let overrun =
            self.behind >= BEHIND_AGAIN && (self.behind >= BEHIND || within(self.held_back, now, RELAPSE));
        if overrun || flooded && behind {
            self.until = now.plus(REMEMBERED);
            self.held_back = now;
        } else if !flooded {
            // This keeps the time recent. A time too far in the past would seem to be in the
            // future.
            self.until = now;
        }
    }

    /// Notes a packet that wants a connection, in a table of `capacity` slots. Many of them are a
    /// storm.
    #[inline]
    pub(super) fn note_attempt(&mut self, now: Ticks, capacity: u32) {
        if now.since(self.second).cast_unsigned() >= Ticks::PER_SECOND {
            (self.second, self.attempts) = (now, 0);
        }
        self.attempts += 1;
        if self.attempts > (capacity / FLOODED).min(STORMY) {
            self.storm = now;
        }
    }

    /// Notes that a connection ended for another one, or was held back.
    pub(super) const fn note_displaced(&mut self, now: Ticks) {
        self.displaced = now;
    }

    /// Whether that happened lately, so that its client may still send packets.
    pub(super) fn has_displaced(&self, now: Ticks) -> bool {
        within(self.displaced, now, STRAY)
    }

    /// Whether this packet of a flood may make a connection. Now and then one may.
    fn admits(&mut self) -> bool {
        let admitted = self.is_due();
        if admitted {
            self.waited = 0;
        }
        admitted
    }

    /// Whether the next packet of a flood that wants a connection may make one.
    pub(super) fn is_due(&self) -> bool {
        let due = if self.behind == 0 { BURSTS_FOR_ONE } else { BURSTS_BEHIND };
        self.waited >= due
    }

    /// Allows this many more looks.
    pub(super) fn grant_looks(&mut self, looks: u32) {
        self.looks = (self.looks + looks).min(MOST_LOOKS);
    }

    /// Whether one more slot may be looked at.
    pub(super) fn may_look(&mut self, now: Ticks) -> bool {
        self.allow(now);
        let may = self.looks != 0;
        self.looks -= u32::from(may);
        may
    }

    /// Whether one more local port may be tried in this tick.
    pub(super) fn may_try(&mut self, now: Ticks) -> bool {
        self.allow(now);
        let may = self.tries != 0;
        self.tries -= u32::from(may);
        may
    }

    fn allow(&mut self, now: Ticks) {
        if self.allowed_at != now {
            (self.allowed_at, self.looks, self.tries) = (now, self.looks.max(LOOKS), TRIES);
        }
    }

    /// The slot of the hand, in a table of `capacity` slots. The hand moves on to the next slot.
    pub(super) const fn turn_hand(&mut self, capacity: u32) -> ConnId {
        let at = if self.hand < capacity { self.hand } else { 0 };
        self.hand = at + 1;
        ConnId::new(at)
    }

    /// Moves the hand over slots whose connections probably stay too, in a table of `capacity`
    /// slots. Each leap is twice as long as the one before. The hand still goes round, so the
    /// newest connections are looked at last.
    pub(super) fn leap(&mut self, capacity: u32) {
        self.stride = (self.stride * 2).clamp(1, (capacity / LONGEST_LEAP).max(1));
        self.hand = ((u64::from(self.hand) + u64::from(self.stride)) % u64::from(capacity.max(1))) as u32;
    }

    /// Ends the leaps: the hand has found connections that can make room and goes from slot to slot
    /// again.
    pub(super) const fn walk(&mut self) {
        self.stride = 0;
    }

    /// A random number.
    pub(super) fn draw(&mut self) -> u32 {
        self.lots.below_inclusive(u32::MAX.into()) as u32
    }

    /// Notes a connection's new state.
    #[inline]
    pub(super) fn note(&mut self, old: TcpState, new: TcpState) {
        self.half_open = self.half_open + u32::from(new.is_half_open()) - u32::from(old.is_half_open());
    }
}

impl Flows {
    /// Whether a burst of this many packets is part of a flood.
    #[inline]
    pub(super) fn is_flooded(&mut self, packets: usize) -> bool {
        let Defence { half_open, until, storm, .. } = self.defence;
        let many = half_open > self.table.capacity() / FLOODED || within(storm, self.now, STORM);
        let flooded = packets == BURST && until.since(self.now) > 0 && many;
        self.defence.waited = self.defence.waited.saturating_add(u32::from(flooded));
        flooded
    }

    /// Whether a parsed packet of a flood is held back: a SYN to a service, unless it is let in
    /// now. To save time, it is not checked whether the packet belongs to a connection.
    #[inline]
    pub(super) fn holds_back(&mut self, snapshot: &Snapshot, meta: &PacketMeta, ingress: PortId) -> bool {
        let opens = meta.class == Class::Flow && meta.tcp_flags & (flag::SYN | flag::RST) == flag::SYN;
        opens && self.holds_back_syn(snapshot, meta, ingress)
    }

    fn holds_back_syn(&mut self, snapshot: &Snapshot, meta: &PacketMeta, ingress: PortId) -> bool {
        if !self.has_service(snapshot, meta.key, ingress) {
            return false;
        }
        self.defence.note_attempt(self.now, self.table.capacity());
        self.defence.note_displaced(self.now);
        !self.defence.admits()
    }

    fn has_service(&mut self, snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> bool {
        self.defence.asked.has_service(snapshot, key)
            || snapshot.services.find(snapshot.marks.mark(key, ingress), key).is_some()
    }

    /// Whether a packet that would make a connection is held back because of a flood: a datagram, or a
    /// TCP packet without SYN where `sloppy_tcp` lets it make one.
    #[inline]
    pub(super) fn holds_back_at_last(&mut self) -> bool {
        if !self.defence.flooded {
            return false;
        }
        self.defence.note_attempt(self.now, self.table.capacity());
        !self.defence.admits()
    }
}

/// Whether `then` is at most this many ticks before `now`.
const fn within(then: Ticks, now: Ticks, ticks: u32) -> bool {
    now.since(then).cast_unsigned() <= ticks
}

/// Whether this is a TCP connection that was never established.
pub(super) fn is_half_open(hot: &Hot) -> bool {
    hot.request.transport() == Transport::Tcp && TcpState::from_raw(hot.state).is_half_open()
}
