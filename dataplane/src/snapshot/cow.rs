//! An array that is cheap to copy and cheap to change. Its chunks are shared by reference.
//!
//! Control keeps one master of each such array, changes it in place and publishes copies. A change
//! copies only the chunk that it touches.

use std::sync::Arc;
use std::vec::Vec;

use crate::conn::table::prefetch;

/// How many elements a chunk has.
const CHUNK: usize = 128;

/// An array of `T` that can grow. New elements have the default value. Copies share chunks.
#[derive(Clone, Debug, Default)]
pub struct CowArray<T> {
    chunks: Vec<Arc<[T; CHUNK]>>,
}

impl<T: Clone + Default> CowArray<T> {
    /// The element at `index`. `None` beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK).map(|chunk| &chunk[index % CHUNK])
    }

    /// Has the line fetched on which the element at `index` begins.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        if let Some(chunk) = self.chunks.get(index / CHUNK) {
            prefetch(&chunk[..], index % CHUNK);
        }
    }

    /// How many elements the array has room for now.
    pub fn room(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// The element at `index`, mutable. The array grows if it is too short.
    pub fn entry(&mut self, index: usize) -> &mut T {
        while self.chunks.len() <= index / CHUNK {
            self.chunks.push(Arc::new(std::array::from_fn(|_| T::default())));
        }
        &mut Arc::make_mut(&mut self.chunks[index / CHUNK])[index % CHUNK]
    }

    /// All elements with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).enumerate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes_and_shares_all_other_chunks() {
        let mut master = CowArray::default();
        *master.entry(500) = 7;
        *master.entry(3) = 1;
        let copy = master.clone();
        *master.entry(3) = 2;
        assert_eq!((copy.get(3), master.get(3), copy.get(500)), (Some(&1), Some(&2), Some(&7)));
        assert!(Arc::ptr_eq(&copy.chunks[3], &master.chunks[3]));
        assert_eq!(copy.get(100_000), None);
    }
}
