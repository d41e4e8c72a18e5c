//! The half of a scheduler that belongs to one worker.

use alloc::boxed::Box;
use core::mem;

use crate::Ctx;
use crate::DestId;
use crate::Edit;
use crate::Key;
use crate::Kind;
use crate::Loads;
use crate::Plan;
use crate::Room;
use crate::Stagger;
use crate::board::Board;
use crate::fo::Fo;
use crate::lblc::Locality;
use crate::lblcr::Replication;
use crate::lc::Lc;
use crate::lt::Lt;
use crate::lt::Wlt;
use crate::nq::Nq;
use crate::ovf::Ovf;
use crate::rr::Turn;
use crate::sed::Sed;
use crate::twos::Lottery;
use crate::wlc::Wlc;
use crate::wrr::Round;
use crate::wrt::Timed;

/// The half of a scheduler that belongs to one worker: what it remembers between choices.
///
/// Control makes and drops it; one worker uses it.
#[derive(Debug)]
pub struct State {
    kind: Kind,
    memory: Memory,
}

/// What a scheduler remembers, by family of schedulers.
#[derive(Debug)]
enum Memory {
    Nothing,
    Turn(Turn),
    Round(Round),
    Board(Board),
    Timed(Timed),
    Lottery(Lottery),
    Locality(Box<Locality>),
    Replication(Box<Replication>),
}

/// Calls a method of the board with the measure of the kind. It is for kinds that remember nothing
/// but the board.
macro_rules! measured {
    ($kind:expr, $board:ident.$method:ident($($argument:expr),*), $otherwise:expr) => {
        match $kind {
            Kind::Lc => $board.$method::<Lc>($($argument),*),
            Kind::Wlc => $board.$method::<Wlc>($($argument),*),
            Kind::Sed => $board.$method::<Sed>($($argument),*),
            Kind::Nq => $board.$method::<Nq>($($argument),*),
            Kind::Fo => $board.$method::<Fo>($($argument),*),
            Kind::Ovf => $board.$method::<Ovf>($($argument),*),
            Kind::Lt => $board.$method::<Lt>($($argument),*),
            Kind::Wlt => $board.$method::<Wlt>($($argument),*),
            _ => $otherwise,
        }
    };
}

impl State {
    /// The state of a service that has just got its scheduler, with room for the plan to grow.
    ///
    /// Linux: the `init_service` hooks of `struct ip_vs_scheduler`.
    pub fn new(plan: &Plan, stagger: Stagger) -> Self {
        let memory = match plan.kind() {
            Kind::Rr => Memory::Turn(Turn::new(plan, stagger)),
            Kind::Wrr => Memory::Round(Round::new(plan, stagger)),
            Kind::Lc | Kind::Wlc | Kind::Sed | Kind::Nq | Kind::Fo | Kind::Ovf => {
                Memory::Board(Board::new(plan))
            }
            Kind::Lt | Kind::Wlt => Memory::Board(Board::new(plan)),
            Kind::Wrt => Memory::Timed(Timed::new(plan)),
            Kind::Lblc => Memory::Locality(Box::new(Locality::new(plan))),
            Kind::Lblcr => Memory::Replication(Box::new(Replication::new(plan))),
            Kind::Twos => Memory::Lottery(Lottery::new(plan)),
            Kind::None | Kind::Dh | Kind::Sh | Kind::Mh => Memory::Nothing,
        };
        Self { kind: plan.kind(), memory }
    }

    /// The destination of a new connection, if there is any.
    ///
    /// Linux: the `schedule` hooks of `struct ip_vs_scheduler`. As in Linux, the caller counts the
    /// connection after the choice.
    pub fn pick<L: Loads>(&mut self, plan: &Plan, loads: &L, key: &Key, ctx: &mut Ctx<'_>) -> Option<DestId> {
        match &mut self.memory {
            Memory::Nothing => plan.look_up(loads, key),
            Memory::Turn(turn) => turn.pick(plan, loads),
            Memory::Round(round) => round.pick(plan, loads),
            Memory::Board(board) => {
                let position = measured!(self.kind, board.best(plan, loads), None);
                Some(plan.dests().get(position?)?.id)
            }
            Memory::Timed(timed) => timed.pick(plan, loads, ctx.now),
            Memory::Lottery(lottery) => lottery.pick(plan, loads, ctx.random),
            Memory::Locality(locality) => locality.pick(plan, loads, key, ctx.now),
            Memory::Replication(replication) => {
                replication.pick(plan, loads, key, ctx.now, ctx.tuning.lblcr_expiration)
            }
        }
    }

    /// Notes that a number of [`Loads`] has changed for `dest`.
    ///
    /// Call it after every such change: choices among many destinations rely on it.
    pub fn load_changed<L: Loads>(&mut self, plan: &Plan, dest: DestId, loads: &L) {
        match &mut self.memory {
            Memory::Board(board) => board.load_changed(plan, dest),
            Memory::Timed(timed) => timed.board.load_changed(plan, dest),
            Memory::Lottery(lottery) => lottery.load_changed(plan, dest, loads),
            Memory::Locality(locality) => locality.board.load_changed(plan, dest),
            Memory::Replication(replication) => replication.board.load_changed(plan, dest),
            // Must agree with `Kind::remembers_loads`.
            Memory::Nothing | Memory::Turn(_) | Memory::Round(_) => {}
        }
    }

    /// Notes that any number of [`Loads`] may have changed for any destination: after an estimator
    /// tick, or when the counts of other workers were added.
    ///
    /// The next choice looks at every destination once. If only a few changed,
    /// [`State::load_changed`] for each of them is cheaper.
    pub fn loads_changed(&mut self) {
        match &mut self.memory {
            Memory::Board(board) => board.invalidate(),
            Memory::Timed(timed) => timed.board.invalidate(),
            Memory::Lottery(lottery) => lottery.invalidate(),
            Memory::Locality(locality) => locality.board.invalidate(),
            Memory::Replication(replication) => replication.board.invalidate(),
            Memory::Nothing | Memory::Turn(_) | Memory::Round(_) => {}
        }
    }

    /// Does a small part of the housekeeping, if it is due. Call it about once in 100 ms.
    ///
    /// Linux: `net/netfilter/ipvs/ip_vs_lblc.c: ip_vs_lblc_check_expire`, and that of
    /// `ip_vs_lblcr.c`.
    pub fn tick(&mut self, ctx: &Ctx<'_>) {
        match &mut self.memory {
            Memory::Locality(locality) => {
                locality.cache.tick(ctx.now, ctx.tuning.lblc_expiration, drop);
            }
            Memory::Replication(replication) => {
                replication.tick(ctx.now, ctx.tuning.lblcr_expiration);
            }
            _ => {}
        }
    }

    /// Follows one edit. Every edit must be replayed, in order.
    pub fn replay(&mut self, edit: &Edit) {
        match &mut self.memory {
            Memory::Turn(turn) => turn.replay(edit),
            Memory::Round(round) => round.replay(edit),
            _ => {}
        }
    }

    /// Changes over to a new plan. Replay all edits that led to the plan first.
    pub fn rebase(&mut self, plan: &Plan) {
        match &mut self.memory {
            Memory::Turn(turn) => turn.rebase(plan),
            Memory::Round(round) => round.rebase(plan),
            _ => self.loads_changed(),
        }
    }

    /// Takes over what `old`, a smaller state of the same service and scheduler, remembers.
    ///
    /// After that, `old` is only good for control to drop. Replay and rebase follow.
    pub fn adopt(&mut self, old: &mut Self) {
        match (&mut self.memory, &mut old.memory) {
            (Memory::Turn(new), Memory::Turn(old)) => mem::swap(new, old),
            (Memory::Round(new), Memory::Round(old)) => mem::swap(new, old),
            (Memory::Locality(new), Memory::Locality(old)) => mem::swap(&mut new.cache, &mut old.cache),
            (Memory::Replication(new), Memory::Replication(old)) => {
                mem::swap(&mut new.cache, &mut old.cache);
                mem::swap(&mut new.members, &mut old.members);
            }
            _ => {}
        }
    }

    /// Whether `plan` fits; if not, control makes a new state.
    pub fn room_for(&self, plan: &Plan) -> bool {
        self.room().holds(plan)
    }

    /// How big a plan fits.
    pub fn room(&self) -> Room {
        let dests = match &self.memory {
            Memory::Board(board) => board.room(),
            Memory::Timed(timed) => timed.board.room(),
            Memory::Lottery(lottery) => lottery.room(),
            Memory::Locality(locality) => locality.board.room(),
            Memory::Replication(replication) => replication.board.room(),
            Memory::Nothing | Memory::Turn(_) | Memory::Round(_) => usize::MAX,
        };
        Room::new(self.kind, dests)
    }
}
