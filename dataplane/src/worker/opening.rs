//! Opening connections: their first packet has come and has not left yet.
//!
//! The reply key of a new connection is known only when its real server is chosen, and the bucket
//! for that key is then not in the cache. So the first packet waits for the end of its burst, and
//! the bucket is fetched while other packets are handled. Until then the connection has the bit
//! [`Flags::OPENING`] and is found only by its request key. No packet of the connection overtakes
//! the first one: if a packet belongs to an opening connection or to no known one, all connections
//! are opened before it is handled.

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::conn::key::FlowKey;
use crate::conn::table::InsertError;
use crate::conn::tcp::TcpState;
use crate::io::Frame;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::verdict::DropReason;
use crate::verdict::Verdict;
use crate::wire::l4::Transport;
use crate::worker::flows::Flows;

impl Flows {
    /// Finishes an opening connection and forwards its first packet.
    pub(crate) fn open<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        id: ConnId,
    ) -> Verdict {
        match self.complete(snapshot, id) {
            Ok(()) => self.send_request(snapshot, frame, meta, id),
            Err(reason) => {
                self.undo(snapshot, id);
                Verdict::Drop(reason)
            }
        }
    }

    /// Has the lines fetched that [`Self::open`] touches. Call it some time before.
    #[inline]
    pub(crate) fn prepare(&self, id: ConnId) {
        self.table.prepare(id);
    }

    /// Inserts the connection under its reply key. With FULLNAT, looks for another port if the key
    /// is taken.
    fn complete(&mut self, snapshot: &Snapshot, id: ConnId) -> Result<(), DropReason> {
        let hot = self.table.hot(id);
        let (reply, flags) = (hot.reply, hot.flags);
        match self.table.complete(id) {
            Err(InsertError::Duplicate) if Method::from_bits(flags.bits()) == Method::FullNat => {
                self.open_elsewhere(snapshot, id)?;
            }
            Err(InsertError::Duplicate) if self.evict_finished(snapshot, reply) => self.table.complete(id)?,
            made => made?,
        }
        Ok(())
    }

    /// Ends a connection as if it had never been made.
    fn undo(&mut self, snapshot: &Snapshot, id: ConnId) {
        let dest = DestId::new(self.table.hot(id).dest);
        self.stats.created.take_back(1);
        self.stats.ended.take_back(1);
        let Some(stats) = self.stats.dest(dest) else { return self.end(snapshot, id) };
        stats.conns.take_back(1);
        let conns = stats.active.get() + stats.inactive.get();
        // The destination was not overloaded when it was chosen, so this connection overloaded it.
        let tipped =
            snapshot.dest(dest).is_some_and(|info| info.overloads(conns) && !info.overloads(conns - 1));
        self.end(snapshot, id);
        if let Some(stats) = self.stats.dest(dest).filter(|_| tipped) {
            stats.overloaded.set(0);
            self.load_changed(snapshot, dest);
        }
    }

    /// Ends a finished connection that has the reply key of a new one. Returns whether it did.
    fn evict_finished(&mut self, snapshot: &Snapshot, reply: FlowKey) -> bool {
        let Some((id, Direction::Reply)) = self.table.find(reply) else { return false };
        let (hot, cold) = (self.table.hot(id), self.table.cold(id));
        let finished = matches!(TcpState::from_raw(hot.state), TcpState::TimeWait | TcpState::Close);
        let evict = reply.transport() == Transport::Tcp && finished && cold.controlled == 0;
        if evict {
            self.end(snapshot, id);
        }
        evict
    }

    /// Whether the connection is opening.
    pub(crate) fn is_opening(&self, id: ConnId) -> bool {
        self.table.hot(id).flags.has(Flags::OPENING)
    }
}

impl From<InsertError> for DropReason {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full => Self::TableFull,
            InsertError::Duplicate => Self::ReplyTaken,
        }
    }
}
