//! Where a worker's cursor starts.

/// Which worker a state belongs to, and how many workers there are.
///
/// Linux has one cursor for a service; here each worker has one. If all N workers started at the
/// front, their first N connections would go to the same server. So they start spread out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stagger {
    index: u32,
    of: u32,
}

impl Stagger {
    /// Worker `index` of `of`; an index beyond the count wraps.
    pub const fn new(index: u32, of: u32) -> Self {
        let of = if of == 0 { 1 } else { of };
        Self { index: index % of, of }
    }

    /// How many destinations stand before the starting point in a list of `len`.
    pub(crate) const fn skip(self, len: usize) -> usize {
        // 128 bits, so that `len * index` cannot overflow.
        (len as u128 * self.index as u128 / self.of as u128) as usize
    }

    /// The only worker: cursors start at the front and choices are exactly Linux's.
    pub const ALONE: Self = Self { index: 0, of: 1 };
}
