//! SipHash-1-3 of one 32-bit word.

/// SipHash-1-3 of the four little-endian bytes of `word`, truncated to 32 bits; both key halves are
/// `key`.
///
/// Linux: `lib/siphash.c: hsiphash_1u32` on 64-bit machines. The algorithm: Aumasson and Bernstein,
/// "SipHash: a fast short-input PRF", 2012, with 1 compression and 3 finalisation rounds.
pub(crate) const fn siphash13(key: u64, word: u32) -> u32 {
    let block = (4 << 56) | word as u64;
    let mut v = [
        key ^ 0x736F_6D65_7073_6575,
        key ^ 0x646F_7261_6E64_6F6D,
        key ^ 0x6C79_6765_6E65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    v[3] ^= block;
    v = round(v);
    v[0] ^= block;
    v[2] ^= 0xFF;
    v = round(round(round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

const fn round([a, b, c, d]: [u64; 4]) -> [u64; 4] {
    let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
    let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
    let (a, c) = (a.rotate_left(32), c.wrapping_add(b));
    let a = a.wrapping_add(d);
    let (b, d) = (b.rotate_left(17) ^ c, d.rotate_left(21) ^ a);
    [a, b, c.rotate_left(32), d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        assert_eq!(siphash13(2_654_435_761, 0x0A00_0002), 0x41CF_DE13);
        assert_eq!(siphash13(2_654_435_761, 0xC0A8_0101), 0xD3F1_B4D3);
    }
}
