//! Many destinations whose connections come and go, for choices among them.

use core::net::IpAddr;
use core::net::Ipv4Addr;

use sched::Ctx;
use sched::Dest;
use sched::DestId;
use sched::Flags;
use sched::Key;
use sched::Kind;
use sched::Loads;
use sched::Plan;
use sched::Stagger;
use sched::State;
use sched::Tuning;
use sched::XorShift;

/// Connections open at the same time. Each ends after this many others have begun.
pub const OPEN: usize = 4096;

/// A service with all its connections.
pub struct Farm {
    plan: Plan,
    state: State,
    loads: Active,
    random: XorShift,
    open: Vec<DestId>,
    step: u32,
}

impl Farm {
    /// A service of `count` destinations without connections; `None` if the plan cannot be built.
    pub fn new(kind: Kind, count: u32) -> Option<Self> {
        let plan = Plan::build(kind, Flags::NONE, dests(count)).ok()?;
        let state = State::new(&plan, Stagger::ALONE);
        let (random, open) = (XorShift::new(1), Vec::with_capacity(OPEN));
        Some(Self { plan, state, loads: Active::none(count), random, open, step: 0 })
    }

    /// Makes a choice with its bookkeeping: picks, counts the new connection, ends an old one, and
    /// reports both changed loads.
    pub fn choose(&mut self) -> Option<DestId> {
        let step = self.step;
        self.step += 1;
        let mut ctx = Ctx { now: 0, random: &mut self.random, tuning: Tuning::default() };
        let id = self.state.pick(&self.plan, &self.loads, &key(step), &mut ctx)?;
        self.loads.0[id.index()] += 1;
        self.state.load_changed(&self.plan, id, &self.loads);
        if self.open.len() < OPEN {
            self.open.push(id);
        } else {
            let ended = std::mem::replace(&mut self.open[step as usize % OPEN], id);
            self.loads.0[ended.index()] -= 1;
            self.state.load_changed(&self.plan, ended, &self.loads);
        }
        Some(id)
    }

    /// A pick after all loads changed.
    pub fn choose_anew(&mut self) -> Option<DestId> {
        self.state.loads_changed();
        let mut ctx = Ctx { now: 0, random: &mut self.random, tuning: Tuning::default() };
        self.state.pick(&self.plan, &self.loads, &key(0), &mut ctx)
    }
}

/// Destinations with different weights.
pub fn dests(count: u32) -> Vec<Dest> {
    let dest = |id| {
        let weight = 1 + (id * 7919 % 10) as i32;
        let addr = IpAddr::V4(Ipv4Addr::from(0x0A01_0000 + id));
        Dest { id: DestId::new(id), addr, port: 80, weight, last_weight: weight }
    };
    (0..count).map(dest).collect()
}

/// A different client for every step, and a different target for every few steps.
fn key(step: u32) -> Key {
    let client = IpAddr::V4(Ipv4Addr::from(step.wrapping_mul(0x9E37_79B1)));
    let target = IpAddr::V4(Ipv4Addr::from(step.wrapping_mul(0x9E37_79B1) >> 20));
    Key { client, client_port: 80, target, protocol: 6 }
}

/// Active connections by slot.
struct Active(Vec<u32>);

impl Active {
    fn none(count: u32) -> Self {
        Self(vec![0; count as usize])
    }
}

impl Loads for Active {
    fn active(&self, dest: DestId) -> u32 {
        self.0.get(dest.index()).copied().unwrap_or(0)
    }

    fn inactive(&self, dest: DestId) -> u32 {
        dest.as_u32() % 7
    }

    fn overloaded(&self, _: DestId) -> bool {
        false
    }

    fn traffic(&self, dest: DestId) -> u64 {
        u64::from(dest.as_u32()) * 1000
    }

    fn response_time(&self, dest: DestId) -> Option<u32> {
        Some(dest.as_u32() % 100 * 10)
    }
}
