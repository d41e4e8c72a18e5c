//! One-packet services (`ipvsadm --ops`): each datagram is scheduled by itself and makes no
//! connection.

use crate::conn::entry::Direction;
use crate::conn::entry::NONE;
use crate::forward;
use crate::io::Frame;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::dest::Method;
use crate::verdict::DropReason;
use crate::verdict::Verdict;
use crate::worker::create;
use crate::worker::flows::Flows;
use crate::worker::wanted::Wanted;

impl Flows {
    /// Schedules and forwards a datagram of a one-packet service.
    pub(super) fn one_packet<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        wanted: Wanted<'_>,
        frame: &mut F,
        meta: &PacketMeta,
    ) -> Verdict {
        let Wanted { service, key, .. } = wanted;
        let (chosen, sticks) = match service.persistence {
            Some(persistence) => (self.stick(snapshot, wanted, persistence), true),
            None if wanted.misses() => (Err(DropReason::NoDestination), false),
            None => (self.choose(snapshot, service, key), false),
        };
        let (dest, info) = match chosen {
            Ok(chosen) => chosen,
            Err(reason) => return self.unplaced(snapshot, service, frame, meta, reason),
        };
        if info.method == Method::FullNat {
            // FULLNAT would need a local port that is still known after the packet.
            return Verdict::Drop(DropReason::NoLocalPort);
        }
        let dport = if sticks { wanted.sticky_port(info) } else { wanted.scheduled_port(info) };
        let intent = wanted.intent(dest, info, dport, NONE);
        let reply = match self.reply_key(&intent) {
            Ok((_, reply)) => reply,
            Err(reason) => return Verdict::Drop(reason),
        };
        let mut hot = create::compile(snapshot, &intent, reply);
        if let Some(stats) = self.stats.dest(dest) {
            stats.conns.add(1);
            stats.in_pkts.add(1);
            stats.in_bytes.add(u64::from(meta.total_len));
        }
        match forward::send(snapshot, frame, meta, &mut hot, Direction::Request) {
            Ok(egress) => Verdict::Forward(egress),
            Err(refusal) => self.refuse(snapshot, frame, meta, refusal, meta.key.dst(), NONE),
        }
    }
}
