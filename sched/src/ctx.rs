//! What a choice needs from outside: the time, chance and tunables.

/// What a choice needs from outside. The crate has no clock and no randomness of its own.
pub struct Ctx<'a> {
    /// Monotonic milliseconds.
    pub now: u64,
    /// Where `twos` draws from.
    pub random: &'a mut dyn Random,
    /// Numbers an operator may set.
    pub tuning: Tuning,
}

/// A source of uniform random numbers.
pub trait Random {
    /// A number drawn uniformly from `0..=max`.
    fn below_inclusive(&mut self, max: u64) -> u64;
}

/// Numbers an operator may set, Linux's sysctls of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Milliseconds after which an unused `lblc` cache entry is dropped.
    pub lblc_expiration: u64,
    /// The same for `lblcr`. It is also the age at which a server set loses its most loaded member.
    pub lblcr_expiration: u64,
}

impl Default for Tuning {
    /// Linux: `include/net/ip_vs.h: DEFAULT_EXPIRATION`, 24 hours.
    fn default() -> Self {
        Self { lblc_expiration: 86_400_000, lblcr_expiration: 86_400_000 }
    }
}

/// A small, fast generator (xorshift64*) for workers; not for secrets.
#[derive(Clone, Debug)]
pub struct XorShift(u64);

impl XorShift {
    /// A generator whose sequence `seed` decides.
    pub const fn new(seed: u64) -> Self {
        // The state must not be zero. The seed is spread, so that neighbouring seeds give unrelated
        // sequences.
        let spread = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(if spread == 0 { 1 } else { spread })
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl Random for XorShift {
    /// Scales by multiplication; the bias is below `max / 2^64`.
    fn below_inclusive(&mut self, max: u64) -> u64 {
        let product = u128::from(self.next()) * (u128::from(max) + 1);
        (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_cover_the_range_evenly_and_never_leave_it() {
        let mut random = XorShift::new(7);
        let mut seen = [0_u32; 3];
        for _ in 0..30_000 {
            seen[random.below_inclusive(2) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (9_500..10_500).contains(&n)), "{seen:?}");
        assert_eq!(random.below_inclusive(0), 0);
        let _ = random.below_inclusive(u64::MAX);
    }
}
