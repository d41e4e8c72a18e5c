//! The result of handling a packet.

use crate::conn::entry::ConnId;
use crate::verdict::Verdict;

/// The result of handling a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The packet is done: this is its verdict.
    Done(Verdict),
    /// The packet began this connection. [`super::flows::Flows::open`] must forward it before its
    /// burst ends.
    Opens(ConnId),
    /// The packet belongs to an opening connection. It must be handled again when all connections
    /// are open.
    Early,
    /// The packet belongs to no known connection and to no service. If connections are opening, it
    /// must be handled again when they are open. Otherwise it goes to Linux.
    Unknown,
    /// The packet belongs to a service and to no known connection; its connection may have had to
    /// make room. As with `Unknown`, but it is dropped and does not go to Linux.
    Stray,
}

impl From<Verdict> for Outcome {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        Self::Done(verdict)
    }
}
