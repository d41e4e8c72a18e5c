//! How packets change the state of their connection.

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::conn::tcp::Row;
use crate::conn::tcp::TcpState;
use crate::conn::track::ASSURED;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::wire::l4::Transport;
use crate::worker::flows::Flows;

impl Flows {
    /// Steps the state of a request's connection and stamps `expires`.
    #[inline]
    pub(crate) fn step_request(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId) {
        let row = if self.table.hot(id).flags.has(Flags::NOOUTPUT) { Row::InputOnly } else { Row::Input };
        self.step(snapshot, meta, id, row);
    }

    /// Steps the state of the protocol and stamps `expires` (`ip_vs_proto_tcp.c: set_tcp_state`).
    #[inline]
    pub(super) fn step(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId, row: Row) {
        let now = self.now;
        let hot = self.table.hot_mut(id);
        if meta.key.transport() == Transport::Udp {
            hot.expires = now.plus(snapshot.tunables.udp_timeout);
            if row == Row::Output && hot.state == 0 {
                // This is done once. The state of UDP has no other meaning.
                hot.state = 1;
                self.assure(id);
            }
            return;
        }
        let old = TcpState::from_raw(hot.state);
        let new = old.next(row, meta.tcp_flags);
        let timeout = snapshot.tunables.tcp_timeouts[new as usize];
        hot.expires = now.plus(timeout);
        if new != old {
            hot.state = new as u8;
            self.state_changed(snapshot, id, old, new);
        }
    }

    /// Follows a change of TCP state: counts the connection as active or inactive, marks its
    /// template as assured, and winds its timer.
    #[inline(never)]
    pub(super) fn state_changed(&mut self, snapshot: &Snapshot, id: ConnId, old: TcpState, new: TcpState) {
        self.defence.note(old, new);
        let hot = self.table.hot_mut(id);
        let (dest, inactive) = (hot.dest, hot.flags.has(Flags::INACTIVE));
        if inactive == new.is_active() {
            hot.flags =
                if inactive { hot.flags.without(Flags::INACTIVE) } else { hot.flags.with(Flags::INACTIVE) };
            if let Some(stats) = self.stats.dest(DestId::new(dest)) {
                let (from, to) = if inactive {
                    (&stats.inactive, &stats.active)
                } else {
                    (&stats.active, &stats.inactive)
                };
                from.down();
                to.up();
                self.load_changed(snapshot, DestId::new(dest));
            }
        }
        if new == TcpState::Established {
            self.assure(id);
        }
        self.wind(id);
    }

    /// Marks the template of connection `id` as assured: one of its connections has led to
    /// something.
    fn assure(&mut self, id: ConnId) {
        if self.table.hot(id).flags.has(Flags::CONTROLLED) {
            let control = self.table.cold(id).control;
            self.table.hot_mut(ConnId::new(control)).state = ASSURED;
        }
    }
}
