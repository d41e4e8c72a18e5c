//! What handling a packet comes to.

use crate::conn::entry::ConnId;
use crate::verdict::Verdict;

/// What handling a packet comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done with.
    Done(Verdict),
    /// It began this connection: to be sent by [`super::flows::Flows::open`] before its burst ends.
    Opens(ConnId),
    /// It belongs to a connection that is opening: to be handled again when all of those are open.
    Early,
    /// It belongs to no connection and to no service, so it is Linux's; unless connections are
    /// opening: then it is to be handled again when they are open.
    Unknown,
    /// The same of a service's packet whose connection may have had to make room: it is to be
    /// dropped, not Linux's.
    Stray,
}

impl From<Verdict> for Outcome {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        Self::Done(verdict)
    }
}
