//! What keeps a flood of new connections from those that stand.
//!
//! A packet that makes a connection costs many times what one of an established connection does. So
//! while many connections are half open or great numbers are asked for, and more packets come than
//! can be handled, one packet makes a connection every so often. Who makes room for it in a full
//! table is told in [`super::pressure`]. Linux has the same in mind with `drop_packet`
//! (`net/netfilter/ipvs/ip_vs_ctl.c: update_defense_level`).

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

/// More than one in so many slots half open: a flood, if packets wait.
const FLOODED: u32 = 8;
/// Polls in a row that leave packets in a queue, before SYNs are held back: more than a device's
/// queue holds, so that packets are being lost already.
const BEHIND: u32 = 64;
/// The same so soon after the last time: it is the same flood.
const BEHIND_AGAIN: u32 = 8;
const RELAPSE: u32 = 10 * Ticks::PER_SECOND;
/// How long the queues must have been empty by the end of each poll before all are let in again:
/// newcomers are to be within a second of the flood's end.
const REMEMBERED: u32 = Ticks::PER_SECOND / 2;
/// Bursts in which one SYN makes a connection during a flood, if the queues can be emptied
/// meanwhile; and if not.
const BURSTS_FOR_ONE: u32 = 16;
const BURSTS_BEHIND: u32 = 64;
/// Packets in a second that want connections, and are a storm whatever the table holds.
const STORMY: u32 = 65_536;
/// How long a storm is remembered: as long as a connection that never comes to anything.
const STORM: u32 = 60 * Ticks::PER_SECOND;
/// How long the packets of connections that had to make room may still come, likewise.
const STRAY: u32 = 60 * Ticks::PER_SECOND;
/// Slots of the table that may be looked at for room in a tick at least, and local ports that may
/// be tried at most: either takes less than a twentieth of the time.
const LOOKS: u32 = 16_384;
const TRIES: u32 = 1024;
/// The hand leaps over one slot in so many at most.
const LONGEST_LEAP: u32 = 64;
/// Looks that searches may leave to those that follow: those that stay lie in long rows, being as
/// old as each other.
const MOST_LOOKS: u32 = 32_768;

/// A worker's defence.
#[derive(Debug)]
pub(super) struct Defence {
    /// TCP connections that were never established.
    half_open: u32,
    /// Full bursts that came during floods and let no SYN in since the last that did.
    waited: u32,
    /// Polls in a row that left packets in a queue.
    behind: u32,
    /// When packets that waited are forgotten.
    until: Ticks,
    /// When packets last waited for so long.
    held_back: Ticks,
    /// The burst that is being forwarded is part of a flood.
    pub(super) flooded: bool,
    /// Packets that wanted a connection in the second since `second`.
    attempts: u32,
    second: Ticks,
    /// When there were last so many of them that they count as a storm.
    storm: Ticks,
    /// When a connection was last ended for another, or not let in.
    displaced: Ticks,
    /// The slot of the table that is looked at next when room is wanted, and how many the hand
    /// leaped over when it last did.
    hand: u32,
    stride: u32,
    /// Slots that may yet be looked at, and local ports that may yet be tried in the tick
    /// `allowed_at`.
    looks: u32,
    tries: u32,
    allowed_at: Ticks,
    /// Services that floods asked for.
    pub(super) asked: Asked,
    /// Of its own: whom the schedulers choose must not depend on floods.
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

    /// Takes note of whether a poll left packets in a queue.
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
            // Never so far back that it would seem to lie ahead.
            self.until = now;
        }
    }

    /// Takes note of a packet that wants a connection, in a table of so many slots: in large
    /// numbers they are a storm.
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

    /// Takes note that a connection was not let stay, or not let in.
    pub(super) const fn note_displaced(&mut self, now: Ticks) {
        self.displaced = now;
    }

    /// Whether that was lately, so that its client may still mean it.
    pub(super) fn has_displaced(&self, now: Ticks) -> bool {
        within(self.displaced, now, STRAY)
    }

    /// Lets one packet of a flood make a connection every so often; whether it is this one.
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

    /// Allows a search so many looks more.
    pub(super) fn grant_looks(&mut self, looks: u32) {
        self.looks = (self.looks + looks).min(MOST_LOOKS);
    }

    /// Whether one more slot may be looked at by now.
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

    /// The slot that the hand is at, of so many; it moves on to the next.
    pub(super) const fn turn_hand(&mut self, capacity: u32) -> ConnId {
        let at = if self.hand < capacity { self.hand } else { 0 };
        self.hand = at + 1;
        ConnId::new(at)
    }

    /// Moves the hand on over slots, of so many, that are likely to stay as well: each time over
    /// twice as many as the last time. It still goes round, so who came last is looked at last.
    pub(super) fn leap(&mut self, capacity: u32) {
        self.stride = (self.stride * 2).clamp(1, (capacity / LONGEST_LEAP).max(1));
        self.hand = ((u64::from(self.hand) + u64::from(self.stride)) % u64::from(capacity.max(1))) as u32;
    }

    /// The hand is where connections can make room: it goes from slot to slot again.
    pub(super) const fn walk(&mut self) {
        self.stride = 0;
    }

    /// A number drawn by lot.
    pub(super) fn draw(&mut self) -> u32 {
        self.lots.below_inclusive(u32::MAX.into()) as u32
    }

    /// Takes note of a connection's new state.
    #[inline]
    pub(super) fn note(&mut self, old: TcpState, new: TcpState) {
        self.half_open = self.half_open + u32::from(new.is_half_open()) - u32::from(old.is_half_open());
    }
}

impl Flows {
    /// Whether a burst of so many packets is part of a flood.
    #[inline]
    pub(super) fn is_flooded(&mut self, packets: usize) -> bool {
        let Defence { half_open, until, storm, .. } = self.defence;
        let many = half_open > self.table.capacity() / FLOODED || within(storm, self.now, STORM);
        let flooded = packets == BURST && until.since(self.now) > 0 && many;
        self.defence.waited = self.defence.waited.saturating_add(u32::from(flooded));
        flooded
    }

    /// Whether a packet that was just parsed, of a burst that is part of a flood, is refused: a SYN
    /// to a service that has had its share. That it may belong to a connection is not looked
    /// at: this is the place to save time.
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

    /// Whether a datagram that would make a connection is refused, as a flood comes.
    #[inline]
    pub(super) fn holds_back_datagram(&mut self) -> bool {
        if !self.defence.flooded {
            return false;
        }
        self.defence.note_attempt(self.now, self.table.capacity());
        !self.defence.admits()
    }
}

/// Whether `then` lies at most so many ticks back.
const fn within(then: Ticks, now: Ticks, ticks: u32) -> bool {
    now.since(then).cast_unsigned() <= ticks
}

/// Whether it is a TCP connection that was never established.
pub(super) fn is_half_open(hot: &Hot) -> bool {
    hot.request.transport() == Transport::Tcp && TcpState::from_raw(hot.state).is_half_open()
}
