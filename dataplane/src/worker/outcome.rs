//! What handling a packet comes to, in one register.
//!
//! As an enum it would be returned through memory, written in pieces and read as a whole: for that the processor waits
//! until the pieces have left the store buffer, a dozen cycles or more with each packet.

use core::net::Ipv4Addr;

use crate::conn::entry::ConnId;
use crate::io::PortId;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;

/// What handling a packet comes to, spelled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is done with.
    Done(Verdict),
    /// It began this connection: to be sent by [`super::flows::Flows::open`] before its burst ends.
    Opens(ConnId),
    /// It belongs to a connection that is opening: to be handled again when all of those are open.
    Early,
}

/// A [`Step`]: its kind and an egress's in the lowest byte, then the drop reason, the port, and 32 bits of address or slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome(u64);

const EARLY: u64 = 0;
const OPENS: u64 = 1;
const DROP: u64 = 2;
const FORWARD: u64 = 3;
const ANSWER: u64 = 4;
const HOST: u64 = 0x00;
const PORT: u64 = 0x10;
const RESOLVE: u64 = 0x20;

impl Outcome {
    pub(crate) const EARLY: Self = Self(EARLY);

    #[inline]
    pub(crate) fn opens(id: ConnId) -> Self {
        Self(OPENS | u64::from(id.as_u32()) << 32)
    }

    /// The same, spelled out.
    #[inline]
    pub(crate) fn step(self) -> Step {
        let high = (self.0 >> 32) as u32;
        let reason = DropReason::ALL.get((self.0 >> 8) as usize & 0xff).copied();
        // Made by `From` below, so there is one.
        let reason = reason.unwrap_or(DropReason::Malformed);
        match self.0 & 0x0f {
            EARLY => Step::Early,
            OPENS => Step::Opens(ConnId::new(high)),
            DROP => Step::Done(Verdict::Drop(reason)),
            FORWARD => Step::Done(Verdict::Forward(self.egress())),
            _ => Step::Done(Verdict::Answer(reason, self.egress())),
        }
    }

    #[inline]
    fn egress(self) -> Egress {
        let port = PortId::new((self.0 >> 16) as u16);
        match self.0 & 0xf0 {
            HOST => Egress::Host,
            PORT => Egress::Port(port),
            _ => Egress::Resolve(port, Ipv4Addr::from_bits((self.0 >> 32) as u32)),
        }
    }
}

impl From<Verdict> for Outcome {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        let reason = |reason: DropReason| (reason as u64) << 8;
        Self(match verdict {
            Verdict::Drop(why) => DROP | reason(why),
            Verdict::Forward(egress) => FORWARD | pack(egress),
            Verdict::Answer(why, egress) => ANSWER | reason(why) | pack(egress),
        })
    }
}

#[inline]
fn pack(egress: Egress) -> u64 {
    let port = |port: PortId| u64::from(port.as_u16()) << 16;
    match egress {
        Egress::Host => HOST,
        Egress::Port(id) => PORT | port(id),
        Egress::Resolve(id, next_hop) => RESOLVE | port(id) | u64::from(next_hop.to_bits()) << 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let port = PortId::new(0xabcd);
        let ways = [Egress::Host, Egress::Port(port), Egress::Resolve(port, Ipv4Addr::new(255, 2, 3, 4))];
        for egress in ways {
            let verdict = Verdict::Forward(egress);
            assert_eq!(Outcome::from(verdict).step(), Step::Done(verdict));
            for reason in DropReason::ALL {
                let verdict = Verdict::Answer(*reason, egress);
                assert_eq!(Outcome::from(verdict).step(), Step::Done(verdict));
                let verdict = Verdict::Drop(*reason);
                assert_eq!(Outcome::from(verdict).step(), Step::Done(verdict));
            }
        }
        let id = ConnId::new(0x7fff_fffe);
        assert_eq!(Outcome::opens(id).step(), Step::Opens(id));
        assert_eq!(Outcome::EARLY.step(), Step::Early);
    }
}
