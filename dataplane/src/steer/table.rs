//! The director's own redirection table: it says which worker has which connections.
//!
//! The low bits of a hash choose one of 512 entries, and the entry names a worker. A card has a
//! table like it. If the card's table is longer, it is filled with repeats of ours. If it is
//! shorter, ours repeats with the length of the card's ([`Table::new`], `period`).

use core::fmt;
use std::boxed::Box;

/// How many entries a [`Table`] has.
pub const ENTRIES: usize = 512;
/// How many workers one director may have.
pub const WORKERS: u16 = 64;

/// A worker, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(u16);

impl WorkerId {
    /// Worker `index`.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Its number, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in [`Table`], or the difference (XOR) of two places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(u16);

impl Entry {
    /// The first entry. As a difference: no difference.
    pub const ZERO: Self = Self(0);

    /// The entry of a hash: its low nine bits.
    #[inline]
    pub const fn of(hash: u32) -> Self {
        Self((hash % ENTRIES as u32) as u16)
    }

    /// Its number, below [`ENTRIES`].
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize % ENTRIES
    }

    /// The entry that differs from this one by `difference`.
    #[must_use]
    #[inline]
    pub const fn plus(self, difference: Self) -> Self {
        Self(self.0 ^ difference.0)
    }
}

/// The worker of each entry, and the entries of each worker.
#[derive(Clone, Debug)]
pub struct Table {
    worker: [WorkerId; ENTRIES],
    /// The entries of worker 0, then those of worker 1, and so on.
    entries: Box<[Entry; ENTRIES]>,
    /// Where the entries of each worker begin, and where the last one's end.
    starts: Box<[u16]>,
}

impl Table {
    /// Gives `workers` workers equal shares; some get one entry more. `workers` is 1 to
    /// [`WORKERS`]; other numbers count as the nearest of these. `period` is the length of the
    /// shortest table of a card, a power of two. Entries that such a card cannot distinguish have
    /// the same worker.
    pub fn new(workers: u16, period: u16) -> Self {
        let workers = workers.clamp(1, WORKERS);
        let period = period.clamp(1, ENTRIES as u16);
        let worker = core::array::from_fn(|entry| WorkerId(entry as u16 % period % workers));
        let (mut entries, mut filled) = (Box::new([Entry::ZERO; ENTRIES]), 0);
        let mut starts: Box<[u16]> = (0..=workers).map(|_| 0).collect();
        for (id, end) in (0..workers).map(WorkerId).zip(&mut starts[1..]) {
            for entry in (0..ENTRIES).filter(|entry| worker[*entry] == id) {
                entries[filled] = Entry(entry as u16);
                filled += 1;
            }
            *end = filled as u16;
        }
        Self { worker, entries, starts }
    }

    /// The worker that an entry leads to.
    #[inline]
    pub fn worker(&self, entry: Entry) -> WorkerId {
        self.worker[entry.index()]
    }

    /// The entries that lead to a worker. Empty for a worker that does not exist.
    #[inline]
    pub fn entries(&self, worker: WorkerId) -> &[Entry] {
        match self.starts.get(worker.index()..worker.index() + 2) {
            Some([first, end]) => &self.entries[usize::from(*first)..usize::from(*end)],
            _ => &[],
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> u16 {
        self.starts.len() as u16 - 1
    }

    /// The receive queue for each entry of a card's table. The table has `len` entries and the card
    /// `queues` receive queues. Queue n belongs to worker n. Entries of workers without a queue are
    /// spread over all queues.
    pub fn queues(&self, len: u16, queues: u16) -> impl Iterator<Item = u16> + '_ {
        let queues = queues.max(1);
        (0..len).map(move |at| match self.worker(Entry::of(at.into())) {
            WorkerId(worker) if worker < queues => worker,
            _ => at % queues,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_one_worker_and_shares_differ_by_at_most_one() {
        for workers in 1..=WORKERS {
            let table = Table::new(workers, 512);
            let shares: Vec<usize> = (0..workers).map(|n| table.entries(WorkerId(n)).len()).collect();
            assert_eq!((table.workers(), shares.iter().sum()), (workers, ENTRIES));
            let fair = ENTRIES / usize::from(workers);
            assert!(shares.iter().all(|share| (fair..=fair + 1).contains(share)), "{shares:?}");
            for worker in (0..workers).map(WorkerId) {
                assert!(table.entries(worker).iter().all(|entry| table.worker(*entry) == worker));
            }
            assert_eq!(table.entries(WorkerId(workers)), []);
        }
    }

    #[test]
    fn a_card_with_any_table_not_shorter_than_the_period_agrees_with_the_table() {
        for (workers, period) in [(5, 128), (64, 64), (3, 512)] {
            let table = Table::new(workers, period);
            for len in [64_u16, 128, 512, 2048].into_iter().filter(|len| *len >= period) {
                let card: Vec<u16> = table.queues(len, workers).collect();
                for hash in [0, 77, 511, 512, 0xffff_ffff, 0x1234_5678_u32] {
                    let queue = card[hash as usize % usize::from(len)];
                    assert_eq!(usize::from(queue), table.worker(Entry::of(hash)).index(), "{len}");
                }
            }
        }
    }

    #[test]
    fn a_card_with_fewer_queues_than_workers_uses_all_of_them() {
        let table = Table::new(8, 512);
        let card: Vec<u16> = table.queues(512, 3).collect();
        for (entry, queue) in (0..).zip(card) {
            let owner = table.worker(Entry(entry)).index();
            assert!(if owner < 3 { owner == usize::from(queue) } else { queue < 3 });
        }
        assert!(table.queues(512, 0).all(|queue| queue == 0));
    }
}
