//! The key of a flow: addresses, ports and protocol, as they are in the packet.
//!
//! Addresses and ports are the bytes on the wire, loaded in native order. There is a key for each
//! address family: [`FlowKey`] for IPv4, [`FlowKey6`] for IPv6. The table uses them only through
//! [`Key`].

mod v4;
mod v6;

use core::fmt::Debug;

pub use self::v4::FlowKey;
pub use self::v6::FlowKey6;

/// What kind of table entry a key names. The key of a packet is always a [`KeyKind::Flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// A connection.
    Flow = 0,
    /// A persistence template. No packet can match it (`ip_vs_conn.c: ip_vs_ct_in_get`).
    Template = 1,
}

/// A key that the connection table can hold.
pub trait Key: Copy + Debug + Eq + 'static {
    /// The type of its words.
    type Words: Words;

    /// All bits zero. No packet has this key, because no packet has protocol 0.
    const ZERO: Self;

    /// The key's words, for hashing and comparing.
    fn words(self) -> Self::Words;

    /// Whether this is the key of a template.
    fn is_template(self) -> bool;
}

/// The words of a key. Their number depends on the address family.
pub trait Words: Copy {
    /// Whether both are equal. Compares without a branch.
    fn are(self, others: Self) -> bool;

    /// One word in which every bit depends on all words and on the secret `seeds`. Somebody who
    /// does not know the seeds cannot find keys that give the same word.
    fn mixed(self, seeds: &[u64; SEEDS]) -> u64;
}

/// How many seeds [`Words::mixed`] takes.
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
        // Each word is combined with a seed before it is folded, so that no word can cancel the
        // effect of another.
        let addresses = fold(a ^ seeds[0], b ^ seeds[1]) ^ fold(c ^ seeds[3], d ^ seeds[4]);
        fold(fold(addresses ^ seeds[5], e ^ seeds[1]), seeds[2])
    }
}

/// The two halves of the 128-bit product, combined by XOR.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
