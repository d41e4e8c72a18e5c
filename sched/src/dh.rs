//! `dh`: the destination address decides.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_dh.c: ip_vs_dh_schedule, ip_vs_dh_reassign`. Its table gives
//! 256 buckets to the `n` destinations in turn, whatever their weight. So bucket `i` belongs to the
//! destination at position `i mod n`.

use crate::DestId;
use crate::Key;
use crate::Loads;
use crate::Plan;
use crate::hash;
use crate::measure::available;

/// The owner of the bucket of the packet's destination address, if it is available.
pub(crate) fn pick(plan: &Plan, loads: &impl Loads, key: &Key) -> Option<DestId> {
    let bucket = usize::from(hash::bucket(hash::fold(key.target)));
    let owner = plan.dests().get(bucket.checked_rem(plan.dests().len())?)?;
    available(owner, loads).then_some(owner.id)
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing;
    use crate::testing::Farm;

    fn picks(farm: &mut Farm) -> String {
        let picks: Vec<String> = (1..=12).map(|d| testing::show(farm.pick(&testing::key(2, d)))).collect();
        picks.join(" ")
    }

    #[test]
    fn dh1_each_target_keeps_its_owner() {
        let mut farm = Farm::new(Kind::Dh);
        assert_eq!(picks(&mut farm), "- - - - - - - - - - - -");
        farm.add(21, 1).add(22, 1).add(23, 1);
        assert_eq!(picks(&mut farm), "21 23 22 21 22 23 23 21 22 21 22 22");
    }

    #[test]
    fn a_target_whose_owner_is_unavailable_gets_no_server() {
        let mut farm = Farm::new(Kind::Dh);
        farm.add(21, 1).add(22, 7).add(23, 1).weigh(22, 0).limit(23, 1).load(23, 0, 1);
        assert_eq!(picks(&mut farm), "21 - - 21 - - - 21 - 21 - -");
    }
}
