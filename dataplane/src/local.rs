//! FULLNAT's local addresses and the ports free on them.
//!
//! A [`LocalAddress`] is shared by all services that name it; each worker has its own pool of its
//! ports, so that choosing one takes no lock. Ports 1024 to 65535 are used, one connection each.

use core::net::Ipv4Addr;
use std::boxed::Box;

use crossbeam_utils::CachePadded;

use crate::epoch::PerWorker;
use crate::epoch::WorkerToken;
use crate::epoch::Workers;
use crate::stats::Counter;
use crate::stats::Gauge;

/// First port handed out.
const FIRST: u32 = 1024;
/// How many ports an address has to give.
pub const PORTS: u32 = 65_536 - FIRST;
const WORDS: usize = PORTS.div_ceil(64) as usize;

/// A local address and every worker's share of its ports.
#[derive(Debug)]
pub struct LocalAddress {
    /// LIP.
    pub addr: Ipv4Addr,
    /// Its slot in [`crate::snapshot::Snapshot::locals`]; connections name it by this.
    pub slot: u32,
    pools: PerWorker<PortPool>,
    counts: Box<[CachePadded<LocalCounts>]>,
}

/// What one worker counts of one local address.
#[derive(Debug, Default)]
struct LocalCounts {
    in_use: Gauge,
    exhausted: Counter,
}

impl LocalAddress {
    /// A local address with all its ports free.
    pub fn new(addr: Ipv4Addr, slot: u32, workers: Workers) -> Self {
        let pools = PerWorker::new(workers, |worker| PortPool::new(worker, workers.count()));
        let counts = (0..workers.count()).map(|_| CachePadded::default()).collect();
        Self { addr, slot, pools, counts }
    }

    /// Takes a free port (host order) for the worker of `token`; `None`, and counted, when it has none left.
    pub fn take(&self, token: &mut WorkerToken) -> Option<u16> {
        let counts = &self.counts[token.index()];
        let port = self.pools.get_mut(token).take();
        if port.is_some() {
            counts.in_use.up()
        } else {
            counts.exhausted.add(1)
        }
        port
    }

    /// Gives a port back.
    pub fn give_back(&self, token: &mut WorkerToken, port: u16) {
        let counts = &self.counts[token.index()];
        if self.pools.get_mut(token).give_back(port) {
            counts.in_use.down();
        }
    }

    /// Ports in use, all workers together.
    pub fn in_use(&self) -> u64 {
        self.counts.iter().map(|counts| u64::from(counts.in_use.get())).sum()
    }

    /// How often no port was free, all workers together.
    pub fn exhausted(&self) -> u64 {
        self.counts.iter().map(|counts| counts.exhausted.get()).sum()
    }
}

/// One worker's ports of one local address: a set bit is a port in use or another worker's.
#[derive(Clone, Debug)]
pub struct PortPool {
    used: Box<[u64; WORDS]>,
    free: u32,
    next: u32,
}

impl PortPool {
    /// Worker `worker` of `workers`' share: a contiguous run of ports.
    pub fn new(worker: usize, workers: usize) -> Self {
        let (worker, workers) = (worker as u32, (workers as u32).max(1));
        let (from, to) = (PORTS * worker / workers, PORTS * (worker + 1) / workers);
        let mut used = Box::new([u64::MAX; WORDS]);
        for bit in from..to {
            used[bit as usize / 64] &= !(1 << (bit % 64));
        }
        Self { used, free: to - from, next: from }
    }

    /// Takes a free port (host order), going round so that a port rests as long as possible; `None` when all are taken.
    pub fn take(&mut self) -> Option<u16> {
        if self.free == 0 {
            return None;
        }
        let start = self.next as usize / 64 % WORDS;
        // The first word is looked at twice: from the cursor on, and whole at the end.
        let mut mask = u64::MAX << (self.next % 64);
        for step in 0..=WORDS {
            let word = (start + step) % WORDS;
            let open = !self.used[word] & mask;
            if open != 0 {
                let bit = word as u32 * 64 + open.trailing_zeros();
                self.used[word] |= open & open.wrapping_neg();
                self.free -= 1;
                self.next = (bit + 1) % PORTS;
                return Some((FIRST + bit) as u16);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Gives a port back; false when it was free already.
    pub fn give_back(&mut self, port: u16) -> bool {
        let Some(bit) = u32::from(port).checked_sub(FIRST) else { return false };
        let (word, mask) = (bit as usize / 64, 1_u64 << (bit % 64));
        let taken = self.used[word] & mask != 0;
        if taken {
            self.used[word] &= !mask;
            self.free += 1;
        }
        taken
    }

    /// How many ports are free.
    pub const fn free(&self) -> u32 {
        self.free
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_port_once_then_none_then_the_one_given_back() {
        let mut pool = PortPool::new(0, 1);
        let ports: HashSet<u16> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(ports.len(), PORTS as usize);
        assert!(!ports.contains(&1023) && ports.contains(&1024) && ports.contains(&65535));
        assert_eq!(pool.take(), None);
        assert!(pool.give_back(4242) && !pool.give_back(4242));
        assert_eq!((pool.free(), pool.take(), pool.take()), (1, Some(4242), None));
    }

    #[test]
    fn workers_share_without_overlap() {
        let (mut a, mut b) = (PortPool::new(0, 2), PortPool::new(1, 2));
        let mine: HashSet<u16> = std::iter::from_fn(|| a.take()).collect();
        let theirs: HashSet<u16> = std::iter::from_fn(|| b.take()).collect();
        assert!(mine.is_disjoint(&theirs));
        assert_eq!(mine.len() + theirs.len(), PORTS as usize);
    }

    #[test]
    fn a_port_given_back_rests_until_the_round_comes_again() {
        let mut pool = PortPool::new(0, 1);
        let first = pool.take().unwrap();
        pool.give_back(first);
        assert_ne!(pool.take(), Some(first));
    }
}
