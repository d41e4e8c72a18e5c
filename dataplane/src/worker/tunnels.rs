//! ICMP errors about the director's own tunnels.

use sched::DestId;

use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::forward::outer;
use crate::forward::quoted;
use crate::io::Frame;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::worker::flows::Flows;

impl Flows {
    /// Handles an ICMP error that quotes neither TCP nor UDP. If it is about a packet that was
    /// tunnelled to a real server, the client gets an error from the VIP in its place. All others
    /// go to Linux.
    pub(crate) fn tunnel_error<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
    ) -> Verdict {
        let Some(outer) = outer::read(frame.bytes(), meta) else { return Verdict::Forward(Egress::Host) };
        let Some((id, Direction::Request)) = self.table.find(outer.inner.key) else {
            return Verdict::Forward(Egress::Host);
        };
        let hot = self.table.hot(id);
        let tunnel = Method::from_bits(hot.flags.bits()) == Method::Tunnel;
        if !tunnel || self.table.cold(id).daddr != outer.server.octets() {
            return Verdict::Forward(Egress::Host);
        }
        if !quoted::intact(frame.bytes(), meta) {
            return Verdict::Drop(DropReason::BadIcmp);
        }
        if let Some(stats) = self.stats.dest(DestId::new(hot.dest)).filter(|_| !hot.flags.has(Flags::GONE)) {
            stats.out_pkts.add(1);
            stats.out_bytes.add(u64::from(outer.inner.total_len));
        }
        match self.tell(snapshot, frame, &outer.inner, outer.error, outer.inner.key.dst()) {
            Some((egress, _)) => Verdict::Answer(outer.reason, egress),
            None => Verdict::Drop(outer.reason),
        }
    }
}
