//! Finds the ports that bring packets with unfinished checksums, and finishes these checksums.
//!
//! [`crate::wire::unfinished`] explains these checksums. On most ports only the first packets of
//! each tick's first burst are checked: few packets of a busy port, and nearly all packets of a
//! quiet one. All packets of a port are checked
//!
//! * for a second after each unfinished one;
//! * while the port is suspected. A port that brings several such packets within ten seconds is
//!   suspected until it has brought none for a minute;
//! * for a moment after a client has repeated its SYN. A repeated SYN is a sign that packets get
//!   lost. So a connection that begins on a busy port succeeds at its second try.

use crate::io::Burst;
use crate::io::Frame;
use crate::io::PortId;
use crate::stats::WorkerStats;
use crate::time::Ticks;
use crate::wire::unfinished;

/// How many packets of a tick's first burst are checked on a port that brings no unfinished ones.
const FEW: usize = 4;
/// A port is suspected if it brings this many unfinished packets within [`WITHIN`]. One is not
/// enough, because anybody can forge one.
const SEVERAL: u64 = 8;
const WITHIN: i32 = 10 * SECOND;
/// A port is no longer suspected if it has brought none for this time.
const FORGIVEN: i32 = 60 * SECOND;
/// How long all packets of a port are checked after an unfinished one.
const SHORTLY: i32 = SECOND;
/// How long all packets of all ports are checked after a repeated SYN.
const CLOSELY: i32 = PAUSE / 5;
/// The shortest time between two such checks. So nobody can cause them all the time.
const PAUSE: i32 = SECOND;
const SECOND: i32 = Ticks::PER_SECOND.cast_signed();
/// DPDK's limit of ports (`RTE_MAX_ETHPORTS`). Each has a bit in [`WorkerStats::unfinished_ports`].
const PORTS: usize = 32;

/// What is known about the ports.
#[derive(Debug)]
pub(crate) struct Offload {
    /// The tick in which a port's further bursts are not checked. For a port whose packets are all
    /// checked it is never the present tick.
    skip: [Ticks; PORTS],
    found: [Found; PORTS],
    closely_since: Ticks,
}

/// The unfinished packets of one port.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// When the last one came.
    last: Ticks,
    /// How many came since [`Self::since`].
    count: u64,
    /// When the first one came that is counted.
    since: Ticks,
}

impl Offload {
    pub(crate) fn new(now: Ticks) -> Self {
        let past = now.plus(u32::MAX / 2);
        let found = Found { last: past, count: 0, since: past };
        // These times are in the past, so that a repeated SYN has an effect from the start.
        Self { skip: [now.plus(u32::MAX); PORTS], found: [found; PORTS], closely_since: past }
    }

    /// Whether a burst of this port must be checked.
    #[inline(always)]
    pub(crate) fn is_due(&self, port: PortId, now: Ticks) -> bool {
        self.skip.get(port.index()).is_some_and(|skip| *skip != now)
    }

    /// Finishes unfinished packets in a burst that must be checked.
    #[inline(never)]
    pub(crate) fn finish<F: Frame>(
        &mut self,
        frames: &mut Burst<F>,
        port: PortId,
        now: Ticks,
        stats: &WorkerStats,
    ) {
        let Some(found) = self.found.get(port.index()) else { return };
        let closely = is_suspected(stats, port)
            || (0..SHORTLY).contains(&now.since(found.last))
            || (0..CLOSELY).contains(&now.since(self.closely_since));
        let few = frames.len().min(FEW);
        let (few, others) = frames.split_at_mut(few);
        let mut unfinished = finish_all(few);
        if closely || unfinished != 0 {
            unfinished += finish_all(others);
        }
        if unfinished != 0 {
            self.note(port, unfinished, now, stats);
        }
        if stats.unfinished_ports.get() != 0 {
            self.forgive(now, stats);
        }
        self.skip[port.index()] = if closely || unfinished != 0 { now.plus(u32::MAX) } else { now };
    }

    /// Counts unfinished packets. If there are several, their port is suspected.
    #[cold]
    fn note(&mut self, port: PortId, unfinished: u64, now: Ticks, stats: &WorkerStats) {
        stats.unfinished.add(unfinished);
        let found = &mut self.found[port.index()];
        if !(0..WITHIN).contains(&now.since(found.since)) {
            (found.count, found.since) = (0, now);
        }
        found.count += unfinished;
        found.last = now;
        if found.count >= SEVERAL {
            stats.unfinished_ports.set(stats.unfinished_ports.get() | 1 << port.index());
        }
    }

    /// Clears the suspicion of ports that have brought no unfinished packets for a long time.
    fn forgive(&self, now: Ticks, stats: &WorkerStats) {
        let mut left = stats.unfinished_ports.get();
        while left != 0 {
            let port = left.trailing_zeros();
            left &= left - 1;
            if !(0..FORGIVEN).contains(&now.since(self.found[port as usize].last)) {
                stats.unfinished_ports.set(stats.unfinished_ports.get() & !(1 << port));
            }
        }
    }

    /// A client has repeated its SYN.
    #[cold]
    pub(crate) fn look_closely(&mut self, now: Ticks) {
        if !(0..PAUSE).contains(&now.since(self.closely_since)) {
            self.closely_since = now;
            self.skip = [now.plus(u32::MAX); PORTS];
        }
    }
}

fn is_suspected(stats: &WorkerStats, port: PortId) -> bool {
    stats.unfinished_ports.get() & 1 << port.index() != 0
}

/// Finishes the unfinished packets among these frames. Returns how many there were.
#[inline]
fn finish_all<F: Frame>(frames: &mut [F]) -> u64 {
    frames.iter_mut().map(|frame| u64::from(unfinished::finish(frame.bytes_mut()))).sum()
}
