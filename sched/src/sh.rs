//! `sh`: the source address decides.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_sh.c: ip_vs_sh_schedule, ip_vs_sh_reassign, ip_vs_sh_get,
//! ip_vs_sh_get_fallback`.

use crate::Dest;
use crate::DestId;
use crate::Flags;
use crate::Key;
use crate::Loads;
use crate::Plan;
use crate::hash;
use crate::measure::available;

/// The owners of the 256 buckets, as list positions. In a longer list only the first 256
/// destinations own buckets.
#[derive(Debug)]
pub(crate) struct Ring([u8; BUCKETS]);

impl Ring {
    /// Goes round the list and gives each destination as many buckets in a row as its weight, at
    /// least one, until all buckets have an owner.
    pub(crate) fn of(dests: &[Dest]) -> Self {
        let runs = dests.iter().take(BUCKETS).enumerate();
        let mut owners = runs.cycle().flat_map(|(at, dest)| {
            let run = (dest.share() as usize).clamp(1, BUCKETS);
            core::iter::repeat_n(at as u8, run)
        });
        Self(core::array::from_fn(|_| owners.next().unwrap_or(0)))
    }

    /// Whether both lists have the same ring.
    pub(crate) fn same(one: &[Dest], other: &[Dest]) -> bool {
        one.iter().map(Dest::share).eq(other.iter().map(Dest::share))
    }

    /// The owner of the client's bucket, if it is available. Otherwise, with [`Flags::FALLBACK`],
    /// the first available owner in Linux's order of the other buckets.
    pub(crate) fn pick(&self, plan: &Plan, loads: &impl Loads, key: &Key) -> Option<DestId> {
        let port = if plan.flags().contains(Flags::PORT) { key.hashed_port() } else { 0 };
        let home = hash::bucket(hash::fold(key.client).wrapping_add(u32::from(port)));
        let owner = self.owner(plan, home)?;
        if available(owner, loads) {
            return Some(owner.id);
        }
        if !plan.flags().contains(Flags::FALLBACK) {
            return None;
        }
        // Linux adds the home bucket to the offset twice.
        let buckets = (0..=u8::MAX).map(|offset| home.wrapping_add(home).wrapping_add(offset));
        let mut owners = buckets.filter_map(|bucket| self.owner(plan, bucket));
        owners.find(|dest| available(dest, loads)).map(|dest| dest.id)
    }

    fn owner<'a>(&self, plan: &'a Plan, bucket: u8) -> Option<&'a Dest> {
        plan.dests().get(usize::from(*self.0.get(usize::from(bucket))?))
    }
}

const BUCKETS: usize = 256;

#[cfg(test)]
mod tests {
    use crate::Flags;
    use crate::Kind;
    use crate::testing;
    use crate::testing::Farm;

    fn farm(dests: &[(u32, i32)], flags: Flags) -> Farm {
        let mut farm = Farm::new(Kind::Sh);
        farm.flags(flags);
        for &(id, weight) in dests.iter().rev() {
            farm.add(id, weight);
        }
        farm
    }

    #[test]
    fn sh1_clients_keep_their_server() {
        let mut farm = farm(&[(13, 1), (12, 1), (11, 1)], Flags::NONE);
        assert_eq!(farm.clients(), "11 12 11 13 12 13 11 13 12 13 12 13 12 13 12 13 12 11 12");
    }

    #[test]
    fn sh2_clients_of_a_quiesced_server_have_none() {
        let mut farm = farm(&[(13, 1), (12, 0), (11, 1)], Flags::NONE);
        assert_eq!(farm.clients(), "11 - 11 13 - 13 11 13 - 13 - 13 - 13 - 13 - 11 -");
    }

    #[test]
    fn sh3_weights_are_runs_of_buckets() {
        let mut farm = farm(&[(13, 1), (12, 5), (11, 1)], Flags::NONE);
        assert_eq!(farm.clients(), "12 12 13 11 12 12 12 12 12 12 13 13 12 12 11 12 12 11 12");
    }

    #[test]
    fn sh4_fallback_finds_another() {
        let mut farm = farm(&[(13, 1), (12, 0), (11, 1)], Flags::FALLBACK);
        assert_eq!(farm.clients(), "11 11 11 13 11 13 11 13 11 13 11 13 11 13 11 13 11 11 11");
        farm.weigh(11, 0).weigh(13, 0);
        assert_eq!(farm.clients(), ["-"; 19].join(" "));
    }

    #[test]
    fn sh5_ports_are_hashed_on_request() {
        let mut farm = farm(&[(13, 3), (12, 1), (11, 2)], Flags::PORT);
        assert_eq!(farm.clients(), "12 12 13 13 11 11 11 13 13 13 13 11 11 13 13 13 12 13 11");
    }

    #[test]
    fn ports_of_protocols_without_any_are_not_hashed() {
        let mut with = farm(&[(13, 3), (12, 1), (11, 2)], Flags::PORT);
        let mut without = farm(&[(13, 3), (12, 1), (11, 2)], Flags::NONE);
        for client in 0..=255 {
            let key = crate::Key { protocol: 47, ..testing::key(client, 1) };
            assert_eq!(with.pick(&key), without.pick(&key));
        }
    }

    #[test]
    fn weights_beyond_the_ring_starve_the_others() {
        let mut farm = farm(&[(13, i32::MAX), (12, 1)], Flags::NONE);
        assert_eq!(farm.clients(), ["13"; 19].join(" "));
    }

    #[test]
    fn no_servers_no_choice() {
        assert_eq!(farm(&[], Flags::FALLBACK).clients(), ["-"; 19].join(" "));
    }
}
