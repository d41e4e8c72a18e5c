//! The Internet checksum, of whole data and of changes.
//!
//! Sums are computed over 16-bit words in native order. One's-complement addition works in either
//! byte order (RFC 1071 §2B), so a sum of loaded words can be stored without swapping.

/// The one's-complement sum of `bytes`, folded to 16 bits and not inverted.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total: u64 = 0;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let (words, rest) = rest.as_chunks::<2>();
    for word in words {
        total += u64::from(u16::from_ne_bytes(*word));
    }
    if let [last] = rest {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    fold(total)
}

/// `a + b` in one's complement.
#[inline]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The change of a sum if `old` is replaced by `new`: `~old + new` (RFC 1624 §3).
#[inline]
pub fn delta(old: &[u8], new: &[u8]) -> u16 {
    add(!sum(old), sum(new))
}

/// [`delta`] of words of up to eight bytes, as they were loaded. If `new` is 0, the result may be
/// the other one of the two zeros of one's complement.
#[inline]
pub const fn delta_of_words(old: u64, new: u64) -> u16 {
    fold_words((!old & 0xffff_ffff) + (!old >> 32) + (new & 0xffff_ffff) + (new >> 32))
}

/// The checksum field after its data changed by `delta` (RFC 1624 equation 3: `~(~HC + ~m + m')`).
#[inline]
pub const fn apply(field: [u8; 2], delta: u16) -> [u8; 2] {
    (!add(!u16::from_ne_bytes(field), delta)).to_ne_bytes()
}

/// [`apply`] for UDP over IPv4, where 0 means "no checksum" (RFC 768). A field of 0 stays 0, and a
/// result of 0 becomes 0xFFFF.
#[inline]
pub const fn apply_udp(field: [u8; 2], delta: u16) -> [u8; 2] {
    if u16::from_ne_bytes(field) == 0 {
        return field;
    }
    let result = apply(field, delta);
    if u16::from_ne_bytes(result) == 0 { [0xff, 0xff] } else { result }
}

/// The checksum field for `bytes`. Their checksum field must be zero.
pub fn compute(bytes: &[u8]) -> [u8; 2] {
    (!sum(bytes)).to_ne_bytes()
}

/// The checksum field, in native order, for a header of these words as they were loaded. Its
/// checksum field must be zero.
#[inline]
pub const fn of_words(a: u32, b: u32, c: u32, d: u32, e: u32) -> u16 {
    !fold_words(a as u64 + b as u64 + c as u64 + d as u64 + e as u64)
}

/// Folds a sum of up to eight 32-bit words.
#[inline]
const fn fold_words(total: u64) -> u16 {
    // The sum of eight words is less than 2^35. After two steps at most one carry is left beyond 16
    // bits, and after the third none.
    let total = (total & 0xffff) + (total >> 16);
    let total = (total & 0xffff) + (total >> 16);
    let total = (total & 0xffff) + (total >> 16);
    total as u16
}

/// The sum of the pseudo-header of TCP and UDP over IPv4: addresses, protocol, L4 length in bytes.
#[inline]
pub const fn pseudo_v4(addrs: [u8; 8], protocol: u8, l4_len: u16) -> u16 {
    let [a, b] = l4_len.to_be_bytes();
    let addrs = u64::from_ne_bytes(addrs);
    let rest = u32::from_ne_bytes([0, protocol, a, b]);
    fold_words((addrs & 0xffff_ffff) + (addrs >> 32) + rest as u64)
}

#[inline]
const fn fold(mut total: u64) -> u16 {
    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    total as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 §4.1, written plainly and kept slow on purpose.
    fn oracle(bytes: &[u8]) -> u16 {
        let mut total: u32 = 0;
        for pair in bytes.chunks(2) {
            total += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            total = (total & 0xffff) + (total >> 16);
        }
        !(total as u16)
    }

    #[test]
    fn a_known_ipv4_header_gets_its_known_checksum() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
            0xa8, 0x00, 0xc7,
        ];
        assert_eq!(compute(&header), [0xb8, 0x61]);
    }

    fn of_words_in(bytes: [[u8; 4]; 5]) -> [u8; 2] {
        let [a, b, c, d, e] = bytes.map(u32::from_ne_bytes);
        of_words(a, b, c, d, e).to_ne_bytes()
    }

    #[test]
    fn the_sum_of_five_words_adds_all_carries() {
        for word in [0, 0xffff, 0xffff_0000, u32::MAX, u32::MAX - 1] {
            let bytes = [word; 5].map(u32::to_ne_bytes);
            assert_eq!(of_words_in(bytes), oracle(bytes.as_flattened()).to_be_bytes());
        }
    }

    #[test]
    fn a_udp_field_of_zero_stays_and_a_result_of_zero_becomes_ones() {
        assert_eq!(apply_udp([0, 0], 0x1234), [0, 0]);
        // ~0xfffe = 1, and 1 + 0xfffe = 0xffff. Its inverse is 0, which would mean "no checksum".
        assert_eq!(apply(0xfffe_u16.to_ne_bytes(), 0xfffe), [0, 0]);
        assert_eq!(apply_udp(0xfffe_u16.to_ne_bytes(), 0xfffe), [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn the_sum_of_bytes_is_the_rfc_sum(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(compute(&bytes), oracle(&bytes).to_be_bytes());
        }

        #[test]
        fn the_sum_of_five_words_is_the_rfc_sum(bytes: [[u8; 4]; 5]) {
            prop_assert_eq!(of_words_in(bytes), oracle(bytes.as_flattened()).to_be_bytes());
        }

        #[test]
        fn the_delta_of_words_is_the_delta_of_their_bytes(old: [u8; 8], new: [u8; 8], field: [u8; 2]) {
            let words = delta_of_words(u64::from_ne_bytes(old), u64::from_ne_bytes(new));
            prop_assert_eq!(words, delta(&old, &new));
            prop_assert_eq!(apply(field, words), apply(field, delta(&old, &new)));
        }

        #[test]
        fn applying_a_delta_gives_the_recomputed_checksum(
            mut bytes in proptest::collection::vec(any::<u8>(), 2..200),
            new in proptest::collection::vec(any::<u8>(), 12),
            at in 0_usize..150,
        ) {
            bytes.resize(bytes.len().max(40) & !1, 7);
            let at = (2 + at % (bytes.len() - 14)) & !1;
            bytes[0] = 0;
            bytes[1] = 0;
            let before = compute(&bytes);
            let change = delta(&bytes[at..at + 12], &new);
            bytes[at..at + 12].copy_from_slice(&new);
            prop_assert_eq!(apply(before, change), compute(&bytes));
        }
    }
}
