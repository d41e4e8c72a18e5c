//! Versions with real threads, and cells of workers. `epoch_loom.rs` tests every interleaving.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use dataplane::epoch::{PerWorker, Publisher, Reader, WorkerToken, Workers};

/// A value that is wrong once it is dropped.
struct Canary {
    words: [u64; 32],
    dropped: Arc<AtomicU64>,
    home: thread::ThreadId,
}

impl Canary {
    fn look(&self) -> u64 {
        let [number, rest @ ..] = self.words;
        assert!(
            number != u64::MAX && rest.iter().all(|word| *word == number),
            "half of a value, or a freed one"
        );
        number
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.home, "dropped by a worker");
        self.words = [u64::MAX; 32];
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn workers_race_through_versions_and_control_frees_them_all() {
    let dropped = Arc::new(AtomicU64::new(0));
    let canary =
        |number| Canary { words: [number; 32], dropped: Arc::clone(&dropped), home: thread::current().id() };
    let stop = AtomicBool::new(false);
    let (mut publisher, readers) = Publisher::new(canary(1), 3);
    let epoch = thread::scope(|scope| {
        for mut reader in readers {
            let stop = &stop;
            scope.spawn(move || {
                let mut bursts = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let before = reader.get().look();
                    reader.refresh_with(|old, new| assert!(old.look() == before && new.look() > before));
                    assert_eq!(reader.get().look(), reader.epoch());
                    bursts += 1;
                    if bursts % 5 == reader.index() as u64 {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut epoch = 1;
        for number in 2..20_000 {
            epoch = publisher.publish(canary(number));
            publisher.reclaim();
            if number % 64 == 0 {
                while !publisher.is_seen(epoch) {
                    thread::yield_now();
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        epoch
    });
    assert!(publisher.is_seen(epoch));
    publisher.reclaim();
    assert_eq!((publisher.retired(), dropped.load(Ordering::Relaxed)), (0, epoch - 1));
    drop(publisher);
    assert_eq!(dropped.load(Ordering::Relaxed), epoch);
}

#[test]
fn a_reader_moves_on_only_when_it_refreshes() {
    let (mut publisher, mut readers) = Publisher::new("one".to_owned(), 2);
    let (mut fast, slow) = (readers.remove(0), readers.remove(0));
    assert_eq!((publisher.epoch(), publisher.publish("two".to_owned())), (1, 2));
    assert_eq!((fast.get().as_str(), publisher.current().as_str()), ("one", "two"));
    assert_eq!((publisher.waits_for(2), publisher.reclaim()), (Some(0), 0));
    assert_eq!(fast.refresh_with(|old, new| format!("{old} {new}")).as_deref(), Some("one two"));
    assert!(!fast.refresh());
    assert_eq!((publisher.waits_for(2), publisher.reclaim()), (Some(1), 0));
    assert_eq!((slow.get().as_str(), slow.index()), ("one", 1));
    drop(slow);
    assert!(publisher.is_seen(2));
    assert_eq!((publisher.reclaim(), publisher.retired()), (1, 0));
}

#[test]
fn a_migration_that_panics_leaves_the_reader_at_its_version() {
    let (mut publisher, mut readers) = Publisher::new(vec![1], 1);
    publisher.publish(vec![2]);
    let reader = &mut readers[0];
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        reader.refresh_with(|_, _| panic!("a migration that fails"));
    }));
    assert!(failed.is_err());
    assert_eq!((reader.get()[0], publisher.reclaim()), (1, 0));
    assert!(reader.refresh());
    assert_eq!((reader.get()[0], publisher.reclaim()), (2, 1));
}

#[test]
fn each_worker_reaches_its_own_cell() {
    let (workers, tokens) = Workers::new(3);
    let mut cells = PerWorker::new(workers, |index| vec![index]);
    cells.each_mut().for_each(|cell| cell.push(100));
    thread::scope(|scope| {
        for mut token in tokens {
            let cells = &cells;
            scope.spawn(move || {
                for n in 0..1000 {
                    cells.get_mut(&mut token).push(n);
                }
                let cell = cells.get(&token);
                assert_eq!((cell[0], cell[1], cell.len()), (token.index(), 100, 1002));
            });
        }
    });
    assert!(cells.each_mut().all(|cell| cell.len() == 1002));
}

#[test]
#[should_panic(expected = "another director")]
fn a_token_of_another_director_panics() {
    let (workers, _tokens) = Workers::new(1);
    let (_others, mut tokens) = Workers::new(1);
    *PerWorker::new(workers, |_| 0).get_mut(&mut tokens[0]) = 1;
}

#[test]
fn readers_publishers_and_tokens_can_be_sent_to_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<Publisher<Vec<u8>>>();
    is_send::<Reader<Vec<u8>>>();
    is_send::<WorkerToken>();
    is_sync::<PerWorker<core::cell::Cell<u8>>>();
}
