//! ICMP errors: errors of others about our connections, and the director's own to senders of
//! dropped packets.

use core::net::Ipv4Addr;

use sched::DestId;

use crate::conn::entry::Direction;
use crate::conn::entry::Flags;
use crate::forward;
use crate::forward::Refusal;
use crate::forward::icmp;
use crate::forward::quoted;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::wire::icmp::IcmpError;
use crate::worker::flows::Flows;
use crate::worker::outcome::Outcome;

impl Flows {
    /// Handles an ICMP error of somebody else, which may be about one of our connections.
    #[cold]
    pub(super) fn icmp_error<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        ingress: PortId,
    ) -> Outcome {
        let quote = match quoted::read(frame.bytes(), meta) {
            Ok(Some(quote)) => quote,
            Ok(None) => return self.tunnel_error(snapshot, frame, meta).into(),
            Err(reason) => return Verdict::Drop(reason).into(),
        };
        let Some((id, direction)) = self.table.find(quote.key.reversed()) else {
            return Outcome::Unknown;
        };
        if self.is_opening(id) {
            return Outcome::Early;
        }
        if let Err(reason) = snapshot.paths.admit(meta.key.src(), ingress) {
            return Verdict::Drop(reason).into();
        }
        if !quoted::intact(frame.bytes(), meta) {
            return Verdict::Drop(DropReason::BadIcmp).into();
        }
        if self.table.hot(id).rules != snapshot.generation {
            self.judge(snapshot, id);
        }
        let hot = self.table.hot_mut(id);
        if let Some(stats) = self.stats.dest(DestId::new(hot.dest)).filter(|_| !hot.flags.has(Flags::GONE)) {
            let (packets, bytes) = match direction {
                Direction::Request => (&stats.in_pkts, &stats.in_bytes),
                Direction::Reply => (&stats.out_pkts, &stats.out_bytes),
            };
            packets.add(1);
            bytes.add(u64::from(meta.total_len));
        }
        match quoted::send(snapshot, frame, meta, &quote, hot, direction) {
            Ok(egress) => Verdict::Forward(egress).into(),
            // No error may be sent about an error.
            Err(Refusal::Drop(reason) | Refusal::Tell(reason, _)) => Verdict::Drop(reason).into(),
        }
    }

    /// Drops a packet. If `refusal` names an error, tells the packet's sender, if the rate limit
    /// allows it. The error comes from `source`. It counts as a packet of the destination `dest`,
    /// or of none ([`NONE`]): in Linux an error about a DR or TUN connection passes that connection
    /// when it leaves, and is counted there.
    #[cold]
    pub(crate) fn refuse<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        refusal: Refusal,
        source: Ipv4Addr,
        dest: u32,
    ) -> Verdict {
        let (reason, error) = match refusal {
            Refusal::Drop(reason) => return Verdict::Drop(reason),
            Refusal::Tell(reason, error) => (reason, error),
        };
        match self.tell(snapshot, frame, meta, error, source) {
            Some((egress, len)) => {
                if let Some(stats) = self.stats.dest(DestId::new(dest)) {
                    stats.out_pkts.add(1);
                    stats.out_bytes.add(u64::from(len));
                }
                Verdict::Answer(reason, egress)
            }
            None => Verdict::Drop(reason),
        }
    }

    /// Turns the frame into an ICMP error about the packet in it. Returns where it goes and its IP
    /// length in bytes.
    pub(crate) fn tell<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        error: IcmpError,
        source: Ipv4Addr,
    ) -> Option<(Egress, u16)> {
        if !self.limiter.allow(meta.key.src(), error, self.now) {
            self.stats.icmp_suppressed.add(1);
            return None;
        }
        self.icmp_id = self.icmp_id.wrapping_add(1);
        let (receiver, len) = icmp::error_about(frame, meta, error, source, self.icmp_id)?;
        let egress = forward::address(snapshot, frame, receiver)?;
        self.stats.icmp_sent.add(1);
        Some((egress, len))
    }
}
