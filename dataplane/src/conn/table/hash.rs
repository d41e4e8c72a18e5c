//! The table's hash: multiply-folds of a key's words with secret seeds.
//!
//! The seed is drawn at each start and is secret, so nobody knows which keys collide. The first
//! fold spreads ordinary traffic well. The second one ensures that similar keys do not get related
//! hashes.

use crate::conn::key::{Key, SEEDS, Words};

/// A key's hash. The high half selects the bucket; the low 16 bits are the tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(pub(super) u64);

/// The seeds of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher([u64; SEEDS]);

impl Hasher {
    pub(super) fn new(seed: u64) -> Self {
        let nth = |n: u64| spread(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Self([1, 2, 3, 4, 5, 6].map(nth))
    }

    #[inline]
    pub(super) fn hash<K: Key>(&self, key: K) -> Hash {
        Hash(key.words().mixed(&self.0))
    }
}

/// Turns any seed into an odd number with well-mixed bits (the finaliser of `SplitMix64`).
fn spread(seed: u64) -> u64 {
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (seed ^ seed >> 31) | 1
}
