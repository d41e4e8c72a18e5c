//! The response times of real servers, measured on the packets.

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::wire::l4::Transport;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;

/// Microseconds before which nobody sends a datagram again that was not answered.
const SENT_AGAIN: u32 = 200_000;

impl Flows {
    /// The first reply of a connection whose real server is being timed. It says nothing when the
    /// first packet had been sent again, as nobody knows which of them is answered (Karn's
    /// rule, RFC 6298 section 3), nor when it was this worker that was late.
    #[cold]
    pub(super) fn measure(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId) {
        let hot = self.table.hot_mut(id);
        hot.flags = hot.flags.without(Flags::MEASURED);
        let (dest, again) = (DestId::new(hot.dest), hot.in_pkts != 1);
        let micros = self.micros.wrapping_sub(self.table.cold(id).asked);
        let answers = match meta.key.transport() {
            Transport::Tcp => meta.tcp_flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK && !again,
            // Datagrams may come in a row without one being the other again.
            Transport::Udp => !again || micros < SENT_AGAIN,
        };
        if !answers || self.held_up.spoils(micros, self.micros) {
            return;
        }
        if self.stats.answered_after(dest, micros, self.now) {
            // What is assumed of servers that have not answered may be another from now on.
            self.loads_changed(snapshot, dest);
        }
        self.load_changed(snapshot, dest);
    }
}
