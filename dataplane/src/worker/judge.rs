//! Whether a connection may still carry its packets. It is judged again under newer rules, and a
//! packet may replace it by a new connection.

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::conn::entry::NONE;
use crate::conn::tcp::TcpState;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::snapshot::route::NextHop;
use crate::worker::flows::Flows;
use crate::worker::outcome::Outcome;

impl Flows {
    /// Judges a connection again after rules or routes have changed.
    #[cold]
    pub(crate) fn judge(&mut self, snapshot: &Snapshot, id: ConnId) {
        let hot = self.table.hot_mut(id);
        hot.rules = snapshot.generation;
        if let Some(info) = snapshot.dest(DestId::new(hot.dest)) {
            hot.flags =
                if info.available { hot.flags.without(Flags::GONE) } else { hot.flags.with(Flags::GONE) };
            hot.hops[Direction::Request as usize] = info.hop;
        }
        hot.hops[Direction::Reply as usize] = match snapshot.paths.next_hop(hot.request.src()) {
            NextHop::Known(adjacency) => adjacency,
            _ => NONE,
        };
    }

    /// Whether a SYN on this connection starts a new one (`ip_vs_core.c: is_new_conn_expected`).
    #[cold]
    pub(super) fn is_to_be_reused(&self, snapshot: &Snapshot, id: ConnId) -> bool {
        let (hot, cold, tunables) = (self.table.hot(id), self.table.cold(id), &snapshot.tunables);
        if tunables.expire_nodest_conn
            && snapshot.dest(DestId::new(hot.dest)).is_some_and(|info| info.weight == 0)
        {
            return true;
        }
        if tunables.conn_reuse_mode == 0 || cold.control != NONE {
            return false;
        }
        match TcpState::from_raw(hot.state) {
            TcpState::TimeWait | TcpState::Close => true,
            TcpState::FinWait => tunables.conn_reuse_mode & 2 != 0 && hot.flags.has(Flags::NOOUTPUT),
            _ => false,
        }
    }

    /// Handles a packet as if its connection did not exist. Linux ends the old connection only with
    /// its next tick, so the scheduler still counts it (`ip_vs_conn.c: ip_vs_conn_expire_now`).
    #[inline(never)]
    pub(super) fn replace<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        id: ConnId,
        ingress: PortId,
    ) -> Outcome {
        if self.table.cold(id).controlled != 0 {
            return self.stranger(snapshot, frame, meta, ingress);
        }
        let old = self.unlink(snapshot, id);
        // In Linux the old connection still exists when an error about the packet is sent, and
        // counts it.
        if !old.flags.has(Flags::GONE) && !Method::from_bits(old.flags.bits()).is_translated() {
            self.replaced = old.dest;
        }
        let outcome = self.stranger(snapshot, frame, meta, ingress);
        self.replaced = NONE;
        self.unbind(snapshot, &old);
        outcome
    }
}
