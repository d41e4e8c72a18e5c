//! Random histories, and the service they happen to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use proptest::prelude::*;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Key;
use sched::Loads;

/// What may happen to a service. `at` names a destination by its place in the list.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add { weight: i32 },
    Delete { at: prop::sample::Index },
    Weigh { at: prop::sample::Index, weight: i32 },
    Limit { at: prop::sample::Index, limit: u32 },
    LimitAll { limit: u32 },
    Load { at: prop::sample::Index, active: u32, inactive: u32 },
    Finish { at: prop::sample::Index },
    Estimate { seed: u32 },
    Wait { time: u64 },
    Connect { client: u8, target: u8, active: bool },
}

/// The destinations in list order, and their loads.
#[derive(Default)]
pub(crate) struct Farm {
    pub(crate) list: Vec<Dest>,
    pub(crate) now: u64,
    loads: HashMap<DestId, Load>,
    added: u32,
}

#[derive(Clone, Copy, Default)]
struct Load {
    active: u32,
    inactive: u32,
    limit: u32,
    traffic: u64,
    pending: u32,
    response: Option<u32>,
}

/// Histories with a few destinations, or with many.
pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let few = || prop::collection::vec(op(), 1..120);
    let many = (prop::collection::vec(weight().prop_map(|weight| Op::Add { weight }), 15..70), few())
        .prop_map(|(adds, ops)| [adds, ops].concat());
    prop_oneof![few(), many]
}

fn op() -> impl Strategy<Value = Op> {
    let at = any::<prop::sample::Index>;
    let connect = (0_u8..40, 0_u8..4, any::<bool>());
    prop_oneof![
        3 => weight().prop_map(|weight| Op::Add { weight }),
        2 => at().prop_map(|at| Op::Delete { at }),
        2 => (at(), weight()).prop_map(|(at, weight)| Op::Weigh { at, weight }),
        1 => (at(), 0_u32..4).prop_map(|(at, limit)| Op::Limit { at, limit }),
        1 => (0_u32..3).prop_map(|limit| Op::LimitAll { limit }),
        2 => (at(), 0_u32..6, 0_u32..600)
            .prop_map(|(at, active, inactive)| Op::Load { at, active, inactive }),
        2 => at().prop_map(|at| Op::Finish { at }),
        1 => any::<u32>().prop_map(|seed| Op::Estimate { seed }),
        1 => (0_u64..3_000).prop_map(|time| Op::Wait { time }),
        20 => connect.prop_map(|(client, target, active)| Op::Connect { client, target, active }),
    ]
}

fn weight() -> impl Strategy<Value = i32> {
    prop_oneof![10 => 0_i32..6, 2 => 6_i32..300, 1 => Just(12)]
}

/// A destination with an address of its own, IPv4 or IPv6.
pub(crate) fn dest(id: u32, weight: i32) -> Dest {
    let addr = if id.is_multiple_of(3) {
        IpAddr::V6(Ipv6Addr::from((0x2001_0DB8 << 96) | u128::from(id)))
    } else {
        IpAddr::V4(Ipv4Addr::from(0x0A01_0000 + id))
    };
    Dest { id: DestId::new(id), addr, port: 80, weight, last_weight: weight }
}

impl Farm {
    /// Does `op` if it is an edit.
    pub(crate) fn edit(&mut self, op: &Op) -> Option<Edit> {
        match *op {
            Op::Add { weight } => {
                self.added += 1;
                let dest = dest(self.added, weight);
                let edit = Edit::added(&self.list, &dest);
                self.list.insert(0, dest);
                Some(edit)
            }
            Op::Delete { at } if !self.list.is_empty() => {
                let at = at.index(self.list.len());
                let edit = Edit::deleted(&self.list, self.list[at].id);
                self.list.remove(at);
                Some(edit)
            }
            Op::Weigh { at, weight } if !self.list.is_empty() => {
                let at = at.index(self.list.len());
                let last_weight = if weight == 0 { self.list[at].last_weight } else { weight };
                let dest = Dest { weight, last_weight, ..self.list[at] };
                let edit = Edit::updated(&self.list, &dest);
                self.list[at] = dest;
                Some(edit)
            }
            _ => None,
        }
    }

    /// Does `op` if it changes loads. Returns the destination, or `Some(None)` if all changed.
    pub(crate) fn change(&mut self, op: &Op) -> Option<Option<DestId>> {
        match *op {
            Op::Limit { at, limit } => self.load(at, |load| load.limit = limit),
            Op::LimitAll { limit } => {
                self.list.iter().for_each(|dest| self.loads.entry(dest.id).or_default().limit = limit);
                Some(None)
            }
            Op::Load { at, active, inactive } => {
                self.load(at, |load| (load.active, load.inactive) = (active, inactive))
            }
            Op::Finish { at } => self.load(at, |load| {
                let ended = load.active.min(1);
                load.active -= ended;
                load.inactive += ended;
            }),
            Op::Estimate { seed } => {
                for (at, dest) in (1_u32..).zip(&self.list) {
                    let noise = seed.wrapping_mul(at) % 1000;
                    let load = self.loads.entry(dest.id).or_default();
                    (load.traffic, load.pending) = (u64::from(noise / 100) * 500, 0);
                    load.response = (noise % 3 > 0).then_some(noise / 200 * 100);
                }
                Some(None)
            }
            Op::Wait { time } => {
                self.now += time;
                None
            }
            _ => None,
        }
    }

    /// Counts a new connection.
    pub(crate) fn connect(&mut self, id: DestId, active: bool) {
        let load = self.loads.entry(id).or_default();
        load.pending += 1;
        if active {
            load.active += 1;
        } else {
            load.inactive += 1;
        }
    }

    /// A packet from a client to a target; the families alternate.
    pub(crate) fn key(&self, client: u8, target: u8) -> Key {
        let client_port = 1000 + u16::from(client) * 77;
        let protocol = if client.is_multiple_of(7) { 50 } else { 6 };
        if target.is_multiple_of(2) {
            let client = IpAddr::V4(Ipv4Addr::new(10, 0, 0, client));
            let target = IpAddr::V4(Ipv4Addr::new(10, 9, 0, target));
            Key { client, client_port, target, protocol }
        } else {
            let address = |net: u128, host| IpAddr::V6(Ipv6Addr::from((net << 96) | u128::from(host)));
            let (client, target) = (address(0x2001_0DB8, client), address(0x2001_0DB9, target));
            Key { client, client_port, target, protocol }
        }
    }

    fn load(&mut self, at: prop::sample::Index, change: impl FnOnce(&mut Load)) -> Option<Option<DestId>> {
        let dest = self.list.get(at.index(self.list.len().max(1)))?;
        change(self.loads.entry(dest.id).or_default());
        Some(Some(dest.id))
    }

    fn of(&self, dest: DestId) -> Load {
        self.loads.get(&dest).copied().unwrap_or_default()
    }
}

impl Loads for Farm {
    fn active(&self, dest: DestId) -> u32 {
        self.of(dest).active
    }

    fn inactive(&self, dest: DestId) -> u32 {
        self.of(dest).inactive
    }

    fn overloaded(&self, dest: DestId) -> bool {
        let load = self.of(dest);
        load.limit > 0 && load.active + load.inactive >= load.limit
    }

    fn traffic(&self, dest: DestId) -> u64 {
        self.of(dest).traffic
    }

    fn pending(&self, dest: DestId) -> u32 {
        self.of(dest).pending
    }

    fn response_time(&self, dest: DestId) -> Option<u32> {
        self.of(dest).response
    }
}
