//! The live numbers of destinations.

use crate::DestId;

/// The live numbers of destinations, as the calling worker knows them.
pub trait Loads {
    /// Connections in an active state.
    fn active(&self, dest: DestId) -> u32;

    /// All other connections.
    fn inactive(&self, dest: DestId) -> u32;

    /// Whether the destination has reached its upper threshold and has not yet fallen below the
    /// lower one (Linux: `IP_VS_DEST_F_OVERLOAD`).
    fn overloaded(&self, dest: DestId) -> bool;

    /// Estimated traffic in both directions, bytes per second (`lt`, `wlt`).
    fn traffic(&self, dest: DestId) -> u64 {
        let _ = dest;
        0
    }

    /// Connections scheduled to the destination since the last estimator tick (`lt`, `wlt`).
    fn pending(&self, dest: DestId) -> u32 {
        let _ = dest;
        0
    }

    /// Smoothed response time in microseconds; `None` before the first measurement (`wrt`).
    fn response_time(&self, dest: DestId) -> Option<u32> {
        let _ = dest;
        None
    }

    /// Whether the response time of a destination is out of date: it was measured, but for some
    /// time no connection has come to measure again (`wrt`). `now` is in monotonic milliseconds.
    fn to_be_probed(&self, dest: DestId, now: u64) -> bool {
        let _ = (dest, now);
        false
    }

    /// The work of a destination's connections: an active one counts as 256 inactive ones.
    ///
    /// Linux: `include/net/ip_vs.h: ip_vs_dest_conn_overhead`.
    fn overhead(&self, dest: DestId) -> u64 {
        256 * u64::from(self.active(dest)) + u64::from(self.inactive(dest))
    }
}
