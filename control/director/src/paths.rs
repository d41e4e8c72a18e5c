//! Linux's routes and neighbours, compiled for the packet path.
//!
//! Every next hop behind a port gets an adjacency with a number that does not change. A connection
//! holds such a number. So the number of a next hop that is no longer wanted is given to another
//! next hop only together with a new generation of the rules.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dataplane::conn::entry::NONE;
use dataplane::io::PortId;
use dataplane::snapshot::master::Master;
use dataplane::snapshot::route::{
    Adjacency, Input, PortFacts, PortSet, Reach, RouteTarget, Routes, RpFilter,
};
use dataplane::wire::ether::{IPV4, Mac};

use linux::{self as linux, FlatRoute, Generations, Lookup, MirrorState};

/// What the compiler needs to know of a port.
#[derive(Clone, Debug)]
pub struct PortPath {
    /// The host interface's name.
    pub host_interface: String,
    /// The port's MAC.
    pub mac: Mac,
    /// Which senders Linux takes packets from on the host interface.
    pub input: Input,
    /// Whether header checksums are checked in software.
    pub verify_checksum: bool,
}

/// How packets get to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The adjacency, or [`NONE`] when there is no route.
    pub(super) hop: u32,
    /// The director's own address towards the destination.
    pub(super) source: Ipv4Addr,
    /// The next hop that Linux must keep resolved: the port and the address.
    pub(super) next_hop: Option<(PortId, Ipv4Addr)>,
}

type HopKey = (PortId, Ipv4Addr, u16);

/// Turns a [`MirrorState`] into the paths of a [`Master`].
#[derive(Debug)]
pub(super) struct PathCompiler {
    ports: Vec<PortPath>,
    /// The number of each next hop.
    numbers: HashMap<HopKey, u32>,
    /// The next hops that were found to be wanted in this run of the compiler, with their numbers.
    wanted: HashMap<HopKey, u32>,
    free: Vec<u32>,
    next: u32,
    seen: Option<Generations>,
    /// The next hops of routes, as of the last change of the routes.
    of_routes: Vec<HopKey>,
    /// The gateways of routes that Linux must keep resolved, each with its port.
    gateways: BTreeSet<(PortId, Ipv4Addr)>,
}

/// The adjacency that means "Linux itself".
const HOST: u32 = 0;
/// How many gateways of routes are kept resolved at most.
const GATEWAYS: usize = 256;

impl PathCompiler {
    /// A compiler for these ports, which are in the order of their numbers.
    pub(super) fn new(ports: Vec<PortPath>) -> Self {
        let (numbers, wanted) = (HashMap::new(), HashMap::new());
        let (free, gateways) = (Vec::new(), BTreeSet::new());
        Self { ports, numbers, wanted, free, next: HOST + 1, seen: None, of_routes: Vec::new(), gateways }
    }

    /// Brings the paths of `master` up to `state`. `dests` are the destinations with their
    /// addresses; the answer has the way to each.
    pub(super) fn update(
        &mut self,
        state: &MirrorState,
        master: &mut Master,
        dests: &mut dyn Iterator<Item = (sched::DestId, Ipv4Addr)>,
    ) -> HashMap<sched::DestId, Way> {
        let routes_changed = self.seen.is_none_or(|seen| seen.routes != state.generations.routes);
        self.seen = Some(state.generations);
        let links = self.links(state);
        master.paths_mut().ports = self.facts(state);
        master.paths_mut().more_macs = self.more_macs(state, &links);
        set(master, HOST, Adjacency { reach: Reach::Host, mtu: u16::MAX, ..Adjacency::default() });
        // A next hop that is wanted again keeps its number.
        self.wanted.clear();
        if routes_changed {
            master.paths_mut().routes = Arc::new(self.routes(state, &links));
        } else {
            let of_routes = std::mem::take(&mut self.of_routes);
            for key in &of_routes {
                self.number(*key);
            }
            self.of_routes = of_routes;
        }
        let neighbours = self.neighbours(state, &links);
        let ways = dests.map(|(id, addr)| (id, self.way(state, &links, addr))).collect();
        let dropped = self.retire();
        for (key, number) in &self.numbers {
            set(master, *number, self.adjacency(state, &links, *key));
        }
        master.paths_mut().neighbours = Arc::new(neighbours);
        if routes_changed || dropped {
            master.rejudge();
        }
        ways
    }

    /// Compiles all routes. There may be very many, so this is done only when they have changed.
    fn routes(&mut self, state: &MirrorState, links: &HashMap<u32, PortId>) -> Routes {
        let flat = state.routes_v4();
        self.gateways = gateways(&flat, links);
        let ranges: Vec<_> = flat
            .iter()
            .map(|flat| {
                let (first, last) = (Ipv4Addr::from_bits(flat.start), Ipv4Addr::from_bits(flat.end));
                (first, last, self.target(state, links, &flat.target))
            })
            .collect();
        self.of_routes = self.wanted.keys().copied().collect();
        Routes::new(&ranges)
    }

    /// The way to `addr`. Its next hop gets a number if it has none.
    pub(super) fn way_to(&mut self, state: &MirrorState, master: &mut Master, addr: Ipv4Addr) -> Way {
        let links = self.links(state);
        let way = self.way(state, &links, addr);
        for (key, number) in std::mem::take(&mut self.wanted) {
            set(master, number, self.adjacency(state, &links, key));
        }
        way
    }

    fn way(&mut self, state: &MirrorState, links: &HashMap<u32, PortId>, addr: Ipv4Addr) -> Way {
        let none = Way { hop: NONE, source: Ipv4Addr::UNSPECIFIED, next_hop: None };
        match state.lookup(IpAddr::V4(addr)) {
            Lookup::Unicast { ifindex, next_hop: IpAddr::V4(next_hop), pref_src, mtu } => {
                let source = match pref_src {
                    Some(IpAddr::V4(source)) => source,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let Some(&port) = links.get(&ifindex) else {
                    return Way { hop: HOST, source, next_hop: None };
                };
                let hop = self.number((port, next_hop, clamp(mtu)));
                Way { hop, source, next_hop: Some((port, next_hop)) }
            }
            Lookup::Local | Lookup::Broadcast => Way { hop: HOST, ..none },
            _ => none,
        }
    }

    fn target(
        &mut self,
        state: &MirrorState,
        links: &HashMap<u32, PortId>,
        target: &linux::RangeLookup,
    ) -> RouteTarget {
        match target {
            linux::RangeLookup::Unicast { ifindex, gateway, mtu, links: all, .. } => {
                let ports = || -> PortSet {
                    let all = if all.is_empty() { std::slice::from_ref(ifindex) } else { all };
                    all.iter().filter_map(|ifindex| taken_from(state, links, *ifindex)).collect()
                };
                match (links.get(ifindex), gateway) {
                    (Some(&port), Some(IpAddr::V4(gateway))) => {
                        let number = self.number((port, *gateway, clamp(*mtu)));
                        if all.is_empty() {
                            RouteTarget::Gateway(number)
                        } else {
                            RouteTarget::Spread(number, ports())
                        }
                    }
                    (Some(&port), None) if all.is_empty() => RouteTarget::OnLink { port, mtu: clamp(*mtu) },
                    (Some(&port), None) => RouteTarget::OnLinks { port, mtu: clamp(*mtu), ports: ports() },
                    // The route leads out of another interface, or it is an IPv4 route with an IPv6
                    // next hop.
                    _ => RouteTarget::Host(ports()),
                }
            }
            linux::RangeLookup::Local => RouteTarget::Own,
            linux::RangeLookup::Broadcast => RouteTarget::Broadcast,
            linux::RangeLookup::Unreachable
            | linux::RangeLookup::Prohibit
            | linux::RangeLookup::Blackhole => RouteTarget::Nowhere,
        }
    }

    fn neighbours(
        &mut self,
        state: &MirrorState,
        links: &HashMap<u32, PortId>,
    ) -> hashbrown::HashMap<(PortId, Ipv4Addr), u32> {
        let mut known = hashbrown::HashMap::new();
        for ((ifindex, addr), neighbour) in state.neighbours.iter() {
            let (Some(&port), IpAddr::V4(addr)) = (links.get(ifindex), *addr) else { continue };
            if neighbour.usable_mac().is_none() {
                continue;
            }
            let mtu = match state.lookup(IpAddr::V4(addr)) {
                Lookup::Unicast { mtu, .. } => clamp(mtu),
                _ => continue,
            };
            known.insert((port, addr), self.number((port, addr, mtu)));
        }
        known
    }

    /// The number of a next hop. A next hop without a number gets one.
    fn number(&mut self, key: HopKey) -> u32 {
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = self.free.pop().unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                self.numbers.insert(key, number);
                number
            }
        };
        self.wanted.insert(key, number);
        number
    }

    /// Takes back the numbers that nobody wanted. Returns whether there were any.
    fn retire(&mut self) -> bool {
        let wanted = std::mem::take(&mut self.wanted);
        let before = self.numbers.len();
        self.numbers.retain(|key, number| {
            let keep = wanted.contains_key(key);
            if !keep {
                self.free.push(*number);
            }
            keep
        });
        self.numbers.len() != before
    }

    fn adjacency(&self, state: &MirrorState, links: &HashMap<u32, PortId>, key: HopKey) -> Adjacency {
        let (port, next_hop, mtu) = key;
        let ifindex = links.iter().find(|(_, other)| **other == port).map_or(0, |(ifindex, _)| *ifindex);
        let mac = state.neighbour(ifindex, IpAddr::V4(next_hop)).and_then(|n| n.usable_mac());
        let mut header = [0; 14];
        header[..6].copy_from_slice(&mac.map_or([0; 6], |mac| mac.0));
        header[6..12].copy_from_slice(&self.ports[port.index()].mac.0);
        header[12..].copy_from_slice(&IPV4.to_be_bytes());
        let reach = if mac.is_some() { Reach::Port(port) } else { Reach::Resolving(port) };
        Adjacency { header, reach, mtu, next_hop: Some(next_hop) }
    }

    /// The gateways of routes that Linux must keep resolved.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (PortId, Ipv4Addr)> {
        self.gateways.iter().copied()
    }

    /// Sets from which senders Linux takes packets, port by port. Returns whether anything has
    /// changed.
    pub(super) fn set_input(&mut self, input: impl IntoIterator<Item = Input>) -> bool {
        let mut changed = false;
        for (port, input) in self.ports.iter_mut().zip(input) {
            changed |= std::mem::replace(&mut port.input, input) != input;
        }
        changed
    }

    /// The ports by the index of their host interface.
    fn links(&self, state: &MirrorState) -> HashMap<u32, PortId> {
        let found = self.ports.iter().enumerate().filter_map(|(number, port)| {
            let (ifindex, _) = state.iface_named(&port.host_interface)?;
            Some((ifindex, PortId::new(number as u16)))
        });
        found.collect()
    }

    /// For each port, the MACs besides its own: that of the host interface if it differs, and those
    /// of the links that lie upon the host interface, such as macvlans of VRRP and VLANs.
    fn more_macs(&self, state: &MirrorState, links: &HashMap<u32, PortId>) -> Arc<[Vec<Mac>]> {
        let mut macs = vec![Vec::new(); self.ports.len()];
        for (ifindex, iface) in state.ifaces.iter().filter(|(_, iface)| iface.up) {
            let (Some(port), Some(mac)) = (base(state, links, *ifindex), iface.mac) else { continue };
            let macs: &mut Vec<Mac> = &mut macs[port.index()];
            if mac != self.ports[port.index()].mac && !mac.is_group() && !macs.contains(&mac) {
                macs.push(mac);
            }
        }
        macs.into()
    }

    fn facts(&self, state: &MirrorState) -> Arc<[PortFacts]> {
        let facts = self.ports.iter().map(|port| {
            let iface = state.iface_named(&port.host_interface);
            let addr = iface.and_then(|(ifindex, _)| {
                state.addresses.iter().find_map(|address| match address.net.addr() {
                    IpAddr::V4(addr) if address.ifindex == ifindex => Some(addr),
                    _ => None,
                })
            });
            let mut input = port.input;
            if addr.is_none() && input.rp_filter == RpFilter::Loose {
                // On an interface without addresses Linux is strict where it would be loose
                // (`__fib_validate_source`, its `no_addr`).
                input.rp_filter = RpFilter::Strict;
            }
            PortFacts {
                input,
                mac: port.mac,
                mtu: iface.map_or(0, |(_, iface)| clamp(iface.mtu)),
                addr,
                verify_checksum: port.verify_checksum,
            }
        });
        facts.collect()
    }
}

/// How many links may lie upon each other.
const STOREYS: usize = 4;

/// The port whose host interface this link is, or on whose host interface it lies.
fn base(state: &MirrorState, links: &HashMap<u32, PortId>, ifindex: u32) -> Option<PortId> {
    let below = |ifindex: &u32| state.ifaces.get(ifindex)?.lower;
    std::iter::successors(Some(ifindex), below).take(STOREYS).find_map(|ifindex| links.get(&ifindex).copied())
}

/// For a link of Linux: the port by which its packets come to the director, if they come without a
/// tag. Packets of a VLAN have a tag, and every frame with a tag is left to Linux.
fn taken_from(state: &MirrorState, links: &HashMap<u32, PortId>, ifindex: u32) -> Option<PortId> {
    let below = |ifindex: &u32| state.ifaces.get(ifindex).filter(|iface| !iface.tagged)?.lower;
    std::iter::successors(Some(ifindex), below).take(STOREYS).find_map(|ifindex| links.get(&ifindex).copied())
}

/// The gateways that are reached through ports, at most [`GATEWAYS`]. When there are more, the
/// gateways of the most addresses are taken.
fn gateways(flat: &[FlatRoute], links: &HashMap<u32, PortId>) -> BTreeSet<(PortId, Ipv4Addr)> {
    let mut behind: HashMap<(PortId, Ipv4Addr), u64> = HashMap::new();
    for FlatRoute { start, end, target } in flat {
        if let linux::RangeLookup::Unicast { ifindex, gateway: Some(IpAddr::V4(gateway)), .. } = target
            && let Some(&port) = links.get(ifindex)
        {
            *behind.entry((port, *gateway)).or_default() += u64::from(end - start) + 1;
        }
    }
    let mut all: Vec<_> = behind.into_iter().collect();
    all.sort_unstable_by_key(|&(gateway, addresses)| (std::cmp::Reverse(addresses), gateway));
    all.into_iter().take(GATEWAYS).map(|(gateway, _)| gateway).collect()
}

/// Writes an adjacency if it differs from the present one: writing copies memory.
fn set(master: &mut Master, number: u32, adjacency: Adjacency) {
    if master.paths_mut().adjacency(number) != Some(&adjacency) {
        *master.paths_mut().adjacencies.entry(number as usize) = adjacency;
    }
}

fn clamp(mtu: u32) -> u16 {
    mtu.min(u32::from(u16::MAX)) as u16
}
