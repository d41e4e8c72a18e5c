//! Where a worker's cursor starts.

/// Which of how many workers a state belongs to.
///
/// Linux has one cursor for a service; here each worker has one. Were they all to start at the
/// front, N workers would send their first N connections to the same server, so they start spread
/// out.
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

    /// How many destinations, of a list of `len`, stand before the starting point.
    pub(crate) const fn skip(self, len: usize) -> usize {
        // Widened: len * index must not overflow.
        (len as u128 * self.index as u128 / self.of as u128) as usize
    }

    /// The only worker: cursors start at the front and choices are exactly Linux's.
    pub const ALONE: Self = Self { index: 0, of: 1 };
}
