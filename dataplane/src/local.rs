//! FULLNAT's local addresses and their ports.
//!
//! A port of a local address serves one connection of each real server's port and protocol. The
//! connection table knows which ports are free, because its reply keys consist of these. So a local
//! address only knows which ports it has: 1024 to 65535, without those that are left to Linux if
//! the address is Linux's too. Each worker has a share of them.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use std::boxed::Box;

use crossbeam_utils::CachePadded;

use crate::epoch::WorkerToken;
use crate::epoch::Workers;
use crate::stats::Counter;
use crate::stats::Gauge;

/// The first port that connections get.
const FIRST: u16 = 1024;
/// How many ports an address has for each port of a real server, if none are left to Linux.
pub const PORTS: u32 = 65_536 - FIRST as u32;
/// Stands for "no ports are left to Linux".
const NONE: u32 = 1 << 16;

/// A local address.
#[derive(Debug)]
pub struct LocalAddress {
    /// LIP.
    pub addr: Ipv4Addr,
    /// Its slot in [`crate::snapshot::Snapshot::locals`]. Connections name it by this slot.
    pub slot: u32,
    /// The ports left to Linux: the first one is in the high half, the last one in the low half.
    left: AtomicU32,
    counts: Box<[CachePadded<LocalCounts>]>,
}

/// Counters of one worker for one local address.
#[derive(Debug, Default)]
struct LocalCounts {
    in_use: Gauge,
    exhausted: Counter,
}

impl LocalAddress {
    /// A local address. No ports are left to Linux yet.
    pub fn new(addr: Ipv4Addr, slot: u32, workers: Workers) -> Self {
        let counts = (0..workers.count()).map(|_| CachePadded::default()).collect();
        Self { addr, slot, left: AtomicU32::new(NONE), counts }
    }

    /// From now on new connections do not use these ports (host byte order), and use all others.
    pub fn leave_to_linux(&self, ports: Option<RangeInclusive<u16>>) {
        let pack = |ports: RangeInclusive<u16>| {
            let (first, last) = (u32::from((*ports.start()).max(FIRST)), u32::from(*ports.end()));
            if first <= last { first << 16 | last } else { NONE }
        };
        self.left.store(ports.map_or(NONE, pack), Relaxed);
    }

    /// The ports left to Linux.
    pub fn left_to_linux(&self) -> Option<RangeInclusive<u16>> {
        let left = self.left.load(Relaxed);
        (left != NONE).then_some((left >> 16) as u16..=left as u16)
    }

    /// How many ports it has for each port of a real server, all workers together.
    pub fn ports(&self) -> u32 {
        PORTS - self.left_to_linux().map_or(0, |left| u32::from(left.end() - left.start()) + 1)
    }

    /// About how many of these a worker has.
    pub(crate) fn share(&self) -> u32 {
        self.ports() / self.counts.len() as u32
    }

    /// The `nth` port (host byte order) of the share of the worker with `token`. After the last one
    /// it begins again. `None` if the worker has no port.
    pub fn port(&self, token: &WorkerToken, nth: u32) -> Option<u16> {
        let (worker, workers) = (token.index() as u32, self.counts.len() as u32);
        let left = self.left.load(Relaxed);
        let (from, hole) = (left >> 16, if left == NONE { 0 } else { (left & 0xffff) + 1 - (left >> 16) });
        let ports = PORTS - hole;
        let (first, end) = (ports * worker / workers, ports * (worker + 1) / workers);
        let place = u32::from(FIRST) + first + nth.checked_rem(end - first)?;
        Some(if hole != 0 && place >= from { place + hole } else { place } as u16)
    }

    /// A connection of the worker with `token` takes one of its ports.
    pub(crate) fn taken(&self, token: &WorkerToken) {
        self.counts[token.index()].in_use.up();
    }

    /// A connection of the worker with `token` gives a port back.
    pub(crate) fn given_back(&self, token: &WorkerToken) {
        self.counts[token.index()].in_use.down();
    }

    /// No port was found for a connection, neither on this nor on another local address of its
    /// service.
    pub(crate) fn failed(&self, token: &WorkerToken) {
        self.counts[token.index()].exhausted.add(1);
    }

    /// How many connections use it, all workers together.
    pub fn in_use(&self) -> u64 {
        self.counts.iter().map(|counts| u64::from(counts.in_use.get())).sum()
    }

    /// How often no port was found, all workers together.
    pub fn exhausted(&self) -> u64 {
        self.counts.iter().map(|counts| counts.exhausted.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn local(workers: usize) -> (LocalAddress, Vec<WorkerToken>) {
        let (workers, tokens) = Workers::new(workers);
        (LocalAddress::new(Ipv4Addr::LOCALHOST, 0, workers), tokens)
    }

    fn all(local: &LocalAddress, token: &WorkerToken) -> Vec<u16> {
        (0..PORTS).filter_map(|nth| local.port(token, nth)).collect()
    }

    #[test]
    fn each_port_comes_once_in_a_round() {
        let (local, tokens) = local(1);
        let ports: HashSet<u16> = all(&local, &tokens[0]).into_iter().collect();
        assert_eq!((ports.len(), local.ports()), (PORTS as usize, PORTS));
        assert!(!ports.contains(&1023) && ports.contains(&1024) && ports.contains(&65_535));
        assert_eq!(local.port(&tokens[0], PORTS + 5), local.port(&tokens[0], 5));
    }

    #[test]
    fn shares_of_workers_do_not_overlap_whatever_is_left_to_linux() {
        for left in [None, Some(32_768..=60_999), Some(0..=1024), Some(65_535..=65_535)] {
            let (local, tokens) = local(3);
            local.leave_to_linux(left.clone());
            let shares: Vec<HashSet<u16>> =
                tokens.iter().map(|token| all(&local, token).into_iter().collect()).collect();
            let together: HashSet<u16> = shares.iter().flatten().copied().collect();
            assert_eq!(shares.iter().map(HashSet::len).sum::<usize>(), together.len());
            assert_eq!(together.len(), local.ports() as usize);
            let is_left = |port| left.as_ref().is_some_and(|left| left.contains(port));
            assert!(together.iter().all(|port| *port >= FIRST && !is_left(port)));
        }
    }

    #[test]
    fn all_ports_or_none_may_be_left_to_linux() {
        let (local, tokens) = local(1);
        local.leave_to_linux(Some(0..=65_535));
        assert_eq!((local.port(&tokens[0], 7), local.ports()), (None, 0));
        assert_eq!(local.left_to_linux(), Some(1024..=65_535));
        local.leave_to_linux(Some(1..=1023));
        assert_eq!(
            (local.port(&tokens[0], 0), local.ports(), local.left_to_linux()),
            (Some(1024), PORTS, None)
        );
    }
}
