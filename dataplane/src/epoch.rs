//! Handing workers what control makes: whole versions of shared data, and cells of their own within
//! it.
//!
//! **Versions.** Control holds the [`Publisher`], each worker a [`Reader`]. A publisher puts a new
//! value in place of the current one; a reader switches to it at a burst boundary and says so; the
//! publisher frees an old value when no reader can still look at it. Workers never wait, never run
//! a destructor, and never see half of a change (quiescent-state reclamation).
//!
//! ```text
//!   publisher                                reader
//!   P1  current = new          ----------->  R1  newest = current     (P1 release, R1 acquire)
//!                                            R2  last use of the old version
//!   P2  read seen              <-----------  R3  seen = newest.epoch   (R3 release, P2 acquire)
//!   P3  free what is older than every seen
//! ```
//!
//! * **R2 before R3**: "use the old version" and "report the new epoch" in [`Reader::refresh_with`]
//!   are the two lines that must not be swapped. Reported first, the old version may be freed under
//!   its reader.
//! * A version that a reader is about to take (between R1 and R3) is newer than what it last
//!   reported, and nothing newer than a report is freed.
//! * A reader's address for a version is never reused while it holds it, so comparing addresses in
//!   R1 finds every change.
//!
//! **End.** A reader that is dropped holds up nothing. What is left when publisher and readers are
//! all gone is freed by the last of them on its own thread: end the workers first and that is
//! control.
//!
//! **Cells.** [`PerWorker`] is worker-private state inside shared objects, such as the cursor of a
//! scheduler inside a version. Cell n of all of them is reached with the one [`WorkerToken`] n
//! only.

#![allow(unsafe_code, reason = "readers hold plain pointers into versions; workers reach cells behind &")]

use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64 as StaticAtomicU64;
use std::sync::OnceLock;

#[cfg(not(loom))]
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::Arc;
#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::Arc;

use crossbeam_utils::CachePadded;

/// A value and its number. Made by `Box`, owned by the publisher (then by [`Shared`]), read by all.
struct Version<T> {
    epoch: u64,
    value: T,
}

/// What a reader last reported: the epoch of the version that it looks at, or [`Seen::GONE`].
#[derive(Clone, Copy)]
struct Seen(u64);

impl Seen {
    /// Looks at nothing any more.
    const GONE: Self = Self(u64::MAX);

    /// Whether the reader may hold, or come to hold, the retired version `epoch`.
    fn may_hold(self, epoch: u64) -> bool {
        self.0 <= epoch
    }

    /// Whether the reader will use no version before `epoch`.
    fn is_past(self, epoch: u64) -> bool {
        self.0 >= epoch
    }
}

struct Shared<T> {
    current: AtomicPtr<Version<T>>,
    /// By reader; each written by that reader alone.
    seen: Box<[CachePadded<AtomicU64>]>,
    /// What the publisher left unfreed when it went.
    orphans: OnceLock<Vec<NonNull<Version<T>>>>,
}

impl<T> Shared<T> {
    /// What each reader reports. An old report only holds more back.
    fn reports(&self) -> impl Iterator<Item = Seen> + '_ {
        self.seen.iter().map(|seen| Seen(seen.load(Ordering::Acquire)))
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let current = NonNull::new(self.current.load(Ordering::Relaxed));
        for version in self.orphans.take().unwrap_or_default().into_iter().chain(current) {
            // SAFETY: publisher and readers are gone, they hold the counted references to `self`.
            // The current version is never among the retired, and those were not freed:
            // `Publisher::drop`.
            unsafe { free(version) };
        }
    }
}

/// Frees a version.
///
/// # Safety
/// It came from [`version`], nobody looks at it, and it is freed once.
unsafe fn free<T>(version: NonNull<Version<T>>) {
    // SAFETY: from `Box::into_raw` in `version`, and owned by the caller.
    drop(unsafe { Box::from_raw(version.as_ptr()) });
}

fn version<T>(epoch: u64, value: T) -> NonNull<Version<T>> {
    NonNull::from(Box::leak(Box::new(Version { epoch, value })))
}

/// Control's side: replaces the value and frees the old ones, on the thread it is called on.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    current: NonNull<Version<T>>,
    retired: Vec<NonNull<Version<T>>>,
}

// SAFETY: it owns values that it may drop (`T: Send`) and that others look at meanwhile (`T:
// Sync`).
unsafe impl<T: Send + Sync> Send for Publisher<T> {}

impl<T> Publisher<T> {
    /// Publishes `value` as epoch 1 to that many readers.
    pub fn new(value: T, readers: usize) -> (Self, Vec<Reader<T>>) {
        let first = version(1, value);
        let seen = || CachePadded::new(AtomicU64::new(1));
        let shared = Arc::new(Shared {
            current: AtomicPtr::new(first.as_ptr()),
            seen: (0..readers).map(|_| seen()).collect(),
            orphans: OnceLock::new(),
        });
        let reader = |index| Reader { shared: Arc::clone(&shared), held: first, index };
        let readers = (0..readers).map(reader).collect();
        (Self { shared, current: first, retired: Vec::new() }, readers)
    }

    /// Puts `value` in place of the current one and gives its epoch back. The old value is freed by
    /// [`Self::reclaim`], some time.
    pub fn publish(&mut self, value: T) -> u64 {
        let epoch = self.epoch() + 1;
        let new = version(epoch, value);
        self.shared.current.store(new.as_ptr(), Ordering::Release); // P1
        self.retired.push(core::mem::replace(&mut self.current, new));
        epoch
    }

    /// Frees the old values that every reader has left behind; how many.
    pub fn reclaim(&mut self) -> usize {
        if self.retired.is_empty() {
            return 0;
        }
        let reports: Vec<Seen> = self.shared.reports().collect(); // P2
        let before = self.retired.len();
        self.retired.retain(|version| {
            // SAFETY: retired versions live until freed just below.
            let epoch = unsafe { version.as_ref() }.epoch;
            let held = reports.iter().any(|seen| seen.may_hold(epoch));
            if !held {
                // SAFETY: no reader holds it or can come by it (the diagram above); `retain` lets
                // go of it.
                unsafe { free(*version) }; // P3
            }
            held
        });
        before - self.retired.len()
    }

    /// The current value.
    pub fn current(&self) -> &T {
        &self.version().value
    }

    /// The current value's number: 1 at first, one more each time.
    pub fn epoch(&self) -> u64 {
        self.version().epoch
    }

    /// Old values not freed yet.
    pub fn retired(&self) -> usize {
        self.retired.len()
    }

    /// Whether every reader has moved on to `epoch` or a later one, so that it has done what its
    /// `migrate` is for. Ask again later; do not spin on it.
    pub fn is_seen(&self, epoch: u64) -> bool {
        self.waits_for(epoch).is_none()
    }

    /// The first reader that has not moved on to `epoch`.
    pub fn waits_for(&self, epoch: u64) -> Option<usize> {
        self.shared.reports().position(|seen| !seen.is_past(epoch))
    }

    fn version(&self) -> &Version<T> {
        // SAFETY: the current version is retired by `publish` alone, which wants `&mut self`.
        unsafe { self.current.as_ref() }
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.reclaim();
        // Set nowhere else, so there is room. `Shared` frees them when the readers are gone as
        // well.
        let _ = self.shared.orphans.set(core::mem::take(&mut self.retired));
    }
}

impl<T> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retired = self.retired.len();
        f.debug_struct("Publisher").field("epoch", &self.epoch()).field("retired", &retired).finish()
    }
}

/// A worker's side: looks at one version at a time, and decides when to move on.
///
/// What [`Self::get`] gives cannot be kept across a move:
///
/// ```compile_fail,E0502
/// # let (_publisher, mut readers) = dataplane::epoch::Publisher::new(1, 1);
/// let kept = readers[0].get();
/// readers[0].refresh();
/// assert_eq!(*kept, 1);
/// ```
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    held: NonNull<Version<T>>,
    index: usize,
}

// SAFETY: it looks at values that others look at (`T: Sync`) and may be the last to drop them (`T:
// Send`).
unsafe impl<T: Send + Sync> Send for Reader<T> {}

impl<T> Reader<T> {
    /// Moves on to the newest version; whether that is another one. Once a burst.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        self.refresh_with(|_, _| ()).is_some()
    }

    /// As [`Self::refresh`]; shows the old and the new value to `migrate` first, if they differ.
    #[inline]
    pub fn refresh_with<R>(&mut self, migrate: impl FnOnce(&T, &T) -> R) -> Option<R> {
        let newest = self.shared.current.load(Ordering::Acquire); // R1
        if newest == self.held.as_ptr() {
            return None;
        }
        let newest = NonNull::new(newest)?;
        // SAFETY: current when loaded, and not freed while `seen` reports an earlier epoch.
        let new = unsafe { newest.as_ref() };
        let migrated = migrate(self.get(), &new.value); // R2
        self.held = newest;
        self.report(Seen(new.epoch)); // R3: never before R2
        Some(migrated)
    }

    /// The value, until the next move.
    #[inline]
    pub fn get(&self) -> &T {
        &self.version().value
    }

    /// The number of the value.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.version().epoch
    }

    /// Which of the readers this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    #[inline]
    fn version(&self) -> &Version<T> {
        // SAFETY: `seen` reports this version's epoch from when it was taken to when it is left.
        unsafe { self.held.as_ref() }
    }

    fn report(&self, seen: Seen) {
        self.shared.seen[self.index].store(seen.0, Ordering::Release);
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.report(Seen::GONE);
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("index", &self.index).field("epoch", &self.epoch()).finish()
    }
}

/// The workers of one director: what [`PerWorker`] cells are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Unlike that of any other director in this process.
    director: u64,
    count: usize,
}

/// A worker's key to its cells: made once, moved into the worker, never copied.
#[derive(Debug)]
pub struct WorkerToken {
    workers: Workers,
    index: usize,
    /// Not `Sync`: a shared token on two threads would share cells that need not be.
    not_sync: PhantomData<Cell<()>>,
}

impl Workers {
    /// `count` workers and the token of each.
    pub fn new(count: usize) -> (Self, Vec<WorkerToken>) {
        static DIRECTORS: StaticAtomicU64 = StaticAtomicU64::new(0);
        let director = DIRECTORS.fetch_add(1, Ordering::Relaxed);
        let workers = Self { director, count };
        let token = |index| WorkerToken { workers, index, not_sync: PhantomData };
        (workers, (0..count).map(token).collect())
    }

    /// How many.
    pub fn count(self) -> usize {
        self.count
    }
}

impl WorkerToken {
    /// Which of the workers this is, from 0.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }
}

/// A value for each worker, reached by that worker alone, from behind a shared reference.
///
/// Cells lie two cache lines apart; put many small things into one cell rather than in many. A
/// token lends one cell at a time to be changed:
///
/// ```compile_fail,E0499
/// # use dataplane::epoch::{PerWorker, Workers};
/// let (workers, mut tokens) = Workers::new(1);
/// let cells = PerWorker::new(workers, |_| 0);
/// let (one, two) = (cells.get_mut(&mut tokens[0]), cells.get_mut(&mut tokens[0]));
/// assert_eq!(one, two);
/// ```
pub struct PerWorker<T> {
    workers: Workers,
    cells: Box<[CachePadded<UnsafeCell<T>>]>,
}

// SAFETY: a cell is reached through its worker's token alone, by one thread at a time: the token is
// not `Clone` and not `Sync`. Going from thread to thread with it wants `T: Send`.
unsafe impl<T: Send> Sync for PerWorker<T> {}

impl<T> PerWorker<T> {
    /// A cell for each worker, made by `cell` from the worker's index.
    pub fn new(workers: Workers, mut cell: impl FnMut(usize) -> T) -> Self {
        let cells = (0..workers.count).map(|index| CachePadded::new(UnsafeCell::new(cell(index))));
        Self { workers, cells: cells.collect() }
    }

    /// The worker's own cell.
    ///
    /// # Panics
    /// When the token is another director's.
    #[inline]
    pub fn get<'a>(&'a self, token: &'a WorkerToken) -> &'a T {
        // SAFETY: whoever holds the only token of this cell lends it for as long, so that `get_mut`
        // cannot be called meanwhile; no other thread has the token (see `Sync` above).
        unsafe { &*self.cell(token) }
    }

    /// The worker's own cell, to change.
    ///
    /// # Panics
    /// When the token is another director's.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the borrow of the token")]
    pub fn get_mut<'a>(&'a self, token: &'a mut WorkerToken) -> &'a mut T {
        // SAFETY: the only token of this cell is borrowed mutably for as long as the result lives.
        unsafe { &mut *self.cell(token) }
    }

    /// The worker's own cell here and in `other`, both to change; `None` when they are the same
    /// cell.
    #[allow(clippy::mut_from_ref, reason = "exclusive by the borrow of the token")]
    pub fn pair_mut<'a>(
        &'a self,
        other: &'a Self,
        token: &'a mut WorkerToken,
    ) -> Option<(&'a mut T, &'a mut T)> {
        let (mine, others) = (self.cell(token), other.cell(token));
        if mine == others {
            return None;
        }
        // SAFETY: as in `get_mut`; the two cells were just found to be different ones.
        let mine = unsafe { &mut *mine };
        // SAFETY: as above.
        let others = unsafe { &mut *others };
        Some((mine, others))
    }

    /// All cells, by worker, before the value is shared.
    pub fn each_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.cells.iter_mut().map(|cell| cell.get_mut())
    }

    #[inline]
    fn cell(&self, token: &WorkerToken) -> *mut T {
        assert!(self.workers == token.workers, "a worker token of another director");
        self.cells[token.index].get()
    }
}

impl<T> fmt::Debug for PerWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerWorker").field("workers", &self.workers.count).finish_non_exhaustive()
    }
}
