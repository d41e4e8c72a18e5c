//! Versions of a value that control replaces while workers look at it.
//!
//! Control holds the [`Publisher`], each worker holds a [`Reader`]. A publisher replaces the
//! current value. A reader moves to the new value between two bursts and reports that it has moved.
//! The publisher frees an old value when no reader can still look at it. Workers never wait, never
//! run a destructor and never see half of a change (quiescent-state reclamation).
//!
//! ```text
//!   publisher                                reader
//!   P1  current = new          ----------->  R1  newest = current     (P1 release, R1 acquire)
//!                                            R2  last use of the old version
//!   P2  read seen              <-----------  R3  seen = newest.epoch   (R3 release, P2 acquire)
//!   P3  free versions that are older than every seen
//! ```
//!
//! * **R2 before R3**: "use the old version" and "report the new epoch" in [`Reader::refresh_with`]
//!   are the two lines that must not be swapped. The publisher frees the old version as soon as all
//!   readers have reported. So a reader that reported first could look at freed memory.
//! * Between R1 and R3 a reader takes a version that is newer than its last report. Nothing newer
//!   than a report is freed.
//! * While a reader holds a version, no other version gets the same address. So comparing addresses
//!   in R1 finds every change.
//!
//! **End.** A dropped reader holds nothing back. When the publisher and all readers are gone, the
//! last of them frees the remaining versions on its own thread. Control ends the workers first, so
//! that this thread is its own.

#![allow(unsafe_code, reason = "readers hold plain pointers into versions")]

use core::fmt;
use core::ptr::NonNull;
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

/// A value and its number. A `Box` makes it. The publisher owns it, later [`Shared`]. All read it.
struct Version<T> {
    epoch: u64,
    value: T,
}

/// The last report of a reader: the epoch of the version that it looks at, or [`Seen::GONE`].
#[derive(Clone, Copy)]
struct Seen(u64);

impl Seen {
    /// The reader is gone and looks at no version.
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
    /// The report of each reader. Only that reader writes it.
    seen: Box<[CachePadded<AtomicU64>]>,
    /// The versions that the publisher had not freed when it was dropped.
    orphans: OnceLock<Vec<NonNull<Version<T>>>>,
}

impl<T> Shared<T> {
    /// The reports of all readers. A report that is out of date only keeps more versions.
    fn reports(&self) -> impl Iterator<Item = Seen> + '_ {
        self.seen.iter().map(|seen| Seen(seen.load(Ordering::Acquire)))
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let current = NonNull::new(self.current.load(Ordering::Relaxed));
        for version in self.orphans.take().unwrap_or_default().into_iter().chain(current) {
            // SAFETY: publisher and readers hold the counted references to `self`, and all are
            // gone. The current version is never among the retired ones. `Publisher::drop` hands
            // over only versions that are not freed.
            unsafe { free(version) };
        }
    }
}

/// Frees a version.
///
/// # Safety
/// It comes from [`version`], nobody looks at it, and it is freed only once.
unsafe fn free<T>(version: NonNull<Version<T>>) {
    // SAFETY: it comes from `Box::leak` in `version`, and the caller owns it.
    drop(unsafe { Box::from_raw(version.as_ptr()) });
}

fn version<T>(epoch: u64, value: T) -> NonNull<Version<T>> {
    NonNull::from(Box::leak(Box::new(Version { epoch, value })))
}

/// Control's side. Replaces the value and frees the old ones, on the thread that calls it.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    current: NonNull<Version<T>>,
    retired: Vec<NonNull<Version<T>>>,
}

// SAFETY: it owns values that it may drop (`T: Send`) and that readers look at meanwhile (`T:
// Sync`).
unsafe impl<T: Send + Sync> Send for Publisher<T> {}

impl<T> Publisher<T> {
    /// Publishes `value` as epoch 1 and makes this many readers.
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

    /// Replaces the current value by `value` and returns its epoch. A later [`Self::reclaim`] frees
    /// the old value.
    pub fn publish(&mut self, value: T) -> u64 {
        let epoch = self.epoch() + 1;
        let new = version(epoch, value);
        self.shared.current.store(new.as_ptr(), Ordering::Release); // P1
        self.retired.push(core::mem::replace(&mut self.current, new));
        epoch
    }

    /// Frees the old values that no reader can look at any more. Returns how many were freed.
    pub fn reclaim(&mut self) -> usize {
        if self.retired.is_empty() {
            return 0;
        }
        let reports: Vec<Seen> = self.shared.reports().collect(); // P2
        let before = self.retired.len();
        self.retired.retain(|version| {
            // SAFETY: a retired version lives until it is freed a few lines below.
            let epoch = unsafe { version.as_ref() }.epoch;
            let held = reports.iter().any(|seen| seen.may_hold(epoch));
            if !held {
                // SAFETY: no reader holds it or can still get it (see the diagram above). `retain`
                // removes it from the list.
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

    /// The current value's number: 1 at first, and one more with each publication.
    pub fn epoch(&self) -> u64 {
        self.version().epoch
    }

    /// How many old values are not freed yet.
    pub fn retired(&self) -> usize {
        self.retired.len()
    }

    /// Whether every reader has moved on to `epoch` or a later one. Then its `migrate` has run. If
    /// not, ask again later; do not wait in a loop.
    pub fn is_seen(&self, epoch: u64) -> bool {
        self.waits_for(epoch).is_none()
    }

    /// The number of the first reader that has not moved on to `epoch` or a later one.
    pub fn waits_for(&self, epoch: u64) -> Option<usize> {
        self.shared.reports().position(|seen| !seen.is_past(epoch))
    }

    fn version(&self) -> &Version<T> {
        // SAFETY: only `publish` retires the current version, and it takes `&mut self`.
        unsafe { self.current.as_ref() }
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.reclaim();
        // This cannot fail: `orphans` is set only here. `Shared` frees the versions when the
        // readers are gone too.
        let _ = self.shared.orphans.set(core::mem::take(&mut self.retired));
    }
}

impl<T> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retired = self.retired.len();
        f.debug_struct("Publisher").field("epoch", &self.epoch()).field("retired", &retired).finish()
    }
}

/// A worker's side. It looks at one version at a time and decides when to move on.
///
/// The reference that [`Self::get`] returns cannot be kept across a move:
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

// SAFETY: it looks at values that others look at too (`T: Sync`), and it may drop them as the last
// owner (`T: Send`).
unsafe impl<T: Send + Sync> Send for Reader<T> {}

impl<T> Reader<T> {
    /// Moves on to the newest version. Returns whether that is another one. Call it between bursts.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        self.refresh_with(|_, _| ()).is_some()
    }

    /// As [`Self::refresh`]. If the newest version is another one, it first calls `migrate` with
    /// the old and the new value, and returns its result.
    #[inline]
    pub fn refresh_with<R>(&mut self, migrate: impl FnOnce(&T, &T) -> R) -> Option<R> {
        let newest = self.shared.current.load(Ordering::Acquire); // R1
        if newest == self.held.as_ptr() {
            return None;
        }
        let newest = NonNull::new(newest)?;
        // SAFETY: it was current when it was loaded, and it is not freed while `seen` reports an
        // earlier epoch.
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

    /// The reader's number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    #[inline]
    fn version(&self) -> &Version<T> {
        // SAFETY: `seen` reports this version's epoch, or an earlier one, while the reader holds
        // it.
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
