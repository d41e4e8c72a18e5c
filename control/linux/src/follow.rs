//! What the mirror thread does with events and dumps; [`super::mirror`] explains it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use netlink_packet_core::{NLM_F_REPLACE, NetlinkHeader};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::decode;
use super::failure::{Failure, News};
use super::netlink::{Dumped, Events, Item, Requests};
use super::routes::{Followed, RouteTable};
use super::state::{MirrorState, Neighbour};

/// How many times an interrupted dump is repeated before it is left for later.
const ATTEMPTS: usize = 8;

const GROUPS: &[u32] = &[
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_NEXTHOP,
];

/// The mirror's copy of the state, and the sockets that keep it true.
pub(super) struct Follower {
    requests: Requests,
    events: Events,
    state: MirrorState,
    dirty: Dirty,
    /// There are, or were, IPv4 policy rules. From then on the kernel keeps its tables apart.
    policy: bool,
    /// Events were lost, and the queue has not been empty since. Until it is, the kernel may lose
    /// more events without saying so (`net/netlink/af_netlink.c: netlink_overrun,
    /// netlink_rcv_wake`).
    losing: bool,
    /// Why events cannot be read.
    deaf: Failure,
}

/// What must be dumped anew.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    rules: bool,
    links: bool,
    routes: bool,
    neighbours: bool,
}

impl Dirty {
    const ALL: Self = Self { rules: true, links: true, routes: true, neighbours: true };
}

impl Follower {
    /// Starts to listen, and reads everything once.
    pub(super) fn open(event_buffer: usize) -> io::Result<Self> {
        let mut follower = Self {
            events: Events::open(GROUPS, event_buffer)?,
            requests: Requests::open()?,
            state: MirrorState::default(),
            dirty: Dirty::ALL,
            losing: false,
            policy: false,
            deaf: Failure::default(),
        };
        follower.refresh()?;
        Ok(follower)
    }

    /// Follows the events that have come. Stops at `latest` if they come as fast as they are read.
    pub(super) fn drain(&mut self, latest: Instant) {
        let Self { events, state, dirty, losing, deaf, .. } = self;
        while Instant::now() < latest {
            match events.read(|header, item| follow(state, dirty, header, item)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if deaf.set(None).is_some() {
                        tracing::info!("rtnetlink can be read again");
                    }
                    *losing = false;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    tracing::debug!("rtnetlink events were lost; reading everything anew");
                    *dirty = Dirty::ALL;
                    *losing = true;
                    state.generations.overruns += 1;
                }
                Err(e) => {
                    if let Some(News::Fails(why)) = deaf.set(Some(e.to_string())) {
                        tracing::warn!("rtnetlink cannot be read: {why}; reading everything anew");
                    }
                    *dirty = Dirty::ALL;
                    break;
                }
            }
        }
    }

    /// Dumps what is dirty. What is still dirty afterwards is tried again later.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        if self.dirty.rules {
            self.dirty.rules = !self.refresh_rules()?;
        }
        if self.dirty.links {
            self.dirty.links = !self.refresh_links()?;
        }
        if self.dirty.routes {
            self.dirty.routes = !self.refresh_routes()?;
        }
        if self.dirty.neighbours {
            self.dirty.neighbours = !self.refresh_neighbours()?;
        }
        if self.losing {
            self.dirty = Dirty::ALL;
        }
        Ok(())
    }

    /// The state, as far as it is known.
    pub(super) fn state(&self) -> &MirrorState {
        &self.state
    }

    /// Whether nothing waits to be dumped.
    pub(super) fn is_complete(&self) -> bool {
        let Dirty { rules, links, routes, neighbours } = self.dirty;
        !(rules || links || routes || neighbours)
    }

    fn refresh_rules(&mut self) -> io::Result<bool> {
        let mut request = RuleMessage::default();
        request.header.family = AddressFamily::Inet;
        let (own, whole) = dump(&mut self.requests, &[Message::GetRule(request)], |message| match message {
            Message::NewRule(rule) if !decode::built_in_rule(&rule) => Some(()),
            _ => None,
        })?;
        if !own.is_empty() && !self.policy {
            tracing::warn!(
                "this host has policy routing rules; only the tables local, main and default are followed"
            );
            self.policy = true;
            self.dirty.routes = true;
        }
        Ok(whole)
    }

    fn refresh_links(&mut self) -> io::Result<bool> {
        let (links, whole_links) =
            dump(&mut self.requests, &[Message::GetLink(LinkMessage::default())], |message| match message {
                Message::NewLink(link) => Some(decode::link(&link)),
                _ => None,
            })?;
        let (addresses, whole_addresses) =
            dump(&mut self.requests, &[Message::GetAddress(AddressMessage::default())], |message| {
                match message {
                    Message::NewAddress(address) => decode::address(&address),
                    _ => None,
                }
            })?;
        let links = links.into_iter().collect();
        if *self.state.ifaces != links || *self.state.addresses != addresses {
            self.state.ifaces = Arc::new(links);
            self.state.addresses = Arc::new(addresses);
            self.state.generations.links += 1;
            self.state.generations.routes += 1;
        }
        Ok(whole_links && whole_addresses)
    }

    fn refresh_routes(&mut self) -> io::Result<bool> {
        let requests = [AddressFamily::Inet, AddressFamily::Inet6].map(|family| {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            Message::GetRoute(request)
        });
        let (routes, whole) = dump(&mut self.requests, &requests, |message| match message {
            Message::NewRoute(route) => decode::route(&route),
            _ => None,
        })?;
        let routes = RouteTable::new(routes, !self.policy);
        if *self.state.routes != routes {
            self.state.routes = Arc::new(routes);
            self.state.generations.routes += 1;
        }
        Ok(whole)
    }

    fn refresh_neighbours(&mut self) -> io::Result<bool> {
        let requests = [AddressFamily::Inet, AddressFamily::Inet6].map(|family| {
            let mut request = NeighbourMessage::default();
            request.header.family = family;
            Message::GetNeighbour(request)
        });
        let (neighbours, whole) = dump(&mut self.requests, &requests, |message| match message {
            Message::NewNeighbour(neighbour) => decode::neighbour(&neighbour),
            _ => None,
        })?;
        let neighbours = neighbours.into_iter().collect();
        if *self.state.neighbours != neighbours {
            self.state.neighbours = Arc::new(neighbours);
            self.state.generations.neighbours += 1;
        }
        Ok(whole)
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// Repeats a dump until nothing interrupts it. Returns whether it succeeded.
fn dump<T>(
    requests: &mut Requests,
    what: &[Message],
    mut decode: impl FnMut(Message) -> Option<T>,
) -> io::Result<(Vec<T>, bool)> {
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        found.clear();
        let mut whole = true;
        for request in what {
            let dumped = requests.dump(request.clone(), |message| found.extend(decode(message)))?;
            whole &= dumped == Dumped::Whole;
        }
        if whole {
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// Follows one event.
fn follow(state: &mut MirrorState, dirty: &mut Dirty, header: NetlinkHeader, item: Item) {
    let Item::Message(message) = item else {
        // These are next-hop objects, among others. Routes change with them, and not always with an
        // event of their own.
        dirty.routes |= matches!(item, Item::Unknown);
        return;
    };
    match *message {
        Message::NewLink(link) | Message::DelLink(link)
            if link.header.interface_family == AddressFamily::Bridge => {}
        Message::NewLink(_) | Message::DelLink(_) | Message::NewAddress(_) | Message::DelAddress(_) => {
            dirty.links = true;
            dirty.routes = true;
        }
        Message::NewRule(_) | Message::DelRule(_) => dirty.rules = true,
        Message::NewRoute(message) => {
            let replaces = header.flags & NLM_F_REPLACE != 0;
            if let Some(route) = decode::route(&message) {
                follow_route(state, dirty, |routes| routes.add(route, replaces));
            } else if replaces {
                // The route that was replaced may be mirrored even if the new one is not.
                dirty.routes = true;
            }
        }
        Message::DelRoute(message) => {
            if let Some(route) = decode::route(&message) {
                follow_route(state, dirty, |routes| routes.remove(&route));
            }
        }
        Message::NewNeighbour(message) => {
            if let Some((key, neighbour)) = decode::neighbour(&message) {
                follow_neighbour(state, key, Some(neighbour));
            }
        }
        Message::DelNeighbour(message) => {
            if let Some((key, _)) = decode::neighbour(&message) {
                follow_neighbour(state, key, None);
            }
        }
        _ => {}
    }
}

fn follow_route(state: &mut MirrorState, dirty: &mut Dirty, event: impl FnOnce(&mut RouteTable) -> Followed) {
    // The dump that is due will know better. Leaving this event out saves a copy of the table.
    if dirty.routes {
        return;
    }
    match event(Arc::make_mut(&mut state.routes)) {
        Followed::Changed => state.generations.routes += 1,
        Followed::Unchanged => {}
        Followed::Unclear => dirty.routes = true,
    }
}

fn follow_neighbour(state: &mut MirrorState, key: (u32, IpAddr), now: Option<Neighbour>) {
    if state.neighbours.get(&key).copied() == now {
        return;
    }
    let neighbours = Arc::make_mut(&mut state.neighbours);
    match now {
        Some(neighbour) => neighbours.insert(key, neighbour),
        None => neighbours.remove(&key),
    };
    state.generations.neighbours += 1;
}
