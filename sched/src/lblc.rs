//! `lblc`: each destination address keeps its server while the server is not too busy. A new
//! address gets its server by `wlc`.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_lblc.c: ip_vs_lblc_schedule, __ip_vs_lblc_schedule,
//! is_overloaded`.

use crate::Dest;
use crate::DestId;
use crate::Key;
use crate::Loads;
use crate::Plan;
use crate::board::Board;
use crate::cache::Cache;
use crate::measure::Measure;
use crate::measure::Score;
use crate::server::Server;
use crate::wlc::Wlc;

/// One worker's memory: the standing of all servers, and the server of each address.
#[derive(Debug)]
pub(crate) struct Locality {
    pub(crate) board: Board,
    pub(crate) cache: Cache<Server>,
}

impl Locality {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { board: Board::new(plan), cache: Cache::new() }
    }

    /// The server that the address has already. Otherwise the best server, which gets the address.
    pub(crate) fn pick(&mut self, plan: &Plan, loads: &impl Loads, key: &Key, now: u64) -> Option<DestId> {
        let cached = self.cache.find(key.target, now);
        // A server that has reached its connection threshold keeps its addresses: Linux does not
        // check.
        if let Some(dest) = cached.as_ref().and_then(|server| server.find(plan))
            && dest.weight > 0
            && !busy(&mut self.board, plan, loads, dest)
        {
            return Some(dest.id);
        }
        let dest = plan.dests().get(self.board.best::<Local>(plan, loads)?)?;
        match cached {
            Some(server) => *server = Server::of(dest),
            // Without room, the choice is not remembered.
            None => drop(self.cache.insert(key.target, now, Server::of(dest))),
        }
        Some(dest.id)
    }
}

/// Like [`Wlc`]; it also tells which servers use less than half their weight.
pub(crate) struct Local;

impl Measure for Local {
    fn score<L: Loads>(survey: u64, dest: &Dest, loads: &L) -> Score {
        Wlc::score(survey, dest, loads)
            .with_spare(u64::from(loads.active(dest.id)) * 2 < u64::from(dest.share()))
    }
}

/// Whether `dest` has more active connections than weight, while another is less than half full.
pub(crate) fn busy(board: &mut Board, plan: &Plan, loads: &impl Loads, dest: &Dest) -> bool {
    loads.active(dest.id) > dest.share() && board.any_spare::<Local>(plan, loads)
}

#[cfg(test)]
mod tests {
    use crate::Kind;
    use crate::testing::Farm;

    #[test]
    fn lblc1_targets_keep_their_server() {
        let mut farm = Farm::new(Kind::Lblc);
        farm.add(24, 1).add(25, 2);
        assert_eq!(farm.targets(&[1, 2, 1, 1, 1, 1, 2, 3, 2, 2, 2]), "25 24 25 25 25 25 24 24 24 24 24");
    }

    #[test]
    fn lblc2_a_busy_server_is_left_while_another_is_half_free() {
        let mut farm = Farm::new(Kind::Lblc);
        farm.add(28, 3).add(29, 6);
        assert_eq!(farm.targets(&[1; 14]), "29 29 29 29 29 29 29 28 28 28 28 28 28 28");
    }

    #[test]
    fn a_busy_server_among_many_is_left_only_while_another_is_half_free() {
        let mut farm = Farm::new(Kind::Lblc);
        for id in 0..20 {
            farm.add(id, 3).load(id, 2, 0);
        }
        assert_eq!(farm.targets(&[1]), "19");
        farm.load(19, 4, 0);
        assert_eq!(farm.targets(&[1]), "19");
        farm.load(7, 1, 9);
        assert_eq!(farm.targets(&[1]), "7");
        farm.load(7, 4, 0);
        assert_eq!(farm.targets(&[1]), "7");
    }

    #[test]
    fn an_overloaded_server_keeps_its_targets_but_a_quiesced_or_deleted_one_loses_them() {
        let mut farm = Farm::new(Kind::Lblc);
        farm.add(11, 10).add(12, 20).limit(12, 1);
        assert_eq!(farm.targets(&[1, 1, 2]), "12 12 11");
        farm.weigh(12, 0);
        assert_eq!(farm.targets(&[1]), "11");
        farm.weigh(12, 20).delete(11);
        farm.limit(12, 0);
        assert_eq!(farm.targets(&[1, 2]), "12 12");
    }

    #[test]
    fn a_slot_used_again_is_another_server() {
        let mut farm = Farm::new(Kind::Lblc);
        farm.add(11, 1).add(12, 2);
        assert_eq!(farm.targets(&[1]), "12");
        farm.delete(12).net = [10, 0, 2];
        farm.add(12, 2).load(12, 100, 0);
        assert_eq!(farm.targets(&[1]), "11");
    }
}
