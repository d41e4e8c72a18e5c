//! Neighbours the director wants: resolved by the kernel, and kept from being forgotten.
//!
//! The director's packets do not pass through the kernel, so the kernel sees no reason to ask for a
//! next hop or to keep one. `RTM_NEWNEIGH` with `NTF_USE` (`ip neigh … use`) is that reason: it
//! does what sending a packet would (`net/core/neighbour.c: neigh_add`, `__neigh_event_send`), and
//! depending on the entry's state
//!
//! * there is none, or it failed: the first ARP or ND request goes out at once, two more a second
//!   apart, and after the third second the entry is `FAILED`. The mirror hears of the end, good or
//!   bad, but not of the asking;
//! * stale: five seconds later (`delay_first_probe_time`) a unicast probe, unless the neighbour was
//!   heard of meanwhile. Its address stays valid all along;
//! * incomplete, delayed, probed or reachable: nothing, it is being looked after;
//! * permanent: **it stops being permanent, and loses its address**. Such entries are left alone
//!   here.
//!
//! ARP requests carry the link's address towards the neighbour. ND solicitations carry the
//! link-local address, and without one that has passed duplicate address detection nothing is sent,
//! though the entry goes on to fail as if it had been: so for the first second or two of a host
//! interface, and for good where link-local addresses are off.
//!
//! An entry that was confirmed goes stale after 15 to 45 s. A stale one is forgotten after
//! `gc_stale_time` (60 s) once the table holds more than `gc_thresh1` (128) entries. So to use what
//! is stale every [`KEEP_ALIVE`] keeps it. Linux 5.16 can do that by itself (`NTF_EXT_MANAGED`); it
//! is not used, for what is gained is a timer and what is lost is older kernels.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};

use super::netlink::Requests;
use super::state::MirrorState;

/// How often the kernel is asked for one address, at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// New neighbours that the kernel is asked for at once, and in a second thereafter, beside those
/// that are wanted. Senders on a port's own link that ask for the director's address are known to
/// Linux by that; who is not is mostly made up.
const AT_ONCE: u32 = 128;
const A_SECOND: u32 = 128;
/// How often wanted neighbours are looked over.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How many addresses to remember having asked for before those of long ago are dropped.
const REMEMBERED: usize = 4096;

/// Asks the kernel for neighbours.
pub struct Resolver {
    requests: Requests,
    asked: HashMap<(u32, IpAddr), Instant>,
    wanted: BTreeSet<(u32, IpAddr)>,
    looked_over: Option<Instant>,
    budget: Budget,
}

/// What came of wanting a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The kernel was asked.
    Asked,
    /// It was asked less than a second ago.
    Recently,
    /// It was not: too many others were asked for.
    TooMany,
}

impl Resolver {
    /// A resolver for the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            requests: Requests::open()?,
            asked: HashMap::new(),
            wanted: BTreeSet::new(),
            looked_over: None,
            budget: Budget::default(),
        })
    }

    /// Has the kernel resolve `addr` on a link, as if it had a packet for it; at most once a second
    /// for each, and within a budget for those that are not wanted. The caller has seen to it
    /// that the entry is not permanent.
    pub fn resolve(&mut self, ifindex: u32, addr: IpAddr, now: Instant) -> io::Result<Asking> {
        let recently = |then: &Instant| now.saturating_duration_since(*then) < INTERVAL;
        if self.asked.get(&(ifindex, addr)).is_some_and(recently) {
            return Ok(Asking::Recently);
        }
        if !self.wants(ifindex, addr) && !self.budget.spend(now) {
            return Ok(Asking::TooMany);
        }
        if self.asked.len() >= REMEMBERED {
            self.asked.retain(|_, then| recently(then));
        }
        self.asked.insert((ifindex, addr), now);
        let mut request = NeighbourMessage::default();
        request.header.family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        request.header.ifindex = ifindex;
        request.header.flags = NeighbourFlags::Use;
        request.attributes.push(NeighbourAttribute::Destination(addr.into()));
        self.requests.change(Message::NewNeighbour(request), NLM_F_CREATE | NLM_F_REPLACE)?;
        Ok(Asking::Asked)
    }

    /// Whether this neighbour is one to keep alive.
    pub fn wants(&self, ifindex: u32, addr: IpAddr) -> bool {
        self.wanted.contains(&(ifindex, addr))
    }

    /// From now on, keep these alive and no others.
    pub fn want(&mut self, wanted: impl IntoIterator<Item = (u32, IpAddr)>) {
        self.wanted = wanted.into_iter().collect();
        self.looked_over = None;
    }

    /// Uses those of the wanted that need it, if it is time. To be called often.
    pub fn tick(&mut self, state: &MirrorState, now: Instant) {
        if self.looked_over.is_some_and(|then| now.saturating_duration_since(then) < KEEP_ALIVE) {
            return;
        }
        self.looked_over = Some(now);
        let needy: Vec<_> = self
            .wanted
            .iter()
            .copied()
            .filter(|(ifindex, addr)| state.neighbour(*ifindex, *addr).is_none_or(|n| n.state.wants_use()))
            .collect();
        for (ifindex, addr) in needy {
            if let Err(why) = self.resolve(ifindex, addr, now) {
                tracing::debug!("cannot ask the kernel for neighbour {addr} on link {ifindex}: {why}");
            }
        }
    }
}

/// Tokens for strangers.
#[derive(Debug, Default)]
struct Budget {
    spent: Duration,
    last: Option<Instant>,
}

impl Budget {
    /// Takes one if there is one.
    fn spend(&mut self, now: Instant) -> bool {
        let price = Duration::from_secs(1) / A_SECOND;
        let earned = self.last.replace(now).map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        self.spent = self.spent.saturating_sub(earned);
        let enough = self.spent + price <= price * AT_ONCE;
        if enough {
            self.spent += price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_burst_and_so_many_a_second() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let spend = |budget: &mut Budget, at: Duration| (0..1000).filter(|_| budget.spend(now + at)).count();
        assert_eq!(spend(&mut budget, Duration::ZERO), AT_ONCE as usize);
        assert_eq!(spend(&mut budget, Duration::from_millis(500)), A_SECOND as usize / 2);
        assert_eq!(spend(&mut budget, Duration::from_secs(3600)), AT_ONCE as usize);
    }
}
