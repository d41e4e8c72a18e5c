//! How many entries some bits of a packet can reach.

use core::ops::Range;

use crate::steer::ENTRIES;
use crate::steer::RssKey;

/// How many bits of the entry are independent of each other, if only some bits of the packet vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rank(u32);

impl Rank {
    /// For packets that differ in bits `inputs`, counted from the first bit of the source address.
    pub(super) fn of(key: &RssKey, inputs: Range<usize>) -> Self {
        // Gaussian elimination over GF(2). If row n exists, its highest bit is bit n.
        let mut rows = [0; ENTRIES.ilog2() as usize];
        for input in inputs {
            let mut row = key.window(input) % ENTRIES as u32;
            while let Some(highest) = row.checked_ilog2() {
                match &mut rows[highest as usize] {
                    place @ 0 => {
                        *place = row;
                        break;
                    }
                    other => row ^= *other,
                }
            }
        }
        Self(rows.iter().filter(|row| **row != 0).count() as u32)
    }

    /// Whether all entries are reached, each by equally many values of the bits.
    pub(super) const fn is_full(self) -> bool {
        self.0 == ENTRIES.ilog2()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_rank_gives_the_number_of_reached_entries() {
        let mut sparse = RssKey([0; 40]);
        [95, 97, 99].into_iter().for_each(|at| sparse.set(at));
        for key in [RssKey::SYMMETRIC, RssKey::MICROSOFT, sparse, RssKey([0; 40]), RssKey([0xff; 40])] {
            for inputs in [0..16, 23..32, 64..80, 71..80, 87..96, 80..83] {
                let reached: HashSet<u32> = (0..1_u32 << inputs.len())
                    .map(|value| {
                        let set = inputs.clone().enumerate().filter(|(nth, _)| value >> nth & 1 != 0);
                        set.fold(0, |hash, (_, input)| hash ^ key.window(input)) % 512
                    })
                    .collect();
                let rank = Rank::of(&key, inputs);
                assert_eq!(reached.len(), 1 << rank.0);
                assert_eq!(rank.is_full(), reached.len() == 512);
            }
        }
    }
}
