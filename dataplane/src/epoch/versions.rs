//! Versions of a value that control replaces while workers look at it.
//!
//! Control holds the [`Publisher`], each worker holds a [`Reader`]. A publisher replaces the current
//! value. A reader moves to the new value between two bursts and reports that it has moved. The
//! publisher frees an old value when no reader can still look at it. Workers never wait, never run
//! a destructor and never see half of a change (quiescent-state reclamation).
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
