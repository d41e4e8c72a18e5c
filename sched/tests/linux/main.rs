//! Every scheduler against a plain, slow model of Linux's, under random histories.
//!
//! The model keeps one list and walks it for every choice, as the kernel does. The lists grow
//! beyond the size at which the crate keeps trees and no longer walks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod history;
mod model;

use std::net::IpAddr;

use proptest::prelude::*;
use sched::Ctx;
use sched::DestId;
use sched::Edit;
use sched::Flags;
use sched::Key;
use sched::Kind;
use sched::Loads;
use sched::Plan;
use sched::Stagger;
use sched::State;
use sched::Tuning;
use sched::XorShift;

use history::Farm;
use history::Op;
use history::ops;
use model::Model;

const TUNING: Tuning = Tuning { lblc_expiration: 3_600_000, lblcr_expiration: 1_000 };

/// One worker: a state, its present plan, and the edits that it has not seen yet.
struct Worker {
    plan: Plan,
    state: State,
    stagger: Stagger,
    unseen: Vec<Edit>,
    random: XorShift,
}

impl Worker {
    fn new(kind: Kind, flags: Flags, stagger: Stagger) -> Self {
        let plan = Plan::build(kind, flags, Vec::new()).unwrap();
        let state = State::new(&plan, stagger);
        Self { plan, state, stagger, unseen: Vec::new(), random: XorShift::new(9) }
    }

    fn catch_up(&mut self, farm: &Farm) {
        if self.unseen.is_empty() {
            return;
        }
        self.plan = Plan::build(self.plan.kind(), self.plan.flags(), farm.list.clone()).unwrap();
        if !self.state.room_for(&self.plan) {
            let mut old = std::mem::replace(&mut self.state, State::new(&self.plan, self.stagger));
            self.state.adopt(&mut old);
        }
        assert!(self.state.room_for(&self.plan));
        self.unseen.drain(..).for_each(|edit| self.state.replay(&edit));
        self.state.rebase(&self.plan);
    }

    fn pick(&mut self, farm: &Farm, key: &Key) -> Option<DestId> {
        let mut ctx = Ctx { now: farm.now, random: &mut self.random, tuning: TUNING };
        self.state.pick(&self.plan, farm, key, &mut ctx)
    }
}

/// Runs a history with two workers. One follows each edit at once; the other waits until the next
/// connection.
fn run(kind: Kind, flags: Flags, stagger: Stagger, history: &[Op]) {
    let mut farm = Farm::default();
    let mut prompt = Worker::new(kind, flags, stagger);
    let mut lazy = Worker::new(kind, flags, stagger);
    let mut model = (stagger == Stagger::ALONE).then(|| Model::new(kind, flags));
    for (step, op) in history.iter().enumerate() {
        if let Some(edit) = farm.edit(op) {
            prompt.unseen.push(edit);
            lazy.unseen.push(edit);
            prompt.catch_up(&farm);
            model.iter_mut().for_each(|model| model.edited(&edit, &farm));
        }
        if let Some(changed) = farm.change(op) {
            for worker in [&mut prompt, &mut lazy] {
                match changed {
                    Some(dest) => worker.state.load_changed(&worker.plan, dest, &farm),
                    None => worker.state.loads_changed(),
                }
            }
            if changed.is_none() {
                model.iter_mut().for_each(Model::loads_changed);
            }
        }
        for worker in [&mut prompt, &mut lazy] {
            let ctx = Ctx { now: farm.now, random: &mut worker.random, tuning: TUNING };
            worker.state.tick(&ctx);
        }
        let Op::Connect { client, target, active } = *op else { continue };
        let key = farm.key(client, target);
        lazy.catch_up(&farm);
        let picked = prompt.pick(&farm, &key);
        assert_eq!(picked, lazy.pick(&farm, &key), "{} {step}: {op:?}", kind.name());
        if let Some(model) = &mut model {
            assert_eq!(picked, model.pick(&farm, &key), "{} {step}: {op:?}", kind.name());
        }
        let Some(id) = picked else { continue };
        let dest = farm.list.iter().find(|dest| dest.id == id).unwrap();
        assert!(dest.weight > 0, "a quiesced destination was chosen");
        assert!(kind == Kind::Lblc || !farm.overloaded(id), "an overloaded destination was chosen");
        farm.connect(id, active);
        for worker in [&mut prompt, &mut lazy] {
            worker.state.load_changed(&worker.plan, id, &farm);
        }
    }
}

fn flags() -> impl Strategy<Value = Flags> {
    (0_u32..8).prop_map(|bits| Flags::from_bits(bits << 3))
}

macro_rules! agrees_with_linux {
    ($($name:ident: $kind:ident, $cases:literal;)*) => {
        $(
            proptest! {
                #![proptest_config(ProptestConfig::with_cases($cases))]
                #[test]
                fn $name(flags in flags(), history in ops()) {
                    run(Kind::$kind, flags, Stagger::ALONE, &history);
                }
            }
        )*
    };
}

agrees_with_linux! {
    none: None, 8;
    rr: Rr, 128;
    wrr: Wrr, 128;
    lc: Lc, 128;
    wlc: Wlc, 128;
    sed: Sed, 128;
    nq: Nq, 128;
    fo: Fo, 128;
    ovf: Ovf, 128;
    lblc: Lblc, 128;
    lblcr: Lblcr, 128;
    dh: Dh, 128;
    sh: Sh, 128;
    mh: Mh, 16;
    twos: Twos, 128;
    lt: Lt, 128;
    wlt: Wlt, 128;
    wrt: Wrt, 128;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn staggered_workers_choose_the_same_however_late_they_follow_edits(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        worker in 1_u32..4,
        history in ops(),
    ) {
        run(kind, Flags::NONE, Stagger::new(worker, 4), &history);
    }

    /// Uses plans and edits that do not fit together, in any order, with any weights.
    #[test]
    fn no_order_of_edits_panics(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        flags in flags(),
        lists in prop::collection::vec(prop::collection::vec(0_i32..=i32::MAX, 0..24), 1..8),
        edits in prop::collection::vec((0_u32..30, 0_u32..30, 0_usize..8, 0_i32..=i32::MAX), 0..40),
    ) {
        let plans: Vec<Plan> = lists
            .iter()
            .map(|weights| {
                let dests = (0..).zip(weights).map(|(id, &weight)| history::dest(id, weight)).collect();
                Plan::build(kind, flags, dests).unwrap()
            })
            .collect();
        let mut farm = Farm::default();
        let mut random = XorShift::new(5);
        let mut state = State::new(&plans[0], Stagger::ALONE);
        for (one, other, at, weight) in edits {
            let plan = &plans[at % plans.len()];
            let dest = history::dest(one, weight);
            state.replay(&match weight % 3 {
                0 => Edit::added(plan.dests(), &dest),
                1 => Edit::updated(plan.dests(), &dest),
                _ => Edit::deleted(plan.dests(), DestId::new(other)),
            });
            if weight % 2 == 0 {
                state.rebase(plan);
            }
            farm.connect(DestId::new(other), true);
            state.load_changed(plan, DestId::new(other), &farm);
            let mut ctx = Ctx { now: u64::from(one) * 1_000_000, random: &mut random, tuning: TUNING };
            state.tick(&ctx);
            let client: IpAddr = [10, 0, 0, one as u8].into();
            let key = Key { client, client_port: 7, target: client, protocol: 17 };
            let _ = state.pick(plan, &farm, &key, &mut ctx);
        }
    }
}
