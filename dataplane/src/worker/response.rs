//! The response times of real servers, measured on the packets.

use sched::DestId;

use crate::conn::entry::ConnId;
use crate::conn::entry::Flags;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::wire::l4::Transport;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;

/// No client repeats an unanswered datagram within this time, in microseconds.
const SENT_AGAIN: u32 = 200_000;

impl Flows {
    /// Measures a response time at the first reply of a connection. It is not used if the client
    /// repeated its first packet, because nobody knows which of the two is answered (Karn's rule,
    /// RFC 6298 section 3). It is not used either if this worker was late.
    #[cold]
    pub(super) fn measure(&mut self, snapshot: &Snapshot, meta: &PacketMeta, id: ConnId) {
        let hot = self.table.hot_mut(id);
        hot.flags = hot.flags.without(Flags::MEASURED);
        let (dest, again) = (DestId::new(hot.dest), hot.in_pkts != 1);
        let micros = self.micros.wrapping_sub(self.table.cold(id).asked);
        let answers = match meta.key.transport() {
            Transport::Tcp => meta.tcp_flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK && !again,
            // A client may send several different datagrams in a row, so a second one need not be a
            // repetition.
            Transport::Udp => !again || micros < SENT_AGAIN,
        };
        if !answers || self.held_up.spoils(micros, self.micros) {
            return;
        }
        if self.stats.answered_after(dest, micros, self.now) {
            // This changes the assumed response time of servers that were not measured yet.
            self.loads_changed(snapshot, dest);
        }
        self.load_changed(snapshot, dest);
    }
}
