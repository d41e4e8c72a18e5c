//! The table's hash: two seeded multiply-folds of a key's two words.
//!
//! The seed is drawn at each start and tells nobody which keys collide. One fold spreads ordinary
//! traffic well; the second keeps related keys from staying related.

use crate::conn::key::FlowKey;

/// A key's hash. The high half picks the bucket, the low 16 bits make the tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(pub(super) u64);

/// The seeds of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher([u64; 3]);

impl Hasher {
    pub(super) fn new(seed: u64) -> Self {
        let nth = |n: u64| spread(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Self([nth(1), nth(2), nth(3)])
    }

    #[inline]
    pub(super) fn hash(&self, key: FlowKey) -> Hash {
        let [addrs, rest] = key.words();
        let [a, b, c] = self.0;
        Hash(fold(fold(addrs ^ a, rest ^ b), c))
    }
}

/// The 128-bit product, its halves added without carry.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Makes an arbitrary seed an odd number with bits all over (the finaliser of `SplitMix64`).
fn spread(seed: u64) -> u64 {
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (seed ^ seed >> 31) | 1
}
