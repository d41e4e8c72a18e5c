//! FULLNAT's local ports, chosen so that replies come to the owner.
//!
//! A reply goes from a real server to a local address and port. For each connection only the local
//! port can be chosen. With the keys that [`LocalPorts::new`] accepts, each run of 512 ports leads
//! to each entry of the table exactly once. So an entry has one port in each run, and all entries
//! have equally many ports.

use core::ops::RangeInclusive;
use std::boxed::Box;

use crate::steer::ENTRIES;
use crate::steer::Entry;
use crate::steer::RssKey;
use crate::steer::Table;
use crate::steer::Toeplitz;
use crate::steer::WorkerId;
use crate::steer::rank::Rank;

/// The first run of ports: 1024 to 1535. Lower ports are privileged.
const FIRST: u16 = 2;
/// How many runs of 512 ports there are.
const RUNS: u16 = 128;

/// Which port leads to which entry. It is the same for all local addresses and real servers. 1.3
/// KB.
#[derive(Clone, Debug)]
pub struct LocalPorts {
    /// For each entry: the port below 512 that leads to it if everything else contributes 0.
    port: Box<[u16; ENTRIES]>,
    /// For each run: the contribution of the port's high bits.
    run: [Entry; RUNS as usize],
}

/// The runs of a local address: all runs, or all except those that are left to Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The first run that is left to Linux.
    hole: u16,
    /// How many are left to Linux.
    holes: u16,
}

impl Runs {
    /// All runs.
    pub const ALL: Self = Self { hole: RUNS, holes: 0 };

    /// All runs, except those with ports (host byte order) that are left to Linux.
    pub fn without(left: RangeInclusive<u16>) -> Self {
        let run = |port: &u16| port / ENTRIES as u16;
        let (first, last) = (run(left.start()).max(FIRST), run(left.end()));
        if left.is_empty() || last < first {
            Self::ALL
        } else {
            Self { hole: first, holes: last - first + 1 }
        }
    }

    /// The number of runs. Each entry has as many ports.
    #[inline]
    pub const fn count(self) -> u32 {
        (RUNS - FIRST - self.holes) as u32
    }

    /// The `nth` run. After the last one it begins again. `None` if there is no run.
    #[inline]
    fn nth(self, nth: u32) -> Option<u16> {
        let run = FIRST + nth.checked_rem(self.count())? as u16;
        Some(if run >= self.hole { run + self.holes } else { run })
    }
}

impl LocalPorts {
    /// The ports with the key of the servers' side. `None` if with this key some run of 512 ports
    /// does not lead to all entries. Then another key must be used, or replies must be handed on.
    pub fn new(key: &RssKey) -> Option<Self> {
        // The low nine bits of the destination port.
        if !Rank::of(key, 87..96).is_full() {
            return None;
        }
        let tables = Toeplitz::new(key);
        let mut port = Box::new([0; ENTRIES]);
        for low in 0..ENTRIES as u16 {
            port[Entry::of(tables.target_port(low)).index()] = low;
        }
        let run = core::array::from_fn(|run| Entry::of(tables.target_port((run * ENTRIES) as u16)));
        Some(Self { port, run })
    }

    /// The `nth` port (host byte order) whose replies lead to `entry`. After the last one it begins
    /// again. `None` if all runs are left to Linux. `apart` is the contribution of everything
    /// except the local port: [`crate::steer::Steering::apart`].
    #[inline]
    pub fn of_entry(&self, runs: Runs, entry: Entry, apart: Entry, nth: u32) -> Option<u16> {
        let run = runs.nth(nth)?;
        let low = self.port[entry.plus(apart).plus(self.run[usize::from(run)]).index()];
        Some(run * ENTRIES as u16 + low)
    }

    /// The `nth` port (host byte order) whose replies come to `worker`: all ports of one run, then
    /// those of the next one. After the last one it begins again. `None` if the worker has no
    /// entries, or if all runs are left to Linux. A worker has [`Self::share`] of them.
    #[inline]
    pub fn of_worker(
        &self,
        runs: Runs,
        table: &Table,
        worker: WorkerId,
        apart: Entry,
        nth: u32,
    ) -> Option<u16> {
        let entries = table.entries(worker);
        let nth = nth.checked_rem(self.share(runs, table, worker))?;
        let (round, place) = (nth / entries.len() as u32, nth as usize % entries.len());
        self.of_entry(runs, entries[place], apart, round)
    }

    /// How many ports a worker has for each port of a real server.
    #[inline]
    pub fn share(&self, runs: Runs, table: &Table, worker: WorkerId) -> u32 {
        table.entries(worker).len() as u32 * runs.count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::conn::key::FlowKey;
    use crate::steer::KeyPair;

    fn key(which: u8, seed: u64) -> RssKey {
        let mut numbers = seed..;
        let crafted =
            KeyPair::crafted(|| numbers.next().map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 9).ok_or(()));
        [RssKey::SYMMETRIC, RssKey::MICROSOFT, crafted.unwrap().servers][usize::from(which % 3)]
    }

    fn any_runs() -> impl Strategy<Value = Runs> {
        prop_oneof![
            Just(Runs::ALL),
            Just(Runs::without(32_768..=60_999)),
            (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Runs::without(from..=to)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn classes_are_disjoint_of_equal_size_and_lead_to_their_entry(
            which: u8, seed in 1..1_u64 << 40, runs in any_runs(), rip: u32, rport: u16, lip: u32,
        ) {
            let key = key(which, seed);
            let (ports, tables) = (LocalPorts::new(&key).unwrap(), Toeplitz::new(&key));
            let reply = |port| {
                FlowKey::new(6, Ipv4Addr::from_bits(rip), rport, Ipv4Addr::from_bits(lip), port)
            };
            let apart = Entry::of(tables.hash(reply(0)));
            let mut seen = HashSet::new();
            for entry in (0..512).map(Entry::of) {
                for nth in 0..runs.count() {
                    let port = ports.of_entry(runs, entry, apart, nth).unwrap();
                    prop_assert!(port >= 1024 && seen.insert(port));
                    prop_assert_eq!(Entry::of(tables.hash(reply(port))), entry);
                }
                prop_assert_eq!(ports.of_entry(runs, entry, apart, runs.count()), ports.of_entry(runs, entry, apart, 0));
            }
            prop_assert_eq!(seen.len() as u32, 512 * runs.count());
        }

        #[test]
        fn workers_have_disjoint_ports_in_proportion_to_their_entries(
            which: u8, runs in any_runs(), workers in 1..=64_u16, apart in 0..512_u32,
        ) {
            let ports = LocalPorts::new(&key(which, 1)).unwrap();
            let (table, apart) = (Table::new(workers, 512), Entry::of(apart));
            let mut seen = HashSet::new();
            for worker in (0..workers).map(WorkerId::new) {
                let share = ports.share(runs, &table, worker);
                prop_assert_eq!(share, table.entries(worker).len() as u32 * runs.count());
                let of = |nth| ports.of_worker(runs, &table, worker, apart, nth);
                for nth in 0..share {
                    prop_assert!(seen.insert(of(nth).unwrap()));
                }
                prop_assert_eq!(of(share), of(0));
            }
            prop_assert_eq!(seen.len() as u32, 512 * runs.count());
            prop_assert_eq!(ports.of_worker(runs, &table, WorkerId::new(workers), apart, 0), None);
        }

        #[test]
        fn no_port_that_is_left_to_linux_is_given(from: u16, to: u16, apart in 0..512_u32) {
            let (ports, runs) = (LocalPorts::new(&RssKey::SYMMETRIC).unwrap(), Runs::without(from..=to));
            for nth in 0..runs.count() {
                for entry in [0, 1, 300, 511].map(Entry::of) {
                    let port = ports.of_entry(runs, entry, Entry::of(apart), nth).unwrap();
                    prop_assert!(!(from..=to).contains(&port));
                }
            }
            // Rounding to whole runs loses less than one run at each end.
            let left = (from..=to).filter(|port| *port >= 1024).count() as u32;
            prop_assert!(512 * runs.count() + left + 2 * 511 >= 64_512);
        }
    }

    #[test]
    fn all_ports_may_be_left_to_linux() {
        let ports = LocalPorts::new(&RssKey::SYMMETRIC).unwrap();
        let (none, table) = (Runs::without(0..=65_535), Table::new(4, 512));
        assert_eq!((none.count(), Runs::ALL.count(), Runs::without(0..=1023)), (0, 126, Runs::ALL));
        assert_eq!(ports.of_entry(none, Entry::ZERO, Entry::ZERO, 5), None);
        assert_eq!(ports.of_worker(none, &table, WorkerId::new(0), Entry::ZERO, 5), None);
    }

    #[test]
    fn a_key_under_which_ports_do_not_reach_all_entries_is_refused() {
        assert!(LocalPorts::new(&RssKey([0; 40])).is_none());
        let clients = KeyPair::crafted(|| Ok::<u64, ()>(0x80ff_ffff)).map(|pair| pair.clients);
        assert!(LocalPorts::new(&clients.unwrap()).is_none(), "destination ports add nothing");
    }
}
