//! Packets without a connection: some of them get a new one, the others are refused or go to Linux.
//!
//! Must agree with `net/netfilter/ipvs/ip_vs_core.c: ip_vs_schedule, ip_vs_leave`.

use core::net::Ipv4Addr;

use crate::conn::entry::ConnId;
use crate::conn::entry::NONE;
use crate::conn::key::FlowKey;
use crate::forward::Refusal;
use crate::io::Frame;
use crate::io::PortId;
use crate::meta::PacketMeta;
use crate::snapshot::Snapshot;
use crate::snapshot::route::NextHop;
use crate::snapshot::service::Service;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;
use crate::wire::icmp::IcmpError;
use crate::wire::l4::Transport;
use crate::wire::l4::flag;
use crate::worker::flows::Flows;
use crate::worker::outcome::Outcome;
use crate::worker::wanted::Wanted;

/// The source port of active FTP's data connections. They are never scheduled.
pub(super) const FTP_DATA: u16 = 20;
const FTP: u16 = 21;

impl Flows {
    /// Handles a packet that belongs to no connection.
    #[inline(never)]
    pub(crate) fn stranger<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        meta: &PacketMeta,
        ingress: PortId,
    ) -> Outcome {
        let key = meta.key;
        if is_nobody(key.src()) {
            return Verdict::Drop(DropReason::Martian).into();
        }
        if key.transport() == Transport::Tcp {
            let opens = meta.tcp_flags & flag::SYN != 0 || snapshot.tunables.sloppy_tcp;
            if meta.tcp_flags & flag::RST != 0 || !opens {
                return self.stray(snapshot, key, ingress);
            }
        }
        let mark = snapshot.marks.mark(key, ingress);
        let Some(service) = snapshot.services.find(mark, key) else {
            return Outcome::Unknown;
        };
        // SYNs were held back as they were parsed.
        let held_back = meta.tcp_flags & flag::SYN == 0 && self.holds_back_at_last();
        if held_back {
            return Verdict::Drop(match key.transport() {
                Transport::Tcp => DropReason::SynFlood,
                Transport::Udp => DropReason::UdpFlood,
            })
            .into();
        }
        let client = match snapshot.paths.admit(key.src(), ingress) {
            Ok(NextHop::Known(adjacency)) => adjacency,
            Ok(_) => NONE,
            Err(reason) => return Verdict::Drop(reason).into(),
        };
        let wanted = Wanted { service, key, mark, client };
        if key.sport() == FTP_DATA {
            return Outcome::Unknown;
        }
        if service.one_packet && key.transport() == Transport::Udp {
            return self.one_packet(snapshot, wanted, frame, meta).into();
        }
        let made = match service.persistence {
            Some(persistence) => self.schedule_persistent(snapshot, wanted, persistence),
            None if wanted.misses() => Err(DropReason::NoDestination),
            None => self.schedule(snapshot, wanted),
        };
        match made {
            Ok(id) => {
                // The state is stepped at once, because the scheduler's next choice depends on
                // whether the connection is active.
                self.step_request(snapshot, meta, id);
                Outcome::Opens(id)
            }
            Err(reason) => self.unplaced(snapshot, service, frame, meta, reason).into(),
        }
    }

    /// Handles a TCP packet that belongs to no connection and begins none. It goes to Linux, which
    /// answers with a reset. But if its connection may have had to make room, it is dropped,
    /// because the client's next attempt may succeed.
    fn stray(&self, snapshot: &Snapshot, key: FlowKey, ingress: PortId) -> Outcome {
        if !self.defence.has_displaced(self.now) || key.sport() == FTP_DATA {
            return Outcome::Unknown;
        }
        let mark = snapshot.marks.mark(key, ingress);
        match snapshot.services.find(mark, key) {
            Some(service) if service.persistence.is_some() => Outcome::Stray,
            Some(service) if !(Wanted { service, key, mark, client: NONE }).misses() => Outcome::Stray,
            _ => Outcome::Unknown,
        }
    }

    /// Handles a packet for which the service made no connection.
    pub(super) fn unplaced<F: Frame>(
        &mut self,
        snapshot: &Snapshot,
        service: &Service,
        frame: &mut F,
        meta: &PacketMeta,
        reason: DropReason,
    ) -> Verdict {
        if reason != DropReason::NoDestination {
            return Verdict::Drop(reason);
        }
        if service.key.port() == FTP && meta.key.dport() != FTP {
            return Verdict::Forward(Egress::Host);
        }
        let refusal = Refusal::Tell(reason, IcmpError::PortUnreachable);
        self.refuse(snapshot, frame, meta, refusal, meta.key.dst(), self.replaced)
    }

    fn schedule(&mut self, snapshot: &Snapshot, wanted: Wanted<'_>) -> Result<ConnId, DropReason> {
        let (dest, info) = self.choose(snapshot, wanted.service, wanted.key)?;
        self.create(snapshot, &wanted.intent(dest, info, wanted.scheduled_port(info), NONE))
    }
}

/// Whether no host can have this address. Linux drops packets from such senders before IPVS sees
/// them (`net/ipv4/route.c: ip_route_input_slow`).
pub(super) const fn is_nobody(addr: Ipv4Addr) -> bool {
    addr.is_loopback() || addr.is_multicast() || addr.is_broadcast() || addr.octets()[0] == 0
}
