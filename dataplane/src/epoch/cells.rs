//! A cell for each worker, behind a shared reference.
//!
//! A [`PerWorker`] is private state of workers inside a shared object, for example the cursor of a
//! scheduler inside a version. Only the one [`WorkerToken`] with index n reaches cell n of each
//! [`PerWorker`].

#![allow(unsafe_code, reason = "workers reach cells behind &")]

use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

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
        static DIRECTORS: AtomicU64 = AtomicU64::new(0);
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
