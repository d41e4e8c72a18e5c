//! Flags of a service that its scheduler reads.

use core::ops::BitOr;

/// Flags of a service that its scheduler reads: Linux's `IP_VS_SVC_F_SCHED1` to `SCHED3`.
///
/// Their meaning depends on the scheduler; today only `sh` and `mh` read any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    /// The scheduler flags among a service's flag bits; all other bits are ignored.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x0038)
    }

    /// The flag bits as in a service's flags.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every flag of `other` is set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// No flag.
    pub const NONE: Self = Self(0);
    /// `flag-1`, `sh-fallback`, `mh-fallback`: try other table slots when the owner is unavailable.
    pub const FALLBACK: Self = Self(0x0008);
    /// `flag-2`, `sh-port`, `mh-port`: hash the client port too.
    pub const PORT: Self = Self(0x0010);
    /// `flag-3`: no scheduler reads it.
    pub const THIRD: Self = Self(0x0020);
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
