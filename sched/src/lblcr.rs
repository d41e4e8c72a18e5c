//! `lblcr`: like `lblc`, but an address whose servers are busy gets one more server.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_lblcr.c: ip_vs_lblcr_schedule, ip_vs_dest_set_min,
//! ip_vs_dest_set_max, ip_vs_dest_set_insert, ip_vs_dest_set_erase`.

use crate::Dest;
use crate::DestId;
use crate::Key;
use crate::Loads;
use crate::Plan;
use crate::board::Board;
use crate::cache::Cache;
use crate::lblc::Local;
use crate::lblc::busy;
use crate::measure::Measure;
use crate::measure::Score;
use crate::members::Members;
use crate::members::Set;
use crate::server::Server;
use crate::wlc::Wlc;

/// One worker's memory: the standing of all servers, and the servers of each address.
#[derive(Debug)]
pub(crate) struct Replication {
    pub(crate) board: Board,
    pub(crate) cache: Cache<Set>,
    pub(crate) members: Members,
}

impl Replication {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { board: Board::new(plan), cache: Cache::new(), members: Members::new() }
    }

    /// The best of the servers that the address has already. If there is none, or the best one is
    /// busy: the best server of all, which joins them.
    pub(crate) fn pick(
        &mut self,
        plan: &Plan,
        loads: &impl Loads,
        key: &Key,
        now: u64,
        expiration: u64,
    ) -> Option<DestId> {
        let Self { board, cache, members } = self;
        if let Some(set) = cache.find(key.target, now) {
            let least = least(members.of(set), plan, loads);
            if set.len() > 1
                && now > set.modified().saturating_add(expiration)
                && let Some(most) = most(members.of(set), plan, loads)
            {
                members.remove(set, most, now);
            }
            if let Some(dest) = least
                && !busy(board, plan, loads, dest)
            {
                return Some(dest.id);
            }
            let dest = plan.dests().get(board.best::<Local>(plan, loads)?)?;
            members.insert(set, Server::of(dest), plan, now);
            return Some(dest.id);
        }
        let dest = plan.dests().get(board.best::<Local>(plan, loads)?)?;
        let mut set = Set::new(now);
        members.insert(&mut set, Server::of(dest), plan, now);
        if set.len() > 0
            && let Err(set) = cache.insert(key.target, now, set)
        {
            members.release(set);
        }
        Some(dest.id)
    }

    pub(crate) fn tick(&mut self, now: u64, expiration: u64) {
        let Self { cache, members, .. } = self;
        cache.tick(now, expiration, |set| members.release(set));
    }
}

/// The server with the least load for its weight, of those that can be chosen.
fn least<'a>(servers: impl Iterator<Item = Server>, plan: &'a Plan, loads: &impl Loads) -> Option<&'a Dest> {
    let mut least = (None, Score::NEVER);
    for dest in servers.filter_map(|server| server.find(plan)) {
        let score = Wlc::score(0, dest, loads);
        if score.beats(&least.1) {
            least = (Some(dest), score);
        }
    }
    least.0
}

/// The server with the most load for its weight, of those that have a weight above 0.
fn most(servers: impl Iterator<Item = Server>, plan: &Plan, loads: &impl Loads) -> Option<Server> {
    let mut most: Option<(Server, Score)> = None;
    let found = servers.filter_map(|server| Some((server, server.find(plan)?)));
    for (server, dest) in found.filter(|(_, dest)| dest.weight > 0) {
        let score = Score::new(loads.overhead(dest.id), dest.share());
        if most.as_ref().is_none_or(|(_, worst)| worst.beats(&score)) {
            most = Some((server, score));
        }
    }
    Some(most?.0)
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    const DAY: u64 = 86_400_000;

    #[test]
    fn lblcr1_targets_keep_their_server() {
        let mut farm = Farm::new(Kind::Lblcr);
        farm.add(26, 1).add(27, 2);
        assert_eq!(farm.targets(&[1, 2, 1, 1, 1, 1, 2, 3, 2, 2, 2]), "27 26 27 27 27 27 26 26 26 26 26");
    }

    #[test]
    fn lblcr2_a_busy_target_gets_another_server() {
        let mut farm = Farm::new(Kind::Lblcr);
        farm.add(30, 3).add(31, 6);
        assert_eq!(farm.targets(&[1; 14]), "31 31 31 31 31 31 31 30 30 30 30 31 30 31");
    }

    #[test]
    fn the_most_loaded_server_leaves_a_set_unchanged_for_a_day() {
        let mut farm = Farm::new(Kind::Lblcr);
        farm.add(30, 3).add(31, 6);
        farm.targets(&[1; 8]);
        farm.load(30, 0, 0).load(31, 1, 0).now = DAY;
        assert_eq!(farm.targets(&[1]), "30", "not before the day is over");
        farm.load(30, 0, 1).load(31, 0, 0).now = DAY + 1;
        assert_eq!(farm.targets(&[1]), "31", "30 is the most loaded and leaves");
        farm.load(30, 0, 0).load(31, 2, 0);
        assert_eq!(farm.targets(&[1]), "31");
    }

    #[test]
    fn of_equally_loaded_servers_the_last_to_join_leaves() {
        let mut farm = Farm::new(Kind::Lblcr);
        farm.add(30, 3).add(31, 6);
        farm.targets(&[1; 8]);
        farm.load(30, 0, 0).load(31, 0, 0).now = DAY + 1;
        assert_eq!(farm.targets(&[1]), "30", "chosen before it leaves");
        farm.load(30, 0, 0).load(31, 5, 0);
        assert_eq!(farm.targets(&[1]), "31");
    }

    #[test]
    fn a_server_that_comes_back_gets_its_addresses_back() {
        let mut farm = Farm::new(Kind::Lblcr);
        farm.add(30, 3).add(31, 6);
        assert_eq!(farm.targets(&[1]), "31");
        farm.delete(31);
        assert_eq!(farm.targets(&[1]), "30");
        farm.add(31, 6);
        assert_eq!(farm.targets(&[1]), "31");
    }

    #[test]
    fn servers_quiesced_overloaded_or_gone_are_not_chosen() {
        let mut farm = Farm::new(Kind::Lblcr);
        farm.add(30, 3).add(31, 6).limit(31, 1);
        assert_eq!(farm.targets(&[1, 1]), "31 30");
        farm.weigh(30, 0);
        assert_eq!(farm.targets(&[1]), "-");
        farm.limit(31, 0).delete(30);
        assert_eq!(farm.targets(&[1]), "31");
        farm.delete(31).add(32, 1);
        assert_eq!(farm.targets(&[1, 2]), "32 32");
    }
}
