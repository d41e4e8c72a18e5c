//! Versions under every interleaving that the memory model allows (within loom's bounds):
//! `RUSTFLAGS="--cfg loom" cargo test -p dataplane --release --test epoch_loom`.
//!
//! The values are canaries. loom tracks when a thread looks at a canary and when a thread drops it.
//! The test fails if a look and the drop are not ordered, or if a look comes after the drop. Drops
//! are counted too.
#![cfg(loom)]

use std::sync::Arc as Untracked;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dataplane::epoch::{Publisher, Reader};
use loom::cell::UnsafeCell;
use loom::thread;

/// A value in two halves that loom watches. `dropped` counts the dropped canaries.
struct Canary {
    number: UnsafeCell<u64>,
    double: UnsafeCell<u64>,
    dropped: Untracked<AtomicUsize>,
}

// SAFETY: loom reports unordered accesses to the cells. To find them is the purpose of the test.
unsafe impl Sync for Canary {}

impl Canary {
    fn look(&self) -> u64 {
        // SAFETY: loom reports an error if another thread has the cell.
        let number = self.number.with(|number| unsafe { *number });
        // SAFETY: as above.
        let double = self.double.with(|double| unsafe { *double });
        assert_eq!(double, 2 * number, "half a value");
        number
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // SAFETY: as in `look`.
        self.number.with_mut(|number| unsafe { *number = u64::MAX });
        // SAFETY: as in `look`.
        self.double.with_mut(|double| unsafe { *double = 0 });
        self.dropped.fetch_add(1, Relaxed);
    }
}

#[derive(Clone, Default)]
struct Nest(Untracked<AtomicUsize>);

impl Nest {
    fn canary(&self, number: u64) -> Canary {
        let dropped = Untracked::clone(&self.0);
        Canary { number: UnsafeCell::new(number), double: UnsafeCell::new(2 * number), dropped }
    }

    fn dropped(&self) -> usize {
        self.0.load(Relaxed)
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(4));
    model.check(check);
}

fn one_reader(nest: &Nest) -> (Publisher<Canary>, Reader<Canary>) {
    let (publisher, mut readers) = Publisher::new(nest.canary(1), 1);
    (publisher, readers.pop().unwrap())
}

/// A burst: look, move on, look again. The number must never become smaller.
fn burst(reader: &mut Reader<Canary>) {
    let before = reader.get().look();
    reader.refresh_with(|old, new| assert!(old.look() == before && new.look() > before));
    let now = reader.get().look();
    assert!(now >= before && now == reader.epoch());
}

#[test]
fn no_version_is_freed_while_in_use() {
    model(|| {
        let nest = Nest::default();
        let (mut publisher, mut reader) = one_reader(&nest);
        let worker = thread::spawn(move || {
            burst(&mut reader);
            burst(&mut reader);
        });
        let mut freed = 0;
        for number in 2..=3 {
            publisher.publish(nest.canary(number));
            freed += publisher.reclaim();
        }
        assert_eq!(freed, nest.dropped());
        worker.join().unwrap();
        assert_eq!(freed + publisher.reclaim(), 2);
        drop(publisher);
        assert_eq!(nest.dropped(), 3);
    });
}

#[test]
fn the_slower_of_two_readers_decides_what_is_freed() {
    model(|| {
        let nest = Nest::default();
        let (mut publisher, readers) = Publisher::new(nest.canary(1), 2);
        let workers: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                thread::spawn(move || {
                    burst(&mut reader);
                    reader
                })
            })
            .collect();
        let epoch = publisher.publish(nest.canary(2));
        let seen = publisher.is_seen(epoch);
        assert!(publisher.reclaim() == 1 || !seen);
        for worker in workers {
            worker.join().unwrap().refresh();
        }
        publisher.reclaim();
        assert_eq!(nest.dropped(), 1);
    });
}

/// When all readers have moved on, control forgets old edits. By then every reader must have been
/// shown them.
#[test]
fn a_seen_version_was_migrated() {
    model(|| {
        let nest = Nest::default();
        let (mut publisher, mut reader) = one_reader(&nest);
        let shown = Untracked::new(loom::sync::atomic::AtomicU64::new(1));
        let shows = Untracked::clone(&shown);
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                reader.refresh_with(|_, new| shows.store(new.look(), Relaxed));
            }
            // The reader must live until here, because a dropped reader counts as having seen
            // everything.
            reader
        });
        for number in 2..=3 {
            let epoch = publisher.publish(nest.canary(number));
            if publisher.is_seen(epoch) {
                assert!(shown.load(Relaxed) >= epoch, "an edit was lost");
            }
        }
        worker.join().unwrap();
    });
}

#[test]
fn a_dropped_reader_keeps_no_versions() {
    model(|| {
        let nest = Nest::default();
        let (mut publisher, mut reader) = one_reader(&nest);
        let worker = thread::spawn(move || burst(&mut reader));
        let epoch = publisher.publish(nest.canary(2));
        publisher.reclaim();
        worker.join().unwrap();
        publisher.reclaim();
        assert!(publisher.is_seen(epoch) && publisher.retired() == 0);
        assert_eq!(nest.dropped(), 1);
    });
}

#[test]
fn a_reader_may_outlive_its_publisher() {
    model(|| {
        let nest = Nest::default();
        let (mut publisher, mut reader) = one_reader(&nest);
        let worker = thread::spawn(move || {
            burst(&mut reader);
            burst(&mut reader);
        });
        publisher.publish(nest.canary(2));
        drop(publisher);
        worker.join().unwrap();
        assert_eq!(nest.dropped(), 2);
    });
}

#[test]
fn an_old_version_is_not_used_after_a_newer_one_was_seen() {
    model(|| {
        let nest = Nest::default();
        let (mut publisher, mut reader) = one_reader(&nest);
        let used = Untracked::new(loom::sync::atomic::AtomicU64::new(0));
        let uses = Untracked::clone(&used);
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                reader.refresh();
                uses.store(reader.get().look(), Relaxed);
            }
        });
        let epoch = publisher.publish(nest.canary(2));
        if publisher.is_seen(epoch) {
            // From here on the worker may only write the new number.
            let was = used.swap(100, Relaxed);
            assert!(was <= 2);
            worker.join().unwrap();
            assert!(matches!(used.load(Relaxed), 2 | 100));
        } else {
            worker.join().unwrap();
        }
    });
}
