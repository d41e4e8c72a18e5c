//! Fetches a cache line before it is needed.

/// Starts loading the cache line on which `target` begins into the first-level cache. Does not
/// wait.
#[inline(always)]
pub fn prefetch<T: ?Sized>(target: &T) {
    prefetch_at((&raw const *target).cast());
}

/// The same for any address, even an invalid one.
#[inline(always)]
pub(crate) fn prefetch_at(_line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::_MM_HINT_T0;
        use core::arch::x86_64::_mm_prefetch;
        // SAFETY: a hint: it reads nothing into the program and does not fault, whatever the
        // address (Intel SDM, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(_line.cast()) };
    }
}
