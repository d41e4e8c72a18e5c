//! `mh`: Maglev hashing of the source address.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_mh.c: ip_vs_mh_schedule, ip_vs_mh_reassign, ip_vs_mh_get,
//! ip_vs_mh_get_fallback`.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::Dest;
use crate::DestId;
use crate::Flags;
use crate::Key;
use crate::Loads;
use crate::Plan;
use crate::PlanError;
use crate::hash;
use crate::levels::gcd;
use crate::measure::available;
use crate::siphash::siphash13;

/// How many slots an `mh` table has: a prime.
///
/// Linux fixes it when the kernel is built, by `CONFIG_IP_VS_MH_TAB_INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MhSize {
    index: u32,
    slots: u32,
}

impl MhSize {
    /// All table indices (Linux allows 8 to 17 as well: `net/netfilter/ipvs/Kconfig`).
    pub const INDICES: RangeInclusive<u32> = 8..=17;

    /// The size for a table index from 8 (251 slots) to 17 (131 071 slots).
    pub const fn from_index(index: u32) -> Option<Self> {
        let slots = match index {
            8 => 251,
            9 => 509,
            10 => 1021,
            11 => 2039,
            12 => 4093,
            13 => 8191,
            14 => 16_381,
            15 => 32_749,
            16 => 65_521,
            17 => 131_071,
            _ => return None,
        };
        Some(Self { index, slots })
    }

    /// The table index.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many slots.
    pub const fn slots(self) -> usize {
        self.slots as usize
    }

    /// How many destinations such a table can hold.
    pub fn most_destinations(self) -> usize {
        self.slots().min(usize::from(NOBODY))
    }
}

impl Default for MhSize {
    /// 4093 slots.
    fn default() -> Self {
        Self { index: 12, slots: 4093 }
    }
}

/// The owners of the slots, as list positions.
#[derive(Debug)]
pub(crate) struct Ring {
    owners: Box<[u16]>,
    size: MhSize,
}

impl Ring {
    /// Fills the slots: the destinations take turns, and each claims the next free slot in its own
    /// order.
    pub(crate) fn of(dests: &[Dest], size: MhSize) -> Result<Self, PlanError> {
        let limit = size.most_destinations();
        if dests.len() > limit {
            return Err(PlanError::TooMany { limit });
        }
        let mut owners = vec![NOBODY; size.slots()].into_boxed_slice();
        let mut claimants = Claimant::all(dests, size);
        let mut free = if claimants.is_empty() { 0 } else { owners.len() };
        while free > 0 {
            for claimant in &mut claimants {
                let claims = claimant.turns.min(free);
                for _ in 0..claims {
                    claimant.claim(&mut owners);
                }
                free -= claims;
            }
        }
        Ok(Self { owners, size })
    }

    /// Whether `Ring::of(new, size)` would make the same ring. This ring must be that of `old`.
    pub(crate) fn serves(&self, old: &[Dest], new: &[Dest], size: MhSize) -> bool {
        let seen = |dest: &Dest| (dest.addr, dest.port, dest.last_weight);
        self.size == size && old.iter().map(seen).eq(new.iter().map(seen))
    }

    /// The owner of the client's slot, if it is available. Otherwise, with [`Flags::FALLBACK`], the
    /// owner of another slot that is.
    pub(crate) fn pick(&self, plan: &Plan, loads: &impl Loads, key: &Key) -> Option<DestId> {
        let port = if plan.flags().contains(Flags::PORT) { key.hashed_port() } else { 0 };
        let client = hash::fold(key.client).wrapping_add(u32::from(port));
        let home = slot(client, self.size.slots);
        let owner = self.owner(plan, home)?;
        if available(owner, loads) {
            return Some(owner.id);
        }
        // Where all are unavailable, Linux hashes once for each slot to find that out.
        if !plan.flags().contains(Flags::FALLBACK) || !plan.dests().iter().any(|d| available(d, loads)) {
            return None;
        }
        let offsets = (home..self.size.slots).chain(0..home);
        let slots = offsets.map(|offset| slot(client.wrapping_add(offset), self.size.slots));
        let mut owners = slots.map_while(|slot| self.owner(plan, slot));
        owners.find(|dest| available(dest, loads)).map(|dest| dest.id)
    }

    fn owner<'a>(&self, plan: &'a Plan, slot: u32) -> Option<&'a Dest> {
        plan.dests().get(usize::from(*self.owners.get(slot as usize)?))
    }
}

/// A destination while a ring is filled.
struct Claimant {
    position: u16,
    /// How many slots it claims in a turn.
    turns: usize,
    /// The slot that comes next in its own order.
    at: usize,
    skip: usize,
}

impl Claimant {
    /// Those of `dests` that ever had a weight above 0.
    fn all(dests: &[Dest], size: MhSize) -> Vec<Self> {
        let weights = || dests.iter().map(|dest| dest.last_weight.unsigned_abs());
        let divisor = weights().fold(0, gcd).max(1);
        let heaviest = weights().max().unwrap_or(0) / divisor;
        let shift = (u32::BITS - heaviest.leading_zeros()).saturating_sub(size.index / 2);
        let weighted = dests.iter().enumerate().zip(weights()).filter(|(_, weight)| *weight > 0);
        let claimant = |((position, dest), weight): ((usize, &Dest), u32)| {
            let server = hash::fold(dest.addr).wrapping_add(u32::from(dest.port));
            Self {
                position: position as u16,
                turns: ((weight / divisor) >> shift).max(1) as usize,
                at: slot(server, size.slots) as usize,
                skip: (siphash13(SECOND, server) % (size.slots - 1) + 1) as usize,
            }
        };
        weighted.map(claimant).collect()
    }

    /// Takes the next free slot in its order. At least one slot must be free.
    fn claim(&mut self, owners: &mut [u16]) {
        let len = owners.len();
        loop {
            match owners.get_mut(self.at) {
                Some(owner) if *owner != NOBODY => {
                    self.at += self.skip;
                    if self.at >= len {
                        self.at -= len;
                    }
                }
                Some(owner) => {
                    *owner = self.position;
                    return;
                }
                None => return,
            }
        }
    }
}

const fn slot(word: u32, slots: u32) -> u32 {
    siphash13(FIRST, word) % slots
}

/// The owner of a free slot: a position beyond the end of every list.
const NOBODY: u16 = u16::MAX;
/// The key of the hash that places clients, and starts servers' orders.
const FIRST: u64 = 2_654_435_761;
/// The key of the hash that spaces servers' orders.
const SECOND: u64 = 2_654_446_892;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::testing;
    use crate::testing::Farm;

    fn farm(port: u16, dests: &[(u32, i32)], flags: Flags) -> Farm {
        let mut farm = Farm::new(Kind::Mh);
        farm.port(port).flags(flags);
        for &(id, weight) in dests.iter().rev() {
            farm.add(id, weight);
        }
        farm
    }

    #[test]
    fn known_table() {
        let farm = farm(80, &[(13, 1), (12, 1), (11, 1)], Flags::NONE);
        let claimants = Claimant::all(&farm.list, MhSize::default());
        let orders: Vec<(usize, usize)> = claimants.iter().map(|c| (c.at, c.skip)).collect();
        assert_eq!(orders, [(313, 542), (384, 189), (3365, 2499)]);
        let ring = Ring::of(&farm.list, MhSize::default()).unwrap();
        let start =
            [0, 1, 1, 2, 0, 2, 2, 1, 2, 1, 1, 2, 1, 2, 0, 0, 0, 0, 1, 1, 0, 0, 2, 0, 2, 1, 1, 2, 2, 0, 1, 1];
        assert_eq!(ring.owners[..32], start);
        let totals = [0, 1, 2].map(|at| ring.owners.iter().filter(|&&owner| owner == at).count());
        assert_eq!(totals, [1365, 1364, 1364]);
        assert_eq!(slot(0x0A00_0002, 4093), 1884);
        assert_eq!(slot(0xC0A8_0101, 4093), 2456);
    }

    // The server ports are those of the Linux runs from which these choices were taken.

    #[test]
    fn mh1_to_mh3_quiescing_moves_nobody_and_weights_move_some() {
        let mut farm = farm(8004, &[(13, 1), (12, 1), (11, 1)], Flags::NONE);
        assert_eq!(farm.clients(), "11 13 11 12 11 11 11 11 11 12 11 11 11 12 11 11 13 12 12");
        farm.weigh(12, 0);
        assert_eq!(farm.clients(), "11 13 11 - 11 11 11 11 11 - 11 11 11 - 11 11 13 - -");
        farm.weigh(12, 5);
        assert_eq!(farm.clients(), "12 12 12 12 12 12 12 11 12 12 11 11 12 12 12 11 13 12 12");
    }

    #[test]
    fn mh4_fallback_finds_another() {
        let mut farm = farm(8005, &[(13, 30), (12, 20), (11, 10)], Flags::FALLBACK);
        farm.weigh(12, 0);
        assert_eq!(farm.clients(), "13 13 13 13 13 13 13 13 11 11 13 13 13 11 13 13 11 13 11");
        farm.weigh(11, 0).weigh(13, 0);
        assert_eq!(farm.clients(), ["-"; 19].join(" "));
    }

    #[test]
    fn mh5_ports_are_hashed_on_request() {
        let mut farm = farm(8006, &[(13, 3), (12, 1), (11, 2)], Flags::PORT);
        assert_eq!(farm.clients(), "13 11 13 13 12 12 11 11 11 13 13 13 13 11 13 13 11 11 13");
    }

    #[test]
    fn mh6_great_weights_are_scaled_down() {
        let mut farm = farm(8007, &[(13, 300), (12, 1), (11, 1000)], Flags::NONE);
        assert_eq!(farm.clients(), "11 11 13 11 11 13 13 11 11 13 11 11 11 13 11 11 11 11 11");
    }

    #[test]
    fn a_server_that_never_had_weight_gets_no_slot() {
        let mut farm = farm(80, &[(12, 0), (11, 1)], Flags::NONE);
        assert_eq!(farm.clients(), ["11"; 19].join(" "));
        farm.weigh(11, 0);
        assert_eq!(farm.clients(), ["-"; 19].join(" "));
        farm.delete(11);
        assert_eq!(farm.clients(), ["-"; 19].join(" "));
        farm.delete(12);
        assert_eq!(farm.clients(), ["-"; 19].join(" "));
    }

    #[test]
    fn every_size_fills_and_no_more_servers_fit_than_slots() {
        for index in 8..=17 {
            let size = MhSize::from_index(index).unwrap();
            let dests: Vec<Dest> = (0..5).map(|id| testing::dest(id, 1 + id as i32)).collect();
            let ring = Ring::of(&dests, size).unwrap();
            assert!(ring.owners.iter().all(|&owner| owner < 5));
        }
        let size = MhSize::from_index(8).unwrap();
        let mut dests: Vec<Dest> = (0..251).map(|id| testing::dest(id, 1)).collect();
        assert!(Ring::of(&dests, size).is_ok());
        dests.push(testing::dest(251, 1));
        assert_eq!(Ring::of(&dests, size).unwrap_err(), PlanError::TooMany { limit: 251 });
        assert_eq!(MhSize::from_index(7), None);
        assert_eq!(MhSize::from_index(18), None);
    }
}
