//! Has the kernel resolve the neighbours that the director wants, and keeps them from being
//! forgotten.
//!
//! The director's packets do not pass through the kernel. So the kernel sees no reason to ask for a
//! next hop, or to keep one. `RTM_NEWNEIGH` with `NTF_USE` (`ip neigh … use`) is such a reason: it
//! does the same as a packet that is sent (`net/core/neighbour.c: neigh_add`,
//! `__neigh_event_send`). What happens depends on the state of the kernel's entry:
//!
//! * There is none, or it failed: the first ARP or ND request goes out at once, and two more
//!   follow, a second apart. After the third second the entry is `FAILED`. The mirror hears how it
//!   ends, good or bad, but not that the kernel asks.
//! * Stale: after five seconds (`delay_first_probe_time`) the kernel sends a unicast probe, unless
//!   the neighbour was heard of meanwhile. Its address stays valid all the time.
//! * Incomplete, delayed, probed or reachable: nothing happens, because the kernel is looking after
//!   it already.
//! * Permanent: **the entry stops being permanent, and loses its address**. So such entries are
//!   left alone here.
//!
//! ARP requests carry the link's address towards the neighbour. ND solicitations carry the
//! link-local address. As long as there is none that has passed duplicate address detection, no
//! solicitation is sent, but the entry fails as if it had been. That is so in the first second or
//! two of a host interface, and always where link-local addresses are off.
//!
//! A confirmed entry becomes stale after 15 to 45 s. Once the table holds more than `gc_thresh1`
//! (128) entries, a stale entry is forgotten after `gc_stale_time` (60 s). So the wanted entries
//! that are stale are used every [`KEEP_ALIVE`], which keeps them. Linux 5.16 can do that by itself
//! (`NTF_EXT_MANAGED`). That would save a timer here, but older kernels could not be used, so it is
//! not done.

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

/// The kernel is asked for one address at most once in this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// For how many new neighbours the kernel is asked at once, and for how many a second afterwards.
/// Wanted neighbours do not count. A real sender on a port's own link asks for the director's
/// address first, and so Linux knows it. The others are mostly made up.
const AT_ONCE: u32 = 128;
const A_SECOND: u32 = 128;
/// How often the wanted neighbours are looked at.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How many addresses are remembered that the kernel was asked for. When there are so many, those
/// of long ago are dropped.
const REMEMBERED: usize = 4096;

/// Asks the kernel for neighbours.
pub struct Resolver {
    requests: Requests,
    asked: HashMap<(u32, IpAddr), Instant>,
    wanted: BTreeSet<(u32, IpAddr)>,
    looked_over: Option<Instant>,
    budget: Budget,
}

/// What came of a request to resolve a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The kernel was asked.
    Asked,
    /// The kernel was asked for this neighbour less than a second ago.
    Recently,
    /// The kernel was not asked, because it was asked for too many others.
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

    /// Has the kernel resolve `addr` on a link, as if the kernel had a packet for it. It is asked
    /// at most once a second for each address, and within a budget for those that are not wanted.
    /// The caller has made sure that the entry is not permanent.
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

    /// Whether this neighbour is one of the wanted ones.
    pub fn wants(&self, ifindex: u32, addr: IpAddr) -> bool {
        self.wanted.contains(&(ifindex, addr))
    }

    /// From now on, keeps these neighbours alive, and no others.
    pub fn want(&mut self, wanted: impl IntoIterator<Item = (u32, IpAddr)>) {
        self.wanted = wanted.into_iter().collect();
        self.looked_over = None;
    }

    /// Uses the wanted neighbours that need it, if it is time. Call it often.
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

/// How many requests may still be made for neighbours that are not wanted.
#[derive(Debug, Default)]
struct Budget {
    spent: Duration,
    last: Option<Instant>,
}

impl Budget {
    /// Takes one request out of the budget. Returns whether there was one.
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
