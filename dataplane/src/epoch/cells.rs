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

/// The workers of one director. Each [`PerWorker`] belongs to one director's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Number of the director; no other director in this process has the same.
    director: u64,
    count: usize,
}

/// A worker's key to its cells. It is made once, moved into the worker and never copied.
#[derive(Debug)]
pub struct WorkerToken {
    workers: Workers,
    index: usize,
    /// Makes the token not `Sync`. Two threads that share a token would share cells, whose type
    /// need not be `Sync`.
    not_sync: PhantomData<Cell<()>>,
}

impl Workers {
    /// Makes `count` workers. Returns them and a token for each.
    pub fn new(count: usize) -> (Self, Vec<WorkerToken>) {
        static DIRECTORS: AtomicU64 = AtomicU64::new(0);
        let director = DIRECTORS.fetch_add(1, Ordering::Relaxed);
        let workers = Self { director, count };
        let token = |index| WorkerToken { workers, index, not_sync: PhantomData };
        (workers, (0..count).map(token).collect())
    }

    /// The number of workers.
    pub fn count(self) -> usize {
        self.count
    }
}

impl WorkerToken {
    /// The worker's number, from 0.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }
}

/// A value for each worker. Only that worker reaches it, through a shared reference.
///
/// Cells are two cache lines apart, so put many small things into one cell and not into many. With
/// one token only one cell at a time can be borrowed mutably:
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

// SAFETY: a cell is reached only with its worker's token, so by one thread at a time: the token is
// not `Clone` and not `Sync`. The token can move to another thread, and the cell's value with it;
// so `T: Send`.
unsafe impl<T: Send> Sync for PerWorker<T> {}

impl<T> PerWorker<T> {
    /// A cell for each worker. `cell` makes its value from the worker's number.
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
        // SAFETY: the only token of this cell is borrowed while the result lives, so `get_mut`
        // cannot be called meanwhile. No other thread has the token (see `Sync` above).
        unsafe { &*self.cell(token) }
    }

    /// The worker's own cell, mutable.
    ///
    /// # Panics
    /// When the token is another director's.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "exclusive by the borrow of the token")]
    pub fn get_mut<'a>(&'a self, token: &'a mut WorkerToken) -> &'a mut T {
        // SAFETY: the only token of this cell is borrowed mutably for as long as the result lives.
        unsafe { &mut *self.cell(token) }
    }

    /// The worker's own cell in `self` and its cell in `other`, both mutable. `None` if they are
    /// the same cell.
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
        // SAFETY: as in `get_mut`; the comparison above shows that the two cells are different.
        let mine = unsafe { &mut *mine };
        // SAFETY: as above.
        let others = unsafe { &mut *others };
        Some((mine, others))
    }

    /// All cells, in the order of the workers, before the value is shared.
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
