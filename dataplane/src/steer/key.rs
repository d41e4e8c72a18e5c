//! The key by which a network card hashes.

/// A key of the Toeplitz hash. It is long enough for addresses and ports of IPv4 and IPv6.
///
/// If a card needs a longer key, zeros follow. They have no effect, because no input is long enough
/// to reach them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RssKey(pub [u8; 40]);

impl RssKey {
    /// With this key both directions of a connection have the same hash, because it repeats the
    /// same 16 bits (Woo and Park, "Scalable TCP Session Monitoring with Symmetric Receive-side
    /// Scaling", 2012).
    pub const SYMMETRIC: Self = {
        let mut key = [0x6d; 40];
        let mut nth = 1;
        while nth < key.len() {
            key[nth] = 0x5a;
            nth += 2;
        }
        Self(key)
    };

    /// The key of Microsoft's "Verifying the RSS Hash Calculation". It is the default key of many
    /// drivers. The two directions of a connection have different hashes.
    pub const MICROSOFT: Self = Self([
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, //
        0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2,
        0x0c, //
        0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ]);

    /// The Toeplitz hash of at most 36 bytes. Each bit n of the input that is set contributes 32
    /// bits of the key, from bit n on; all contributions are combined by XOR.
    pub fn hash(&self, input: &[u8]) -> u32 {
        let (first, rest) = self.0.split_at(4);
        let mut window = first.iter().fold(0, |window, byte| window << 8 | u32::from(*byte));
        let mut hash = 0;
        for (byte, next) in input.iter().zip(rest) {
            for bit in (0..8).rev() {
                if byte >> bit & 1 != 0 {
                    hash ^= window;
                }
                window = window << 1 | u32::from(next >> bit & 1);
            }
        }
        hash
    }

    /// The contribution of input bit `at` to the hash, counted from the first bit of the source
    /// address. Bits beyond the end of the key are 0.
    pub fn window(&self, at: usize) -> u32 {
        (at..at + 32).fold(0, |window, at| window << 1 | u32::from(self.bit(at)))
    }

    /// Whether bit `at` is set, counted from the highest bit of the first byte.
    fn bit(&self, at: usize) -> bool {
        self.0.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 != 0)
    }

    /// Sets bit `at`, counted from the highest bit of the first byte. The bit must be in the key.
    pub(super) fn set(&mut self, at: usize) {
        self.0[at / 8] |= 0x80 >> (at % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_its_bit_alone_hashes_to() {
        for key in [RssKey::SYMMETRIC, RssKey::MICROSOFT] {
            for at in 0..288 {
                let mut input = [0; 36];
                input[at / 8] = 0x80 >> (at % 8);
                assert_eq!(key.window(at), key.hash(&input), "bit {at}");
            }
        }
    }

    #[test]
    fn bits_are_set_where_they_are_read() {
        let mut key = RssKey([0; 40]);
        [0, 9, 319].into_iter().for_each(|at| key.set(at));
        let set: Vec<usize> = (0..400).filter(|at| key.bit(*at)).collect();
        assert_eq!((set, key.0[1]), (vec![0, 9, 319], 0x40));
    }
}
