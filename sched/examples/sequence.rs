//! Shows what each scheduler does, as sequences of picks. There are three servers; one of them
//! leaves in the middle.
//!
//! `cargo run -p sched --example sequence`
//!
//! A line is `scheduler`, `what happened`, `picks`, with tabs between. A pick is a server, or `-`
//! for none. Some rows are compared with a row above them: there, `!` marks a pick that changed
//! although its server was still in the service. A line `note` is a measurement.
//! `scripts/draw-schedulers` draws the pictures of `docs/schedulers.md` from these lines.
//!
//! Servers A, B and C have the weights 4, 3 and 2 and stand in the list in this order. They were
//! added one at a time. Every connection stays open. Edits go the same way as in the director.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::net::IpAddr;
use std::net::Ipv4Addr;

use sched::Ctx;
use sched::Dest;
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

/// A service and one worker's state of it.
struct Farm {
    list: Vec<Dest>,
    plan: Plan,
    state: State,
    loads: Table,
    random: XorShift,
}

/// The loads of A, B and C.
#[derive(Default)]
struct Table([Load; 3]);

#[derive(Clone, Copy, Default)]
struct Load {
    active: u32,
    traffic: u64,
    pending: u32,
    response: Option<u32>,
}

impl Farm {
    fn new(kind: Kind, flags: Flags) -> Self {
        let plan = Plan::build(kind, flags, Vec::new()).unwrap();
        let state = State::new(&plan, Stagger::ALONE);
        let mut farm =
            Self { list: Vec::new(), plan, state, loads: Table::default(), random: XorShift::new(1) };
        // New servers go to the front of the list.
        [(C, 2), (B, 3), (A, 4)].into_iter().for_each(|(id, weight)| farm.add(id, weight));
        farm
    }

    fn add(&mut self, id: DestId, weight: i32) {
        let addr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 11 + id.index() as u8));
        let dest = Dest { id, addr, port: 80, weight, last_weight: weight };
        let edit = Edit::added(&self.list, &dest);
        self.list.insert(0, dest);
        self.publish(&edit);
    }

    fn quiesce(&mut self, id: DestId) {
        let at = self.list.iter().position(|dest| dest.id == id).unwrap();
        let dest = Dest { weight: 0, ..self.list[at] };
        let edit = Edit::updated(&self.list, &dest);
        self.list[at] = dest;
        self.publish(&edit);
    }

    fn remove(&mut self, id: DestId) {
        let edit = Edit::deleted(&self.list, id);
        self.list.retain(|dest| dest.id != id);
        self.publish(&edit);
    }

    fn publish(&mut self, edit: &Edit) {
        self.plan = Plan::build(self.plan.kind(), self.plan.flags(), self.list.clone()).unwrap();
        if !self.state.room_for(&self.plan) {
            let mut old = std::mem::replace(&mut self.state, State::new(&self.plan, Stagger::ALONE));
            self.state.adopt(&mut old);
        }
        self.state.replay(edit);
        self.state.rebase(&self.plan);
    }

    /// The estimator: every connection brings 1000 bytes a second.
    fn estimate(&mut self) {
        for load in &mut self.loads.0 {
            (load.traffic, load.pending) = (u64::from(load.active) * 1000, 0);
        }
        self.state.loads_changed();
    }

    /// Picks for new connections, which stay open.
    fn picks(&mut self, keys: impl Iterator<Item = Key>) -> Vec<Option<DestId>> {
        keys.map(|key| self.connect(&key)).collect()
    }

    fn connect(&mut self, key: &Key) -> Option<DestId> {
        let mut ctx = Ctx { now: 0, random: &mut self.random, tuning: Tuning::default() };
        let id = self.state.pick(&self.plan, &self.loads, key, &mut ctx)?;
        let load = &mut self.loads.0[id.index()];
        load.active += 1;
        load.pending += 1;
        self.state.load_changed(&self.plan, id, &self.loads);
        Some(id)
    }

    /// Prints the picks `now`. A pick that differs from `before` is marked, unless it was B before.
    fn show(&self, what: &str, now: &[Option<DestId>], before: &[Option<DestId>]) {
        let picks = now.iter().enumerate().map(|(at, pick)| {
            let name = pick.map_or("-", name);
            let moved = before.get(at).is_some_and(|before| before != pick && *before != Some(B));
            format!("{name}{}", if moved { "!" } else { "" })
        });
        self.line(what, &picks.collect::<Vec<String>>().join(" "));
    }

    fn line(&self, what: &str, text: &str) {
        println!("{}\t{what}\t{text}", self.plan.kind().name());
    }
}

impl Loads for Table {
    fn active(&self, dest: DestId) -> u32 {
        self.0[dest.index()].active
    }

    fn inactive(&self, _: DestId) -> u32 {
        0
    }

    fn overloaded(&self, _: DestId) -> bool {
        false
    }

    fn traffic(&self, dest: DestId) -> u64 {
        self.0[dest.index()].traffic
    }

    fn pending(&self, dest: DestId) -> u32 {
        self.0[dest.index()].pending
    }

    fn response_time(&self, dest: DestId) -> Option<u32> {
        self.0[dest.index()].response
    }
}

/// For schedulers that count: `first` picks, then a server leaves, then more picks.
fn counting(kind: Kind, first: u32, leaver: DestId, then: u32) {
    let mut farm = Farm::new(kind, Flags::NONE);
    let mut start = "A 4, B 3, C 2".to_owned();
    match kind {
        Kind::Lt | Kind::Wlt => {
            farm.loads.0.iter_mut().zip([3, 5, 2]).for_each(|(load, active)| load.active = active);
            farm.estimate();
            start += "; busy before with 3, 5 and 2 equal connections";
        }
        Kind::Wrt => {
            farm.loads.0.iter_mut().zip([1, 3, 1]).for_each(|(load, ms)| load.response = Some(ms * 1000));
            start += "; they answer in 1, 3 and 1 ms";
        }
        _ => {}
    }
    let picks = farm.picks((0..first).map(client));
    farm.show(&start, &picks, &[]);
    farm.remove(leaver);
    farm.estimate();
    let picks = farm.picks((first..first + then).map(client));
    farm.show(&format!("{} has left", name(leaver)), &picks, &[]);
}

/// For schedulers that hash: the picks for the same addresses when B leaves, and when B is
/// quiesced.
fn hashing(kind: Kind, what: &str, key: fn(u32) -> Key) {
    let mut farm = Farm::new(kind, Flags::NONE);
    let before = farm.picks((0..ROW).map(key));
    let many = farm.picks((0..MANY).map(key));
    farm.show(&format!("{ROW} {what}; A 4, B 3, C 2"), &before, &[]);
    farm.remove(B);
    let after = farm.picks((0..ROW).map(key));
    farm.show("the same when B has left", &after, &before);
    let after = farm.picks((0..MANY).map(key));
    let kept = many.iter().zip(&after).filter(|(before, _)| **before != Some(B));
    let moved = kept.clone().filter(|(before, after)| before != after).count();
    let share = 100.0 * moved as f64 / kept.count() as f64;
    farm.line(
        "note",
        &format!("Of {MANY} {what}, {share:.1} % of those A and C had changed places when B left."),
    );

    let fallback: &[Flags] = if kind == Kind::Dh { &[Flags::NONE] } else { &[Flags::NONE, Flags::FALLBACK] };
    for &flags in fallback {
        let mut farm = Farm::new(kind, flags);
        farm.quiesce(B);
        let after = farm.picks((0..ROW).map(key));
        let with =
            if flags == Flags::FALLBACK { format!(", with {}-fallback", kind.name()) } else { String::new() };
        farm.show(&format!("the same when B has weight 0 instead{with}"), &after, &before);
    }
}

/// For schedulers that remember: many addresses, and one address that all clients want.
fn remembering(kind: Kind) {
    let mut farm = Farm::new(kind, Flags::NONE);
    let first = farm.picks((0..12).map(target));
    farm.show("12 destination addresses; A 4, B 3, C 2", &first, &[]);
    let before = farm.picks((0..12).map(target));
    farm.show("the same again", &before, &first);
    farm.remove(B);
    let after = farm.picks((0..12).map(target));
    farm.show("the same when B has left", &after, &before);

    let mut farm = Farm::new(kind, Flags::NONE);
    let picks = farm.picks((0..ROW).map(|_| target(0)));
    farm.show(&format!("one destination address {ROW} times"), &picks, &[]);
}

/// A connection of the client numbered `n` to the one address of the service.
fn client(n: u32) -> Key {
    let client = IpAddr::V4(Ipv4Addr::from(0x0A00_0002 + n));
    Key { client, client_port: 3000, target: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), protocol: 6 }
}

/// A connection to the address numbered `n` of a service by firewall mark.
fn target(n: u32) -> Key {
    Key { target: IpAddr::V4(Ipv4Addr::from(0x0A09_0001 + n)), ..client(0) }
}

fn name(id: DestId) -> &'static str {
    ["A", "B", "C"][id.index()]
}

fn main() {
    for kind in Kind::ALL {
        match kind {
            Kind::None => {}
            Kind::Dh => hashing(kind, "destination addresses", target),
            Kind::Sh | Kind::Mh => hashing(kind, "clients", client),
            Kind::Lblc | Kind::Lblcr => remembering(kind),
            Kind::Fo => counting(kind, 9, A, 9),
            Kind::Ovf => counting(kind, 10, A, 4),
            _ => counting(kind, 18, B, 12),
        }
    }
}

const A: DestId = DestId::new(0);
const B: DestId = DestId::new(1);
const C: DestId = DestId::new(2);
/// Picks in a row, for schedulers that hash.
const ROW: u32 = 24;
/// How many addresses the share that moved is measured with.
const MANY: u32 = 100_000;
