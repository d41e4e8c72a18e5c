//! The key of a flow: what a packet says of itself, as it lies in the packet.
//!
//! Addresses and ports are kept as the bytes on the wire, loaded in native order. There is a key
//! for each address family: [`FlowKey`] for IPv4, [`FlowKey6`] for IPv6. The table needs no more of
//! them than [`Key`] says.

mod v4;
mod v6;

use core::fmt::Debug;

pub use self::v4::FlowKey;
pub use self::v6::FlowKey6;

/// What kind of table entry a key names; real packets are always [`KeyKind::Flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// A connection.
    Flow = 0,
    /// A persistence template; no packet can match one (`ip_vs_conn.c: ip_vs_ct_in_get`).
    Template = 1,
}

/// What the connection table asks of a key.
pub trait Key: Copy + Debug + Eq + 'static {
    /// The words that the key is made of.
    type Words: Words;

    /// All bits zero: protocol 0, which no packet has.
    const ZERO: Self;

    /// The key's words, for hashing and comparing.
    fn words(self) -> Self::Words;

    /// Whether this names a template.
    fn is_template(self) -> bool;
}

/// A fixed number of words: as many as a key of one address family has.
pub trait Words: Copy {
    /// Whether both are the same, found without a branch.
    fn are(self, others: Self) -> bool;

    /// One word in which every bit depends on all words and on the secret `seeds`. Nobody who does
    /// not know the seeds can tell which words give the same.
    fn mixed(self, seeds: &[u64; SEEDS]) -> u64;
}

/// Seeds that mixing takes.
pub const SEEDS: usize = 6;

impl Words for [u64; 2] {
    #[inline]
    fn are(self, others: Self) -> bool {
        let ([a, b], [c, d]) = (self, others);
        ((a ^ c) | (b ^ d)) == 0
    }

    #[inline]
    fn mixed(self, seeds: &[u64; SEEDS]) -> u64 {
        let [one, two] = self;
        fold(fold(one ^ seeds[0], two ^ seeds[1]), seeds[2])
    }
}

impl Words for [u64; 5] {
    #[inline]
    fn are(self, others: Self) -> bool {
        let ([a, b, c, d, e], [v, w, x, y, z]) = (self, others);
        ((a ^ v) | (b ^ w) | (c ^ x) | (d ^ y) | (e ^ z)) == 0
    }

    #[inline]
    fn mixed(self, seeds: &[u64; SEEDS]) -> u64 {
        let [a, b, c, d, e] = self;
        // Each fold has a seed of its own, so that no word can undo what another did.
        let addresses = fold(a ^ seeds[0], b ^ seeds[1]) ^ fold(c ^ seeds[3], d ^ seeds[4]);
        fold(fold(addresses ^ seeds[5], e ^ seeds[1]), seeds[2])
    }
}

/// The 128-bit product, its halves added without carry.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
