//! Replays histories of Linux 6.1.176, choice by choice.
//!
//! `linux-6.1.176.txt` was recorded in a user-mode Linux. Its edits are random and were made with
//! `ipvsadm`. Each connection is one UDP datagram or TCP SYN; its destination was read from
//! `/proc/net/ip_vs_conn`. Lines:
//!
//! ```text
//! service <scheduler> <flags> <protocol> <real server port>
//! add <server> <weight> <upper threshold>
//! weigh <server> <weight>
//! delete <server>
//! connect <client> <client port> <target> <server, or - for none>
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
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

#[test]
fn every_choice_is_that_of_linux() {
    let mut service = None;
    let (mut chosen, mut none) = (0, 0);
    for (number, line) in (1..).zip(include_str!("linux-6.1.176.txt").lines()) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["service", kind, flags, protocol, port] = words[..] {
            service = Some(Service::new(kind, flags, protocol, port.parse().unwrap()));
            continue;
        }
        let service = service.as_mut().unwrap();
        match words[..] {
            ["add", id, weight, limit] => {
                service.add(id.parse().unwrap(), weight.parse().unwrap(), limit.parse().unwrap());
            }
            ["weigh", id, weight] => service.weigh(id.parse().unwrap(), weight.parse().unwrap()),
            ["delete", id] => service.delete(id.parse().unwrap()),
            ["connect", client, port, target, server] => {
                let key = Key {
                    client: client.parse().unwrap(),
                    client_port: port.parse().unwrap(),
                    target: target.parse().unwrap(),
                    protocol: service.protocol,
                };
                let picked = service.connect(&key).map(|id| id.as_u32().to_string());
                let kind = service.plan.kind().name();
                assert_eq!(picked.as_deref().unwrap_or("-"), server, "line {number}, {kind}");
                *(if server == "-" { &mut none } else { &mut chosen }) += 1;
            }
            _ => panic!("line {number}: {line}"),
        }
    }
    assert!(chosen > 3000 && none > 500, "{chosen} chosen, {none} times none");
}

struct Service {
    protocol: u8,
    port: u16,
    list: Vec<Dest>,
    plan: Plan,
    state: State,
    loads: Table,
    random: XorShift,
}

/// Active connections, inactive ones, and upper threshold of each server.
#[derive(Default)]
struct Table(HashMap<DestId, [u32; 3]>);

impl Service {
    fn new(kind: &str, flags: &str, protocol: &str, port: u16) -> Self {
        let flag = |word| match word {
            "fallback" => Flags::FALLBACK,
            "port" => Flags::PORT,
            _ => Flags::NONE,
        };
        let flags = flags.split(',').map(flag).fold(Flags::NONE, |all, flag| all | flag);
        let plan = Plan::build(Kind::from_name(kind).unwrap(), flags, Vec::new()).unwrap();
        let state = State::new(&plan, Stagger::ALONE);
        let protocol = if protocol == "tcp" { 6 } else { 17 };
        let random = XorShift::new(0);
        Self { protocol, port, list: Vec::new(), plan, state, loads: Table::default(), random }
    }

    fn add(&mut self, id: u32, weight: i32, limit: u32) {
        let addr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, id as u8));
        let id = DestId::new(id);
        let dest = Dest { id, addr, port: self.port, weight, last_weight: weight };
        let edit = Edit::added(&self.list, &dest);
        self.list.insert(0, dest);
        self.loads.0.insert(id, [0, 0, limit]);
        self.publish(&edit);
    }

    fn weigh(&mut self, id: u32, weight: i32) {
        let at = self.list.iter().position(|dest| dest.id == DestId::new(id)).unwrap();
        let old = self.list[at];
        let dest = Dest { weight, last_weight: if weight == 0 { old.last_weight } else { weight }, ..old };
        let edit = Edit::updated(&self.list, &dest);
        self.list[at] = dest;
        self.publish(&edit);
    }

    fn delete(&mut self, id: u32) {
        let id = DestId::new(id);
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

    /// TCP connections stay active; UDP connections are inactive.
    fn connect(&mut self, key: &Key) -> Option<DestId> {
        let mut ctx = Ctx { now: 0, random: &mut self.random, tuning: Tuning::default() };
        let id = self.state.pick(&self.plan, &self.loads, key, &mut ctx)?;
        let [active, inactive, _] = self.loads.0.get_mut(&id).unwrap();
        *(if self.protocol == 6 { active } else { inactive }) += 1;
        self.state.load_changed(&self.plan, id, &self.loads);
        Some(id)
    }
}

impl Loads for Table {
    fn active(&self, dest: DestId) -> u32 {
        self.0[&dest][0]
    }

    fn inactive(&self, dest: DestId) -> u32 {
        self.0[&dest][1]
    }

    fn overloaded(&self, dest: DestId) -> bool {
        let [active, inactive, limit] = self.0[&dest];
        limit > 0 && active + inactive >= limit
    }
}
