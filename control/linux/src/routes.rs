//! The routing tables, kept so that a lookup answers as the kernel does.
//!
//! Two things are not obvious. First: while a namespace has only its three built-in rules, the
//! kernel keeps the IPv4 tables local and main in one trie (`net/ipv4/fib_trie.c: fib_trie_table`).
//! Then a longer prefix in main beats a shorter one in local. With one more rule, and for IPv6
//! always, all of local is asked before main. Second: IPv6 has no rule for the table default, so
//! that table is never asked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::state::{Route, RouteKind, TableId};

/// The routes of the mirrored tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// The routes of each prefix, in the order in which the kernel tries them.
    by_net: BTreeMap<(TableId, IpNet), Vec<Route>>,
    /// How many prefixes there are of each length, so that a lookup tries only those.
    lengths: BTreeMap<(TableId, bool), Vec<u32>>,
    /// The IPv4 tables local and main are one trie.
    merged: bool,
}

/// The result of following an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The table has changed, and is the same as the kernel's.
    Changed,
    /// The table was the same as the kernel's already.
    Unchanged,
    /// The event does not tell enough. All routes must be read again.
    Unclear,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { by_net: BTreeMap::new(), lengths: BTreeMap::new(), merged: true }
    }
}

impl RouteTable {
    /// A table of these routes, which come in the order of a dump.
    pub fn new(routes: impl IntoIterator<Item = Route>, merged: bool) -> Self {
        let mut table = Self { merged, ..Self::default() };
        for route in routes {
            table.push(route);
        }
        table
    }

    /// All routes, table by table.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.by_net.values().flatten()
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.by_net.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_net.is_empty()
    }

    /// Whether the IPv4 tables local and main are searched as one.
    pub fn merged(&self) -> bool {
        self.merged
    }

    /// The route that a packet to `dst` follows. It is never a [`RouteKind::Throw`].
    pub fn find(&self, dst: IpAddr) -> Option<&Route> {
        let groups: &[&[TableId]] = match (dst.is_ipv4(), self.merged) {
            (true, true) => &[&[TableId::Local, TableId::Main], &[TableId::Default]],
            (true, false) => &[&[TableId::Local], &[TableId::Main], &[TableId::Default]],
            (false, _) => &[&[TableId::Local], &[TableId::Main]],
        };
        groups
            .iter()
            .filter_map(|tables| self.longest(tables, dst))
            .find(|route| route.kind != RouteKind::Throw)
    }

    fn longest(&self, tables: &[TableId], dst: IpAddr) -> Option<&Route> {
        let most = if dst.is_ipv4() { 32 } else { 128 };
        (0..=most).rev().find_map(|len| tables.iter().find_map(|table| self.usable(*table, dst, len)))
    }

    fn usable(&self, table: TableId, dst: IpAddr, len: u8) -> Option<&Route> {
        let counts = self.lengths.get(&(table, dst.is_ipv4()))?;
        if counts.get(usize::from(len)).is_none_or(|count| *count == 0) {
            return None;
        }
        self.by_net.get(&(table, prefix(dst, len)?))?.iter().find(|route| !route.dead)
    }

    /// The IPv4 prefixes of one table, each with the route that is used for it. They are in the
    /// order of their addresses, outer before inner.
    pub(super) fn v4(&self, table: TableId) -> impl Iterator<Item = (Ipv4Net, &Route)> {
        let start = (table, IpNet::V4(Ipv4Net::default()));
        self.by_net
            .range(start..)
            .map_while(move |((of, net), routes)| match net {
                IpNet::V4(net) if *of == table => Some((*net, routes)),
                _ => None,
            })
            .filter_map(|(net, routes)| Some((net, routes.iter().find(|route| !route.dead)?)))
    }

    /// Adds a route behind those with the same prefix and metric, as a dump lists them.
    fn push(&mut self, route: Route) {
        let key = (route.table, route.dest);
        let routes = self.by_net.entry(key).or_default();
        if routes.is_empty() {
            count(&mut self.lengths, key, 1);
        }
        let at = routes.partition_point(|other| other.metric <= route.metric);
        routes.insert(at, route);
    }

    /// Follows `RTM_NEWROUTE`.
    pub(super) fn add(&mut self, route: Route, replace: bool) -> Followed {
        let there = self.by_net.get_mut(&(route.table, route.dest));
        let mut same = there.into_iter().flatten().filter(|other| other.same_place(&route));
        match (same.next(), same.next()) {
            (None, _) if replace => Followed::Unclear,
            (None, _) => {
                self.push(route);
                Followed::Changed
            }
            (Some(other), None) if *other == route => Followed::Unchanged,
            (Some(other), None) if replace && route.links.is_empty() && other.links.is_empty() => {
                *other = route;
                Followed::Changed
            }
            _ => Followed::Unclear,
        }
    }

    /// Follows `RTM_DELROUTE`.
    pub(super) fn remove(&mut self, route: &Route) -> Followed {
        let key = (route.table, route.dest);
        let Entry::Occupied(mut there) = self.by_net.entry(key) else { return Followed::Unchanged };
        let mut same = there.get().iter().enumerate().filter(|(_, other)| other.same_place(route));
        let (index, other) = match (same.next(), same.next()) {
            (None, _) => return Followed::Unchanged,
            (Some(one), None) => one,
            _ => return Followed::Unclear,
        };
        // A route that goes may be announced with other flags than when it was added. But its next
        // hop must be the same.
        let several = !other.links.is_empty() || !route.links.is_empty();
        if several || (other.gateway, other.kind) != (route.gateway, route.kind) {
            return Followed::Unclear;
        }
        there.get_mut().remove(index);
        if there.get().is_empty() {
            there.remove();
            count(&mut self.lengths, key, -1);
        }
        Followed::Changed
    }
}

fn count(lengths: &mut BTreeMap<(TableId, bool), Vec<u32>>, (table, net): (TableId, IpNet), by: i32) {
    let is_v4 = matches!(net, IpNet::V4(_));
    let counts = lengths.entry((table, is_v4)).or_insert_with(|| vec![0; if is_v4 { 33 } else { 129 }]);
    if let Some(count) = counts.get_mut(usize::from(net.prefix_len())) {
        *count = count.saturating_add_signed(by);
    }
}

fn prefix(addr: IpAddr, len: u8) -> Option<IpNet> {
    match addr {
        IpAddr::V4(addr) => Ipv4Net::new(addr, len).ok().map(|net| IpNet::V4(net.trunc())),
        IpAddr::V6(addr) => Ipv6Net::new(addr, len).ok().map(|net| IpNet::V6(net.trunc())),
    }
}
