//! Memory for large arrays: hugepages when Linux has any to give.
//!
//! A table of a million connections covers twenty thousand ordinary pages, and a random look-up
//! misses the processor's page cache as surely as its data cache. Arrays of two megabytes and more
//! are therefore laid on hugepage boundaries and Linux is asked to use transparent hugepages, which
//! needs no privilege; where it will not, they work the same and cost more time. Whoever makes an
//! array owns it. Public for who measures the machine's memory, which must lie as the table does.

#![allow(unsafe_code, reason = "memory is taken with an alignment of its own, and advice given on it")]

use core::alloc::Layout;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;
use std::alloc;

/// A hugepage of most 64-bit processors, in bytes.
const HUGE: usize = 2 << 20;

/// An array of fixed length.
pub struct Pages<T: Copy> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its elements, as a box does.
unsafe impl<T: Copy + Send> Send for Pages<T> {}
// SAFETY: shared, it gives out shared elements only, as a box does.
unsafe impl<T: Copy + Sync> Sync for Pages<T> {}

impl<T: Copy> Pages<T> {
    /// An array of `len` elements, element n being `element(n)`. All of its memory is written to.
    pub fn new(len: usize, mut element: impl FnMut(usize) -> T) -> Self {
        let layout = Self::layout(len);
        let start = if layout.size() == 0 { NonNull::dangling() } else { take(layout).cast() };
        // From here on it is freed however this ends; elements need no drop (`T: Copy`).
        let pages = Self { start, len };
        for n in 0..len {
            // SAFETY: n is below `len`, for which `layout` has room.
            let place = unsafe { start.add(n) };
            // SAFETY: inside the allocation, aligned for T, and nobody else's yet.
            unsafe { place.write(element(n)) };
        }
        pages
    }

    /// Bytes taken.
    pub fn memory_bytes(&self) -> usize {
        Self::layout(self.len).size()
    }

    fn layout(len: usize) -> Layout {
        let Ok(exact) = Layout::array::<T>(len) else { capacity_overflow() };
        if exact.size() < HUGE {
            return exact;
        }
        exact.align_to(HUGE).unwrap_or_else(|_| capacity_overflow())
    }
}

impl<T: Copy> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` wrote `len` elements from `start` on; they live as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Pages<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.len);
        if layout.size() != 0 {
            // SAFETY: `new` took it with this very layout, and nothing borrows it any more.
            unsafe { alloc::dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

/// Takes memory of a size that is not zero, large pieces on hugepages.
fn take(layout: Layout) -> NonNull<u8> {
    // SAFETY: the size is not zero: the caller's promise, kept in `Pages::new`, the only one.
    let Some(start) = NonNull::new(unsafe { alloc::alloc(layout) }) else {
        alloc::handle_alloc_error(layout)
    };
    #[cfg(all(target_os = "linux", not(miri)))]
    if layout.align() == HUGE {
        // Refused where hugepages are not built in or switched off: no matter.
        // SAFETY: whole pages of an allocation that nobody uses yet; the advice changes no content.
        let _ = unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
    start
}

/// As for a vector: no such length can be.
#[cold]
#[allow(clippy::panic, reason = "what the standard collections do, at start and with a limit far below")]
fn capacity_overflow() -> ! {
    panic!("capacity overflow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_all_sizes_hold_what_they_were_made_of() {
        for len in [0, 1, 7, HUGE / 8 - 1, HUGE / 8, HUGE / 8 + 1] {
            let mut pages = Pages::new(len, |n| n as u64 * 3);
            assert_eq!(pages.len(), len);
            assert!(pages.iter().enumerate().all(|(n, value)| *value == n as u64 * 3));
            if let Some(last) = pages.last_mut() {
                *last = 1;
                assert_eq!(pages[len - 1], 1);
            }
        }
    }
}
