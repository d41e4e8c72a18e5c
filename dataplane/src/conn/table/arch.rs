//! What the table asks of the processor: compare eight tags at once, fetch a line ahead of time.
//!
//! The only unsafe code of the table; it is safe to call with anything.

#![allow(unsafe_code, reason = "prefetching and the aligned load take raw pointers")]

/// Tags in a bucket.
pub(super) const LANES: usize = 8;

/// The tags of a bucket, aligned so that one load takes them all.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(super) struct Tags(pub(super) [u16; LANES]);

const _: () = assert!(size_of::<Tags>() == 16 && align_of::<Tags>() == 16);

impl Tags {
    /// The lanes that hold `tag`: bit n for lane n.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn lanes_with(&self, tag: u16) -> u8 {
        // SAFETY: every x86-64 processor has SSE2.
        unsafe { equal_lanes(self, tag) }
    }

    /// The lanes that hold `tag`: bit n for lane n.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub(super) fn lanes_with(&self, tag: u16) -> u8 {
        self.0.iter().rev().fold(0, |lanes, lane| lanes << 1 | u8::from(*lane == tag))
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn equal_lanes(tags: &Tags, tag: u16) -> u8 {
    use core::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        _mm_setzero_si128,
    };
    // SAFETY: `tags` is 16 readable bytes on a 16-byte boundary: asserted of `Tags` just above.
    let tags = unsafe { _mm_load_si128((&raw const *tags).cast()) };
    let equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16(tag.cast_signed()));
    _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) as u8
}

/// Has the line on which `slice[index]` begins fetched; beyond the end, nothing of consequence.
#[inline]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    let _line = slice.as_ptr().wrapping_add(index);
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing into the program and does not fault, whatever the address
        // (Intel SDM, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(_line.cast()) }
    }
}
