//! What keeps a flood of SYNs from the connections that stand.
//!
//! A SYN costs many times what a packet of an established connection does, and makes a connection that lives for a
//! minute. So while many connections are half open and more packets come than can be handled, one SYN makes a connection every
//! so often; and in a
//! full table a new connection takes the place of a half-open one, drawn by lot. Linux has the same in mind with `drop_packet` and `drop_entry`
//! (`net/netfilter/ipvs/ip_vs_ctl.c: update_defense_level`, `ip_vs_conn.c: ip_vs_random_dropentry`).

use sched::Random;
use sched::XorShift;

use crate::BURST;
use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::entry::Hot;
use crate::conn::entry::NONE;
use crate::conn::tcp::TcpState;
use crate::io::PortId;
use crate::meta::Class;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::time::Ticks;
use crate::wire::l4;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;

/// More than one in so many slots half open: a flood, if packets wait.
const FLOODED: u32 = 8;
/// Polls in a row that leave packets in a queue, before SYNs are held back: more than a device's queue holds, so that
/// packets are being lost already.
const BEHIND: u32 = 64;
/// How long the queues must have been empty by the end of each poll before all SYNs are let in again.
const REMEMBERED: u32 = Ticks::PER_SECOND;
/// Bursts in which one SYN makes a connection during a flood, if the queues can be emptied meanwhile; and if not.
const BURSTS_FOR_ONE: u32 = 4;
const BURSTS_BEHIND: u32 = 64;
/// Slots drawn for one to take: if one in eight is half open, one of nine searches fails.
const DRAWN: u32 = 16;

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
    /// Of its own: whom the schedulers choose must not depend on floods.
    lots: XorShift,
}

impl Defence {
    pub(super) fn new(seed: u64, now: Ticks) -> Self {
        Self { half_open: 0, waited: 0, behind: 0, until: now, lots: XorShift::new(seed) }
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
        if self.behind >= BEHIND || flooded && behind {
            self.until = now.plus(REMEMBERED);
        } else if !flooded {
            // Never so far back that it would seem to lie ahead.
            self.until = now;
        }
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
        let Defence { half_open, until, .. } = self.defence;
        let flooded = packets == BURST && half_open > self.capacity() / FLOODED && until.since(self.now) > 0;
        self.defence.waited = self.defence.waited.saturating_add(u32::from(flooded));
        flooded
    }

    /// Whether a packet that was just parsed, of a burst that is part of a flood, is refused: a SYN to a service that
    /// has had its share. That it may belong to a connection is not looked at: this is the place to save time.
    pub(super) fn holds_back(&mut self, snapshot: &Snapshot, meta: &PacketMeta, ingress: PortId) -> bool {
        let opens = meta.class == Class::Flow && meta.tcp_flags & (flag::SYN | flag::RST) == flag::SYN;
        if !opens || snapshot.services.find(snapshot.marks.mark(meta.key, ingress), meta.key).is_none() {
            return false;
        }
        let due = if self.defence.behind == 0 { BURSTS_FOR_ONE } else { BURSTS_BEHIND };
        let admitted = self.defence.waited >= due;
        if admitted {
            self.defence.waited = 0;
        }
        !admitted
    }

    /// Ends a half-open connection, with its template if that never led anywhere, unless it is `kept`; false when none
    /// was drawn.
    pub(super) fn make_room(&mut self, snapshot: &Snapshot, kept: u32) -> bool {
        let Some(last) = self.capacity().checked_sub(1) else { return false };
        for _ in 0..DRAWN {
            let id = ConnId::new(self.defence.lots.below_inclusive(last.into()) as u32);
            if !may_yield(self.table.hot(id)) {
                continue;
            }
            let control = self.table.cold(id).control;
            self.end(snapshot, id);
            self.stats.displaced.add(1);
            // Or a flood would leave nothing but templates.
            if control != NONE && control != kept && self.is_idle_template(ConnId::new(control)) {
                self.end(snapshot, ConnId::new(control));
            }
            return true;
        }
        false
    }

    /// Whether nothing hangs on a template, and no connection that did was ever established.
    fn is_idle_template(&self, id: ConnId) -> bool {
        !self.table.hot(id).flags.has(Flags::ASSURED) && self.table.cold(id).controlled == 0
    }
}

/// Whether a connection may have to make room for another.
fn may_yield(hot: &Hot) -> bool {
    let kept = Flags::TEMPLATE.bits() | Flags::OPENING.bits();
    hot.flags.bits() & kept == 0 && is_half_open(hot)
}

/// Whether it is a TCP connection that was never established.
pub(super) fn is_half_open(hot: &Hot) -> bool {
    hot.request.protocol() == l4::TCP && TcpState::from_raw(hot.state).is_half_open()
}
