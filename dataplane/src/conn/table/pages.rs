//! Memory for large arrays, in hugepages if Linux can give any.
//!
//! A table of a million connections covers more than twenty thousand ordinary pages. A random
//! look-up then misses the processor's TLB as surely as its data cache. So arrays of two megabytes
//! and more begin at hugepage boundaries, and Linux is asked for transparent hugepages. That needs
//! no privilege. If Linux does not give them, the arrays work in the same way but cost more time.
//! The module is public for measurements of the machine's memory, which need memory of the same
//! kind.

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

// SAFETY: it owns its elements, as a `Box` does.
unsafe impl<T: Copy + Send> Send for Pages<T> {}
// SAFETY: a shared reference gives only shared references to elements, as with a `Box`.
unsafe impl<T: Copy + Sync> Sync for Pages<T> {}

impl<T: Copy> Pages<T> {
    /// An array of `len` elements; element n is `element(n)`. All of its memory is written.
    pub fn new(len: usize, mut element: impl FnMut(usize) -> T) -> Self {
        let layout = Self::layout(len);
        let start = if layout.size() == 0 { NonNull::dangling() } else { take(layout).cast() };
        // From here on the memory is freed even if `element` panics. Elements need no drop
        // (`T: Copy`).
        let pages = Self { start, len };
        for n in 0..len {
            // SAFETY: n is below `len`, for which `layout` has room.
            let place = unsafe { start.add(n) };
            // SAFETY: it is inside the allocation, aligned for T, and nobody else has it yet.
            unsafe { place.write(element(n)) };
        }
        pages
    }

    /// The memory of the array, in bytes.
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
        // SAFETY: `new` wrote `len` elements from `start` on. They live as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Pages<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.len);
        if layout.size() != 0 {
            // SAFETY: `new` allocated it with the same layout, and nothing borrows it any more.
            unsafe { alloc::dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

/// Allocates memory whose size is not zero. Asks for hugepages for large pieces.
fn take(layout: Layout) -> NonNull<u8> {
    // SAFETY: the size is not zero: the only caller, `Pages::new`, ensures that.
    let Some(start) = NonNull::new(unsafe { alloc::alloc(layout) }) else {
        alloc::handle_alloc_error(layout)
    };
    #[cfg(all(target_os = "linux", not(miri)))]
    if layout.align() == HUGE {
        // Linux refuses this if hugepages are not built in or switched off. That does no harm.
        // SAFETY: these are whole pages of an allocation that nobody uses yet, and the advice
        // changes no content.
        let _ = unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
    start
}

/// A vector of this length would panic in the same way.
#[cold]
#[allow(clippy::panic, reason = "what the standard collections do, at start and with a limit far below")]
fn capacity_overflow() -> ! {
    panic!("capacity overflow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_all_sizes_hold_their_elements() {
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
