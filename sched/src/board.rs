//! The standing of all destinations, for schedulers that look for the best.

use alloc::vec::Vec;

use crate::Dest;
use crate::DestId;
use crate::Loads;
use crate::Plan;
use crate::measure::Measure;
use crate::measure::Score;
use crate::tree::Tree;

/// The standing of all destinations, for schedulers that look for the best.
///
/// In a short list, each choice compares all scores. For a longer list the scores are kept in a
/// tournament tree: a choice reads the root, and a changed load replays one path to the root.
#[derive(Debug)]
pub(crate) struct Board {
    tree: Tree,
    survey: u64,
    /// The survey and all scores must be computed again before the next choice.
    stale: bool,
    /// All scores must be computed again, with the present survey. The survey itself changes only
    /// when the loads are measured.
    moved: bool,
    /// Destinations whose loads changed since the last choice. Their scores must be computed again.
    /// The list never grows beyond its capacity: with more changes, computing all scores is as
    /// cheap.
    changed: Vec<DestId>,
}

impl Board {
    pub(crate) fn new(plan: &Plan) -> Self {
        let room = room_wanted(plan.dests().len());
        let changed = Vec::with_capacity(room / CHANGED);
        Self { tree: Tree::with_room(room), survey: 0, stale: true, moved: false, changed }
    }

    /// The position of the best destination, the first in list order among equals.
    pub(crate) fn best<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) -> Option<usize> {
        self.catch_up::<M>(plan, loads);
        if self.scans(plan) { scan::<M>(self.survey, plan.dests(), loads) } else { self.tree.winner() }
    }

    /// Whether any destination has much to spare, by the measure.
    pub(crate) fn any_spare<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) -> bool {
        self.catch_up::<M>(plan, loads);
        if self.scans(plan) {
            plan.dests().iter().any(|dest| M::score(self.survey, dest, loads).spare())
        } else {
            self.tree.any_spare()
        }
    }

    /// Notes that the load of `dest` changed. The next choice computes its score again.
    pub(crate) fn load_changed(&mut self, plan: &Plan, dest: DestId) {
        // A new connection changes its destination's load twice in a row: when it is bound, and
        // when it becomes active.
        if self.stale || self.moved || self.changed.last() == Some(&dest) || self.scans(plan) {
            return;
        }
        if self.changed.len() < self.changed.capacity() {
            self.changed.push(dest);
        } else {
            self.moved = true;
        }
    }

    /// Brings all scores up to date.
    fn catch_up<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) {
        if self.stale {
            self.survey = M::survey(plan.dests(), loads);
        }
        if self.stale || self.moved {
            self.refresh::<M>(plan, loads);
        }
        while let Some(dest) = self.changed.pop() {
            self.take_anew::<M>(plan, dest, loads);
        }
    }

    fn take_anew<M: Measure>(&mut self, plan: &Plan, dest: DestId, loads: &impl Loads) {
        let position = plan.position(dest);
        if let Some((at, dest)) = position.and_then(|at| Some((at, plan.dests().get(at)?))) {
            self.tree.set(at, M::score(self.survey, dest, loads));
        }
    }

    /// Notes that any score may have changed.
    pub(crate) const fn invalidate(&mut self) {
        self.stale = true;
    }

    /// How many destinations there is room for.
    pub(crate) fn room(&self) -> usize {
        self.tree.room().max(FEW)
    }

    #[cold]
    fn refresh<M: Measure>(&mut self, plan: &Plan, loads: &impl Loads) {
        self.changed.clear();
        if !self.scans(plan) {
            self.tree.fill(plan.dests().iter().map(|dest| M::score(self.survey, dest, loads)));
        }
        (self.stale, self.moved) = (false, false);
    }

    /// Whether choices compare all destinations: the list is short, or the tree has no room for it.
    fn scans(&self, plan: &Plan) -> bool {
        let len = plan.dests().len();
        len <= FEW || len > self.tree.room()
    }
}

/// Linux's walk: the first eligible destination, then any strictly better one.
pub(crate) fn scan<M: Measure>(survey: u64, dests: &[Dest], loads: &impl Loads) -> Option<usize> {
    let mut best = (None, Score::NEVER);
    for (at, dest) in dests.iter().enumerate() {
        let score = M::score(survey, dest, loads);
        if score.beats(&best.1) {
            best = (Some(at), score);
        }
    }
    best.0
}

/// How many destinations to make room for when there are `len`.
pub(crate) const fn room_wanted(len: usize) -> usize {
    if len <= FEW { 0 } else { (len + len / 2).next_power_of_two() }
}

/// When more than one part in this many of the destinations have changed, all scores are
/// computed again.
const CHANGED: usize = 8;
/// Up to this many destinations, comparing all of them is cheaper than keeping a tree.
pub(crate) const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::Flags;
    use crate::Kind;
    use crate::fo::Fo;
    use crate::lblc::Local;
    use crate::lc::Lc;
    use crate::lt::Lt;
    use crate::lt::Wlt;
    use crate::nq::Nq;
    use crate::ovf::Ovf;
    use crate::sed::Sed;
    use crate::testing;
    use crate::testing::Load;
    use crate::testing::Table;
    use crate::wlc::Wlc;
    use crate::wrt::Wrt;

    /// What happens between two choices.
    #[derive(Clone, Debug)]
    enum Event {
        Loads(Vec<(Index, Load)>),
        List(Vec<i32>),
    }

    fn plan(weights: &[i32]) -> Plan {
        let ids = (0..).map(|at| at * 7919 % 100_003);
        let dests = ids.zip(weights).map(|(id, weight)| testing::dest(id, *weight)).collect();
        Plan::build(Kind::Wlc, Flags::NONE, dests).unwrap()
    }

    /// Chooses after each event, as Linux does.
    fn run<M: Measure>(weights: &[i32], load: Load, events: &[Event]) {
        let mut plan = plan(weights);
        let mut loads = Table::default();
        loads.of.extend(plan.dests().iter().map(|dest| (dest.id, load)));
        let mut board = Board::new(&plan);
        for event in events {
            match event {
                Event::Loads(changes) => {
                    for (at, load) in changes.iter().filter(|_| !plan.dests().is_empty()) {
                        let id = plan.dests()[at.index(plan.dests().len())].id;
                        loads.of.insert(id, *load);
                        board.load_changed(&plan, id);
                    }
                }
                Event::List(weights) => {
                    plan = self::plan(weights);
                    board.invalidate();
                }
            }
            let best = board.best::<M>(&plan, &loads);
            let dests = plan.dests();
            assert_eq!(best, scan::<M>(board.survey, dests, &loads));
            let spare = dests.iter().any(|dest| M::score(board.survey, dest, &loads).spare());
            assert_eq!(board.any_spare::<M>(&plan, &loads), spare);
        }
    }

    fn list(weight: impl Strategy<Value = i32> + 'static) -> BoxedStrategy<Vec<i32>> {
        prop::collection::vec(weight, 0..700).boxed()
    }

    /// Weights that are all the same, or of all sizes; some are 0.
    fn weights() -> BoxedStrategy<Vec<i32>> {
        prop_oneof![
            list(Just(1)),
            list(Just(i32::MAX)),
            list(0..10),
            list(prop_oneof![1..70_000, Just(0)]),
            list(i32::MAX - 3..=i32::MAX),
            list(0..=i32::MAX),
        ]
        .boxed()
    }

    fn load() -> BoxedStrategy<Load> {
        let counts = prop_oneof![
            (0_u32..3, 0_u32..3),
            (0_u32..4, 250_u32..260),
            (100_000_u32..100_003, 0_u32..600),
            (u32::MAX - 2..=u32::MAX, u32::MAX - 2..=u32::MAX),
            any::<(u32, u32)>(),
        ];
        let limit = prop_oneof![8 => Just(0), 1 => 1_u32..400];
        let traffic = prop_oneof![Just(0), 0_u64..3, 1_000_000_000_u64..1_000_000_003, any::<u64>()];
        let response = prop_oneof![Just(None), (0_u32..4).prop_map(Some), any::<u32>().prop_map(Some)];
        let rest = (0_u32..3, response);
        (counts, limit, traffic, rest)
            .prop_map(|((active, inactive), limit, traffic, (pending, response))| Load {
                active,
                inactive,
                limit,
                traffic,
                pending,
                response,
                to_be_probed: false,
            })
            .boxed()
    }

    /// Costs a little above the weight [`NEAR`]: there, unequal fractions become equal in floating
    /// point.
    fn near() -> BoxedStrategy<Load> {
        let counts =
            prop_oneof![(Just(NEAR as u32 / 256), 0_u32..20), (NEAR as u32..NEAR as u32 + 20, Just(0))];
        let traffic = NEAR as u64..NEAR as u64 + 20;
        (counts, traffic)
            .prop_map(|((active, inactive), traffic)| Load { active, inactive, traffic, ..Load::default() })
            .boxed()
    }

    fn events(
        weights: BoxedStrategy<Vec<i32>>,
        load: BoxedStrategy<Load>,
    ) -> impl Strategy<Value = Vec<Event>> {
        let loads = |load: BoxedStrategy<Load>| {
            prop::collection::vec((any::<Index>(), load), 0..40).prop_map(Event::Loads)
        };
        // One load for several destinations, or one load for each.
        let same = load.clone().prop_flat_map(move |load| loads(Just(load).boxed()));
        let event = prop_oneof![10 => same, 10 => loads(load), 1 => weights.prop_map(Event::List)];
        prop::collection::vec(event, 1..40)
    }

    /// The first weights, the first load, and the events.
    fn cases() -> impl Strategy<Value = (Vec<i32>, Load, Vec<Event>)> {
        let case = |weights: BoxedStrategy<Vec<i32>>, load: BoxedStrategy<Load>| {
            (weights.clone(), load.clone(), events(weights, load)).boxed()
        };
        prop_oneof![3 => case(weights(), load()), 1 => case(list(NEAR..NEAR + 20), near())]
    }

    macro_rules! chooses_as_linux_does {
        ($($name:ident: $measure:ty;)*) => {
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(48))]
                $(
                    #[test]
                    fn $name((weights, load, events) in cases()) {
                        run::<$measure>(&weights, load, &events);
                    }
                )*
            }
        };
    }

    chooses_as_linux_does! {
        lc_chooses_as_linux_does: Lc;
        wlc_chooses_as_linux_does: Wlc;
        lblc_chooses_as_linux_does: Local;
        sed_chooses_as_linux_does: Sed;
        nq_chooses_as_linux_does: Nq;
        fo_chooses_as_linux_does: Fo;
        ovf_chooses_as_linux_does: Ovf;
        lt_chooses_as_a_walk_does: Lt;
        wlt_chooses_as_a_walk_does: Wlt;
        wrt_chooses_as_a_walk_does: Wrt;
    }

    const NEAR: i32 = 1 << 29;
}
