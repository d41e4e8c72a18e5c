//! Special instructions for the table: one compares the tags of a bucket at once, one fetches a
//! line ahead of time.
//!
//! This unsafe code is safe to call with any arguments.

#![allow(unsafe_code, reason = "prefetching and the aligned load take raw pointers")]

/// How many tags a bucket has.
pub(super) const LANES: usize = 10;
/// How many tags one load reads.
const WIDE: usize = 8;

/// The tags of a bucket.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub(super) struct Tags(pub(super) [u16; LANES]);

impl Tags {
    /// The lanes that hold `tag`: bit n for lane n.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn lanes_with(&self, tag: u16) -> u16 {
        // SAFETY: every x86-64 processor has SSE2.
        unsafe { equal_lanes(self, tag) }
    }

    /// The lanes that hold `tag`: bit n for lane n.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    pub(super) fn lanes_with(&self, tag: u16) -> u16 {
        self.0.iter().rev().fold(0, |lanes, lane| lanes << 1 | u16::from(*lane == tag))
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn equal_lanes(tags: &Tags, tag: u16) -> u16 {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16,
        _mm_set1_epi16,
    };
    let [wide @ .., a, b] = &tags.0;
    let wide: &[u16; WIDE] = wide;
    // SAFETY: `wide` is 16 readable bytes; this load needs no alignment.
    let wide = unsafe { _mm_loadu_si128((&raw const *wide).cast::<__m128i>()) };
    let rest = _mm_cvtsi32_si128((u32::from(*a) | u32::from(*b) << 16).cast_signed());
    let wanted = _mm_set1_epi16(tag.cast_signed());
    let equal = _mm_packs_epi16(_mm_cmpeq_epi16(wide, wanted), _mm_cmpeq_epi16(rest, wanted));
    // Beyond the last lane the tags are zero, like those of empty lanes.
    _mm_movemask_epi8(equal) as u16 & ((1 << LANES) - 1)
}

/// Has the line on which `slice[index]` begins fetched. An index beyond the end does no harm.
#[inline]
pub(crate) fn prefetch<T>(slice: &[T], index: usize) {
    let _line = slice.as_ptr().wrapping_add(index);
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing into the program and does not fault, whatever the
        // address (Intel SDM, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(_line.cast()) }
    }
}
