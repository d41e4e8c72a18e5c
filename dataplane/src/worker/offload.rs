//! Which ports bring packets whose checksums are unfinished, and finishing them.
//!
//! [`crate::wire::unfinished`] says what these are. On a port where one was found all packets are
//! looked at, and on others the first burst of each tick: few packets of a busy port and nearly all
//! of a quiet one. A client that sends its SYN again is a sign that packets get lost, so for a
//! while after it all ports are looked at closely: what began on a busy port is found at the second
//! try.

use crate::io::Burst;
use crate::io::Frame;
use crate::io::PortId;
use crate::stats::WorkerStats;
use crate::time::Ticks;
use crate::wire::unfinished;

/// How long all bursts are looked at after a repeated SYN.
const CLOSELY: i32 = PAUSE / 5;
/// How often that may begin again, so that nobody can have it done all the time.
const PAUSE: i32 = Ticks::PER_SECOND.cast_signed();
/// DPDK's own limit (`RTE_MAX_ETHPORTS`); a bit each in [`WorkerStats::unfinished_ports`].
const PORTS: usize = 32;

/// What is known of the ports.
#[derive(Debug)]
pub(crate) struct Offload {
    /// The tick in which each port's bursts are let by; never the present one of a port with
    /// unfinished packets.
    skip: [Ticks; PORTS],
    closely_since: Ticks,
}

impl Offload {
    pub(crate) fn new(now: Ticks) -> Self {
        // In the past, so that a repeated SYN counts from the start.
        Self { skip: [now.plus(u32::MAX); PORTS], closely_since: now.plus(u32::MAX / 2) }
    }

    /// Whether a burst of this port is to be looked at.
    #[inline(always)]
    pub(crate) fn is_due(&self, port: PortId, now: Ticks) -> bool {
        self.skip.get(port.index()).is_some_and(|skip| *skip != now)
    }

    /// Finishes what is unfinished in a burst that is due.
    #[inline(never)]
    pub(crate) fn finish<F: Frame>(
        &mut self,
        frames: &mut Burst<F>,
        port: PortId,
        now: Ticks,
        stats: &WorkerStats,
    ) {
        let found: u64 =
            frames.iter_mut().map(|frame| u64::from(unfinished::finish(frame.bytes_mut()))).sum();
        let bit = 1 << port.index();
        if found != 0 {
            stats.unfinished.add(found);
            stats.unfinished_ports.set(stats.unfinished_ports.get() | bit);
        }
        let lasts =
            stats.unfinished_ports.get() & bit != 0 || (0..CLOSELY).contains(&now.since(self.closely_since));
        if let Some(skip) = self.skip.get_mut(port.index()) {
            *skip = if lasts { now.plus(u32::MAX) } else { now };
        }
    }

    /// A client has sent its SYN again.
    #[cold]
    pub(crate) fn look_closely(&mut self, now: Ticks) {
        if !(0..PAUSE).contains(&now.since(self.closely_since)) {
            self.closely_since = now;
            self.skip = [now.plus(u32::MAX); PORTS];
        }
    }
}
