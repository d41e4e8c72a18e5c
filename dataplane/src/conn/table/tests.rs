use core::hash::Hash;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::conn::key::{FlowKey6, KeyKind};
use crate::conn::track::Track;

/// Test keys of one address family.
trait Sample: Key + Hash {
    /// The key of a TCP packet between two hosts. Each host is given by a number and a port.
    fn flow(from: (u32, u16), to: (u32, u16)) -> Self;

    /// The key of a template.
    fn template(self) -> Self;
}

impl Sample for FlowKey {
    fn flow((from, sport): (u32, u16), (to, dport): (u32, u16)) -> Self {
        Self::new(6, Ipv4Addr::from_bits(from), sport, Ipv4Addr::from_bits(to), dport)
    }

    fn template(self) -> Self {
        self.with_kind(KeyKind::Template)
    }
}

impl Sample for FlowKey6 {
    fn flow((from, sport): (u32, u16), (to, dport): (u32, u16)) -> Self {
        let addr = |host: u32| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(host));
        Self::new(6, addr(from), sport, addr(to), dport)
    }

    fn template(self) -> Self {
        self.with_kind(KeyKind::Template)
    }
}

/// The client of the `n`th connection.
fn client(n: u32) -> (u32, u16) {
    (0x0a00_0000 + n / 50_000, 1024 + (n % 50_000) as u16)
}

/// The request key of the `n`th connection to one virtual service.
fn request<K: Sample>(n: u32) -> K {
    K::flow(client(n), (0xc000_0201, 80))
}

/// The reply key of the `n`th connection, from one of 64 real servers.
fn reply<K: Sample>(n: u32) -> K {
    K::flow((0xac10_0000 + n % 64, 8080), client(n))
}

fn entry<K: Sample>(n: u32) -> Hot<K> {
    Hot { request: request(n), reply: reply(n), track: Track { dest: n, ..Track::VACANT } }
}

fn fill<K: Sample>(capacity: u32, seed: u64) -> FlowTable<K> {
    let mut table = FlowTable::<K>::new(capacity, seed);
    for n in 0..capacity {
        let id = table.insert(entry(n), Cold { service: n, ..Cold::VACANT });
        assert!(id.is_ok(), "{id:?} at {n} of {capacity}, seed {seed}");
    }
    table
}

/// The key that put `slot` into the index.
fn key_of<K: Sample>(table: &FlowTable<K>, slot: Slot) -> K {
    let (id, direction) = slot.parts();
    table.hot(id).key(direction)
}

/// Checks the index against the slots. Returns the number of keys in the stash.
fn audit<K: Sample>(table: &FlowTable<K>) -> usize {
    let (keys, waiting) = table.index.audit(|slot| table.hasher.hash(key_of(table, slot)));
    let live = table.iter_from(0, u32::MAX).map(|id| keys_of(table.hot(id)).iter().flatten().count());
    assert_eq!(keys, live.sum::<usize>());
    waiting
}

/// Guesses about a key as the worker does, in two or three steps.
fn guess<K: Sample>(table: &FlowTable<K>, key: K) -> Candidate {
    let approach = table.approach(key);
    let (candidate, away) = table.guess(approach);
    if away { table.guess_away(approach, candidate) } else { candidate }
}

/// Looks a key up in all of the worker's steps.
fn look_up<K: Sample>(table: &FlowTable<K>, key: K) -> Option<(ConnId, Direction)> {
    table.confirm(key, guess(table, key))
}

macro_rules! for_each_family {
    ($($test:ident)*) => {
        mod ipv4 {
            $(#[test] fn $test() { super::$test::<super::FlowKey>(); })*
        }
        mod ipv6 {
            $(#[test] fn $test() { super::$test::<super::FlowKey6>(); })*
        }
    };
}

for_each_family! {
    every_slot_can_be_used_and_is_found_both_ways
    a_removed_entry_is_gone_and_its_slot_comes_back_last
    a_key_belongs_to_one_entry
    a_template_is_known_by_its_request_key_alone
    a_page_lists_the_live_slots_of_its_range
    keys_with_the_same_home_and_tag_are_told_apart
    a_full_table_in_constant_change_never_fails_an_insertion
    hashes_spread_over_homes_and_tags
}

fn every_slot_can_be_used_and_is_found_both_ways<K: Sample>() {
    for (capacity, seeds) in [(0, 1), (1, 50), (2, 50), (7, 50), (1000, 50), (65_536, 3), (300_007, 1)] {
        for seed in 0..seeds {
            let mut table = fill::<K>(capacity, seed);
            assert_eq!(table.len(), capacity);
            assert_eq!(table.insert(entry(capacity), Cold::VACANT), Err(InsertError::Full));
            for n in 0..capacity {
                let (id, direction) = table.find(request(n)).unwrap();
                assert_eq!(
                    (table.hot(id).dest, table.cold(id).service, direction),
                    (n, n, Direction::Request)
                );
                assert_eq!(table.find(reply(n)), Some((id, Direction::Reply)));
                assert_eq!(look_up(&table, reply(n)), Some((id, Direction::Reply)));
            }
            for n in capacity..2 * capacity {
                assert_eq!(table.find(request(n)), None);
                assert_eq!(look_up(&table, request(n)), None);
            }
            assert_eq!(audit(&table), 0, "keys in the stash");
        }
    }
}

#[test]
fn a_connection_costs_at_most_160_bytes() {
    for capacity in [1 << 20, (1 << 20) + 1, 1_000_003] {
        let each = FlowTable::<FlowKey>::new(capacity, 0).memory_bytes() as f64 / f64::from(capacity);
        assert!(each <= 160.0, "{each} bytes");
    }
}

fn a_removed_entry_is_gone_and_its_slot_comes_back_last<K: Sample>() {
    let mut table = fill::<K>(100, 3);
    let removed: Vec<_> = [50, 7, 99].map(|n| table.find(request(n)).unwrap().0).into();
    for id in &removed {
        table.remove(*id);
        table.remove(*id);
        assert!(!table.is_live(*id));
    }
    assert_eq!((table.len(), table.find(request(7)), table.find(reply(7))), (97, None, None));
    let again: Vec<_> = (200..203).map(|n| table.insert(entry(n), Cold::VACANT).unwrap()).collect();
    assert_eq!(again, removed);
    assert!(!table.is_live(ConnId::new(100)));
    audit(&table);
}

fn a_key_belongs_to_one_entry<K: Sample>() {
    let mut table = FlowTable::<K>::new(8, 1);
    let id = table.insert(entry(1), Cold::VACANT).unwrap();
    let duplicate = Err(InsertError::Duplicate);
    assert_eq!(table.insert(entry(1), Cold::VACANT), duplicate);
    assert_eq!(table.insert(Hot { request: request(2), ..entry(1) }, Cold::VACANT), duplicate);
    assert_eq!(table.insert(Hot { reply: request(1), ..entry(2) }, Cold::VACANT), duplicate);
    assert_eq!(table.insert(Hot { reply: request(2), ..entry(2) }, Cold::VACANT), duplicate);
    assert_eq!(table.insert(Hot::<K>::VACANT, Cold::VACANT), duplicate);
    assert_eq!((table.len(), table.find(request(2))), (1, None));
    assert_eq!(table.find(request(1)), Some((id, Direction::Request)));
    audit(&table);
}

fn a_template_is_known_by_its_request_key_alone<K: Sample>() {
    let mut table = FlowTable::<K>::new(8, 1);
    let template = request::<K>(1).template();
    let id = table.insert(Hot { request: template, ..entry(1) }, Cold::VACANT).unwrap();
    assert_eq!(table.find(template), Some((id, Direction::Request)));
    assert_eq!((table.find(request(1)), table.find(reply(1))), (None, None));
    // The template's reply key is free for the connection itself.
    let connection = table.insert(entry(1), Cold::VACANT).unwrap();
    assert_eq!(table.find(reply(1)), Some((connection, Direction::Reply)));
    assert_eq!(table.rekey_request(id, request::<K>(9).template()), Ok(()));
    assert_eq!(table.find(template), None);
    assert_eq!(table.find(request::<K>(9).template()), Some((id, Direction::Request)));
    audit(&table);
}

fn a_page_lists_the_live_slots_of_its_range<K: Sample>() {
    let mut table = fill::<K>(10, 0);
    for slot in [0, 4, 5, 9] {
        table.remove(ConnId::new(slot));
    }
    let page = |cursor, n| table.iter_from(cursor, n).map(ConnId::as_u32).collect::<Vec<_>>();
    assert_eq!((page(0, 5), page(5, 5)), (vec![1, 2, 3], vec![6, 7, 8]));
    assert_eq!((page(8, u32::MAX), page(10, 5)), (vec![8], vec![]));
}

fn keys_with_the_same_home_and_tag_are_told_apart<K: Sample>() {
    // There is only one bucket, so only the tags differ, and some of the 3000 keys have equal tags.
    let mut table = FlowTable::<K>::new(3, 5);
    let mut tags = HashMap::new();
    let twins: Vec<_> = (0..3000)
        .filter_map(|n| tags.insert(table.hasher.hash(request::<K>(n)).0 as u16, n).map(|m| [m, n]))
        .collect();
    assert!(twins.len() > 30);
    for [one, two] in twins {
        let alone = |n| Hot { reply: K::ZERO, ..entry(n) };
        let first = table.insert(alone(one), Cold::VACANT).unwrap();
        assert_eq!((table.find(request(two)), look_up(&table, request(two))), (None, None));
        let second = table.insert(alone(two), Cold::VACANT).unwrap();
        for (n, id) in [(one, first), (two, second)] {
            assert_eq!(table.find(request(n)), Some((id, Direction::Request)));
            assert_eq!(look_up(&table, request(n)), Some((id, Direction::Request)));
        }
        table.remove(first);
        assert_eq!(table.find(request(one)), None);
        assert_eq!(look_up(&table, request(two)), Some((second, Direction::Request)));
        table.remove(second);
    }
}

fn a_full_table_in_constant_change_never_fails_an_insertion<K: Sample>() {
    let mut table = fill::<K>(10_000, 11);
    let mut live: VecDeque<u32> = (0..10_000).collect();
    for n in 10_000..300_000 {
        // Connections end in roughly the order in which they began.
        let old = live.remove((n as usize * 7919) % 100).unwrap();
        table.remove(table.find(request(old)).unwrap().0);
        assert!(table.insert(entry(n), Cold::VACANT).is_ok());
        live.push_back(n);
    }
    audit(&table);
    assert!(live.iter().all(|n| table.find(reply(*n)).is_some()));
}

fn hashes_spread_over_homes_and_tags<K: Sample>() {
    let table = FlowTable::<K>::new(1 << 16, 77);
    let mut homes = vec![0_u32; 1 << 12];
    let mut tags = vec![0_u32; 1 << 12];
    let n = 1 << 18;
    for key in (0..n / 2).flat_map(|n| [request::<K>(n), reply(n)]) {
        let hash = table.hasher.hash(key).0;
        homes[(hash >> 52) as usize] += 1;
        tags[(hash & 0xfff) as usize] += 1;
    }
    for counts in [homes, tags] {
        // 64 are expected of each. The sum of squares shows whether they are even: 4095 +- 90 is
        // expected.
        let chi: f64 = counts.iter().map(|count| (f64::from(*count) - 64.0).powi(2) / 64.0).sum();
        assert!((3500.0..4700.0).contains(&chi), "{chi}");
    }
}

/// How many keys are used. They are few, so that operations often meet the same key.
const KEYS: u32 = 40;

fn key<K: Sample>(n: u32) -> K {
    let key: K = request(n % KEYS);
    if n < KEYS { key } else { key.template() }
}

#[derive(Clone, Debug)]
enum Op {
    Insert { request: u32, reply: Option<u32> },
    Remove(u32),
    Rekey(u32, u32),
    Guess(Vec<u32>),
    Confirm,
}

fn op() -> impl Strategy<Value = Op> {
    let any_key = 0..KEYS + KEYS / 4;
    prop_oneof![
        8 => (any_key.clone(), proptest::option::weighted(0.8, 0..KEYS))
            .prop_map(|(request, reply)| Op::Insert { request, reply }),
        3 => any_key.clone().prop_map(Op::Remove),
        2 => (any_key.clone(), any_key.clone()).prop_map(|(from, to)| Op::Rekey(from, to)),
        2 => proptest::collection::vec(any_key, 0..80).prop_map(Op::Guess),
        8 => Just(Op::Confirm),
    ]
}

/// Compares the table with a `HashMap` from keys to slots. The guesses of one burst are confirmed
/// between the changes that follow, as on a worker.
fn is_a_map<K: Sample>(seed: u64, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let capacity = 15;
    let mut table = FlowTable::<K>::new(capacity, seed);
    let mut model = HashMap::<K, (ConnId, Direction)>::new();
    let mut guessed = VecDeque::new();
    for op in ops {
        match op {
            Op::Insert { request, reply } => {
                let template = key::<K>(request).is_template();
                let hot =
                    Hot { request: key(request), reply: reply.map_or(K::ZERO, key), ..Hot::<K>::VACANT };
                let mut keys = vec![(hot.request, Direction::Request)];
                keys.extend(reply.filter(|_| !template).map(|_| (hot.reply, Direction::Reply)));
                let taken = keys.iter().any(|(key, _)| model.contains_key(key))
                    || !template && reply == Some(request);
                match table.insert(hot, Cold::VACANT) {
                    Ok(id) => {
                        prop_assert!(!taken);
                        model.extend(keys.into_iter().map(|(key, direction)| (key, (id, direction))));
                    }
                    Err(InsertError::Duplicate) => prop_assert!(taken),
                    // In a full table only the request key is looked for.
                    Err(InsertError::Full) => {
                        prop_assert!(!model.contains_key(&hot.request) && table.len() == capacity);
                    }
                }
            }
            Op::Remove(n) => {
                if let Some((id, _)) = model.get(&key(n)).copied() {
                    prop_assert!(table.is_live(id));
                    table.remove(id);
                    prop_assert!(!table.is_live(id));
                    model.retain(|_, (other, _)| *other != id);
                }
            }
            Op::Rekey(from, to) => {
                let (from, to) = (key::<K>(from), key::<K>(to));
                if let Some((id, Direction::Request)) = model.get(&from).copied()
                    && from.is_template() == to.is_template()
                {
                    let taken = to != from && model.contains_key(&to);
                    let expected = if taken { Err(InsertError::Duplicate) } else { Ok(()) };
                    prop_assert_eq!(table.rekey_request(id, to), expected);
                    if !taken {
                        model.remove(&from);
                        model.insert(to, (id, Direction::Request));
                    }
                }
            }
            Op::Guess(keys) => {
                guessed = keys.into_iter().map(key).map(|key| (key, guess(&table, key))).collect();
            }
            Op::Confirm => {
                for (key, candidate) in guessed.drain(..guessed.len().min(8)) {
                    prop_assert_eq!(table.confirm(key, candidate), model.get(&key).copied());
                }
            }
        }
        audit(&table);
        for n in 0..KEYS + KEYS / 4 {
            prop_assert_eq!(table.find(key(n)), model.get(&key(n)).copied());
        }
        let ids: HashSet<_> = model.values().map(|(id, _)| *id).collect();
        prop_assert_eq!(table.len() as usize, ids.len());
        prop_assert_eq!(table.iter_from(0, capacity).count(), ids.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_table_is_a_map(seed: u64, ops in proptest::collection::vec(op(), 1..200)) {
        is_a_map::<FlowKey>(seed, ops.clone())?;
        is_a_map::<FlowKey6>(seed, ops)?;
    }

    /// The index has more keys than in a table: 40 lanes and 32 places in the stash for 100 keys.
    #[test]
    fn an_overfull_index_loses_nothing(seed: u64, ops in proptest::collection::vec((0..100_u32, 0..3), 1..400)) {
        let hasher = Hasher::new(seed);
        let hash_of = |slot: Slot| hasher.hash(request::<FlowKey>(slot.id().as_u32()));
        let mut index = Index::new(30);
        let mut held = BTreeSet::new();
        for (n, what) in ops {
            let slot = Slot::new(ConnId::new(n), Direction::Reply);
            if what == 0 {
                prop_assert_eq!(index.take_out(index.place(hash_of(slot)), slot), held.remove(&n));
            } else if !held.contains(&n) {
                if index.enter(index.place(hash_of(slot)), slot) {
                    held.insert(n);
                } else {
                    prop_assert!(held.len() > 60);
                }
            }
            let (keys, _) = index.audit(hash_of);
            prop_assert_eq!(keys, held.len());
            for n in 0..100 {
                let slot = Slot::new(ConnId::new(n), Direction::Reply);
                prop_assert_eq!(index.find(index.place(hash_of(slot)), |found| found == slot).is_some(), held.contains(&n));
            }
        }
    }
}
