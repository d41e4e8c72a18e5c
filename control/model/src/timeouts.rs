//! The three connection timeouts that `--set` sets.

use serde::{Deserialize, Serialize};

use super::error::{Invalid, ModelError};

/// How long a connection lives without packets, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp: u32,
    /// TCP, after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Timeouts {
    /// These timeouts, replaced by those of `new` that are not 0.
    ///
    /// Linux counts ticks in a signed 32-bit number. With 100 ticks a second, this is its limit.
    pub fn set(self, new: Self) -> Result<Self, ModelError> {
        let longest = new.tcp.max(new.tcp_fin).max(new.udp);
        if longest > i32::MAX as u32 / 100 {
            return Err(ModelError::Invalid(Invalid::Timeout));
        }
        let keep = |new, old| if new == 0 { old } else { new };
        Ok(Self {
            tcp: keep(new.tcp, self.tcp),
            tcp_fin: keep(new.tcp_fin, self.tcp_fin),
            udp: keep(new.udp, self.udp),
        })
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { tcp: 900, tcp_fin: 120, udp: 300 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_keeps_and_overlong_is_refused() {
        let set = |tcp, tcp_fin, udp| Timeouts::default().set(Timeouts { tcp, tcp_fin, udp });
        assert_eq!(set(0, 5, 0), Ok(Timeouts { tcp: 900, tcp_fin: 5, udp: 300 }));
        assert_eq!(set(0, 0, 0), Ok(Timeouts::default()));
        assert_eq!(set(21_474_837, 0, 0), Err(ModelError::Invalid(Invalid::Timeout)));
        assert!(set(2_678_400, 2_678_400, 2_678_400).is_ok());
    }
}
