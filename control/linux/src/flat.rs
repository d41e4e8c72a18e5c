//! The IPv4 routes as one sorted list of ranges, which a worker searches by halves.
//!
//! The routes of a table are nested prefixes. One walk over them, in the order of their addresses,
//! cuts the address space into ranges; a stack holds the prefixes that are open. Then the tables
//! are laid over each other.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::lookup::RangeLookup;
use super::state::{MirrorState, Route, RouteKind, TableId};

/// Where the packets for a range of IPv4 addresses go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatRoute {
    /// The first address, in host byte order.
    pub start: u32,
    /// The last address.
    pub end: u32,
    /// What happens to them.
    pub target: RangeLookup,
}

impl MirrorState {
    /// All IPv4 addresses that have a route: disjoint ranges in rising order.
    pub fn routes_v4(&self) -> Vec<FlatRoute> {
        let table = |table| sweep(self.routes.v4(table).collect());
        let (merged, rest) = if self.routes.merged() {
            // When two prefixes are equal, the one of the local table comes first.
            let mut both: Vec<_> =
                self.routes.v4(TableId::Local).chain(self.routes.v4(TableId::Main)).collect();
            both.sort_by_key(|(net, _)| *net);
            both.dedup_by_key(|(net, _)| *net);
            (sweep(both), table(TableId::Default))
        } else {
            (overlay(table(TableId::Local), table(TableId::Main)), table(TableId::Default))
        };
        let mut flat: Vec<FlatRoute> = Vec::new();
        for Range { start, end, route } in overlay(merged, rest) {
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let Some(target) = self.target(route, any) else { continue };
            match flat.last_mut() {
                Some(last) if last.target == target && last.end.checked_add(1) == Some(start) => {
                    last.end = end
                }
                _ => flat.push(FlatRoute { start, end, target }),
            }
        }
        flat
    }
}

/// A range of addresses that one route of a table covers.
#[derive(Clone, Copy)]
struct Range<'a> {
    start: u32,
    end: u32,
    route: &'a Route,
}

/// Cuts nested prefixes into ranges, each with the innermost prefix that covers it. Outer prefixes
/// come before inner ones.
fn sweep<'a>(prefixes: Vec<(Ipv4Net, &'a Route)>) -> Vec<Range<'a>> {
    let mut ranges = Vec::with_capacity(prefixes.len());
    // The prefixes that are open, outermost first, and the first address that has no range yet.
    let mut open: Vec<(u64, &'a Route)> = Vec::new();
    let mut next = 0_u64;
    let mut give = |next: &mut u64, until: u64, route: &'a Route| {
        if let (Ok(start), Ok(end)) = (u32::try_from(*next), u32::try_from(until.wrapping_sub(1)))
            && *next < until
        {
            ranges.push(Range { start, end, route });
        }
        *next = (*next).max(until);
    };
    for (net, route) in prefixes {
        let start = u64::from(u32::from(net.network()));
        let end = u64::from(u32::from(net.broadcast())) + 1;
        while let Some((last, outer)) = open.pop() {
            if last > start {
                give(&mut next, start, outer);
                open.push((last, outer));
                break;
            }
            give(&mut next, last, outer);
        }
        next = start;
        open.push((end, route));
    }
    while let Some((last, outer)) = open.pop() {
        give(&mut next, last, outer);
    }
    ranges
}

/// Lays `upper` over `lower`. `lower` counts where `upper` has nothing, or throws.
fn overlay<'a>(upper: Vec<Range<'a>>, lower: Vec<Range<'a>>) -> Vec<Range<'a>> {
    if lower.is_empty() {
        return upper.into_iter().filter(|range| range.route.kind != RouteKind::Throw).collect();
    }
    let mut cuts: Vec<u64> =
        upper.iter().chain(&lower).flat_map(|r| [u64::from(r.start), u64::from(r.end) + 1]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let (mut upper, mut lower) = (upper.into_iter().peekable(), lower.into_iter().peekable());
    let mut result = Vec::new();
    for pair in cuts.windows(2) {
        let &[from, to] = pair else { continue };
        let (Ok(start), Ok(end)) = (u32::try_from(from), u32::try_from(to - 1)) else { continue };
        while upper.next_if(|range| range.end < start).is_some() {}
        while lower.next_if(|range| range.end < start).is_some() {}
        let above = upper.peek().filter(|r| r.start <= start && r.route.kind != RouteKind::Throw);
        let below = lower.peek().filter(|r| r.start <= start && r.route.kind != RouteKind::Throw);
        result.extend(above.or(below).map(|range| Range { start, end, route: range.route }));
    }
    result
}
