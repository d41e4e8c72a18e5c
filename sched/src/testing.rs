//! A small service to run schedulers on, for tests only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::*;

/// A service with its list, its plan, one worker's state, and the loads.
///
/// Edits go the same way as in the director: make the edit, build the plan, replay the edit,
/// rebase.
pub(crate) struct Farm {
    pub(crate) list: Vec<Dest>,
    pub(crate) plan: Plan,
    pub(crate) state: State,
    pub(crate) loads: Table,
    pub(crate) flags: Flags,
    pub(crate) now: u64,
    pub(crate) random: XorShift,
    stagger: Stagger,
    /// Real servers are `net.N:port`.
    pub(crate) net: [u8; 3],
    pub(crate) port: u16,
}

/// The loads by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) of: HashMap<DestId, Load>,
    /// Pretend that all destinations have the same overhead.
    pub(crate) flat: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) active: u32,
    pub(crate) inactive: u32,
    /// The upper threshold (`-x`), 0 for none.
    pub(crate) limit: u32,
    pub(crate) traffic: u64,
    pub(crate) pending: u32,
    pub(crate) response: Option<u32>,
    pub(crate) to_be_probed: bool,
}

impl Farm {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::staggered(kind, Stagger::ALONE)
    }

    pub(crate) fn staggered(kind: Kind, stagger: Stagger) -> Self {
        let plan = Plan::build(kind, Flags::NONE, Vec::new()).unwrap();
        let state = State::new(&plan, stagger);
        Self {
            list: Vec::new(),
            plan,
            state,
            loads: Table::default(),
            flags: Flags::NONE,
            now: 0,
            random: XorShift::new(1),
            stagger,
            net: [10, 0, 1],
            port: 80,
        }
    }

    pub(crate) fn flags(&mut self, flags: Flags) -> &mut Self {
        self.flags = flags;
        self.publish(None);
        self
    }

    pub(crate) fn port(&mut self, port: u16) -> &mut Self {
        self.port = port;
        self
    }

    pub(crate) fn add(&mut self, id: u32, weight: i32) -> &mut Self {
        let [a, b, c] = self.net;
        let dest =
            Dest { addr: IpAddr::V4(Ipv4Addr::new(a, b, c, id as u8)), port: self.port, ..dest(id, weight) };
        let edit = Edit::added(&self.list, &dest);
        self.list.insert(0, dest);
        self.publish(Some(edit));
        self
    }

    pub(crate) fn weigh(&mut self, id: u32, weight: i32) -> &mut Self {
        let at = self.list.iter().position(|d| d.id == DestId::new(id)).unwrap();
        let last_weight = if weight != 0 { weight } else { self.list[at].last_weight };
        let dest = Dest { weight, last_weight, ..self.list[at] };
        let edit = Edit::updated(&self.list, &dest);
        self.list[at] = dest;
        self.publish(Some(edit));
        self
    }

    pub(crate) fn delete(&mut self, id: u32) -> &mut Self {
        let id = DestId::new(id);
        let edit = Edit::deleted(&self.list, id);
        self.list.retain(|d| d.id != id);
        self.publish(Some(edit));
        self
    }

    pub(crate) fn limit(&mut self, id: u32, limit: u32) -> &mut Self {
        self.change(id, |load| load.limit = limit)
    }

    pub(crate) fn load(&mut self, id: u32, active: u32, inactive: u32) -> &mut Self {
        self.change(id, |load| (load.active, load.inactive) = (active, inactive))
    }

    pub(crate) fn change(&mut self, id: u32, change: impl FnOnce(&mut Load)) -> &mut Self {
        let id = DestId::new(id);
        change(self.loads.of.entry(id).or_default());
        self.state.load_changed(&self.plan, id, &self.loads);
        self
    }

    pub(crate) fn reschedule(&mut self, kind: Kind) -> &mut Self {
        self.plan = Plan::build(kind, self.flags, self.list.clone()).unwrap();
        self.state = State::new(&self.plan, self.stagger);
        self
    }

    /// Picks for `count` new TCP connections, which stay active.
    pub(crate) fn syn(&mut self, count: usize) -> String {
        self.picks(count, |load| load.active += 1)
    }

    /// Picks for `count` new UDP connections, which stay inactive.
    pub(crate) fn udp(&mut self, count: usize) -> String {
        self.picks(count, |load| load.inactive += 1)
    }

    /// New TCP connections to 10.9.0.d for each d.
    pub(crate) fn targets(&mut self, targets: &[u8]) -> String {
        let picks = targets.iter().map(|&d| show(self.bind(&key(2, d), |load| load.active += 1)));
        picks.collect::<Vec<String>>().join(" ")
    }

    /// One pick for each of 19 clients, with ports from 3000 on.
    pub(crate) fn clients(&mut self) -> String {
        let near = (2..=13).map(|host| format!("10.0.0.{host}"));
        let far = "192.168.1.1 192.168.1.2 192.168.1.3 192.168.1.77 172.16.5.9 8.8.8.8 203.0.113.200";
        let clients = near.chain(far.split(' ').map(str::to_owned)).zip(3000..);
        let picks = clients.map(|(client, client_port)| {
            let client = client.parse().unwrap();
            show(self.pick(&Key { client, client_port, ..key(0, 1) }))
        });
        picks.collect::<Vec<String>>().join(" ")
    }

    fn picks(&mut self, count: usize, bind: impl Fn(&mut Load)) -> String {
        let picks: Vec<String> = (0..count).map(|_| show(self.bind(&key(2, 0), &bind))).collect();
        picks.join(" ")
    }

    /// One pick; the connection is counted.
    pub(crate) fn bind(&mut self, key: &Key, bind: impl Fn(&mut Load)) -> Option<DestId> {
        let picked = self.pick(key);
        if let Some(id) = picked {
            self.change(id.as_u32(), |load| {
                bind(load);
                load.pending += 1;
            });
        }
        picked
    }

    /// One pick; no connection is counted.
    pub(crate) fn pick(&mut self, key: &Key) -> Option<DestId> {
        let mut ctx = Ctx { now: self.now, random: &mut self.random, tuning: Tuning::default() };
        self.state.pick(&self.plan, &self.loads, key, &mut ctx)
    }

    fn publish(&mut self, edit: Option<Edit>) {
        self.plan = Plan::build(self.plan.kind(), self.flags, self.list.clone()).unwrap();
        if !self.state.room_for(&self.plan) {
            let mut old = std::mem::replace(&mut self.state, State::new(&self.plan, self.stagger));
            self.state.adopt(&mut old);
        }
        edit.iter().for_each(|edit| self.state.replay(edit));
        self.state.rebase(&self.plan);
    }
}

impl Table {
    pub(crate) fn of(&self, dest: DestId) -> Load {
        self.of.get(&dest).copied().unwrap_or_default()
    }
}

impl Loads for Table {
    fn active(&self, dest: DestId) -> u32 {
        self.of(dest).active
    }

    fn inactive(&self, dest: DestId) -> u32 {
        self.of(dest).inactive
    }

    fn overloaded(&self, dest: DestId) -> bool {
        let Load { active, inactive, limit, .. } = self.of(dest);
        limit != 0 && u64::from(active) + u64::from(inactive) >= u64::from(limit)
    }

    fn overhead(&self, dest: DestId) -> u64 {
        let Load { active, inactive, .. } = self.of(dest);
        if self.flat { 0 } else { 256 * u64::from(active) + u64::from(inactive) }
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

    fn to_be_probed(&self, dest: DestId, _: u64) -> bool {
        self.of(dest).to_be_probed
    }
}

/// A destination with this slot and weight at an address of its own.
pub(crate) fn dest(id: u32, weight: i32) -> Dest {
    let addr = IpAddr::V4(Ipv4Addr::from(0x0A00_0100_u32.wrapping_add(id)));
    Dest { id: DestId::new(id), addr, port: 80, weight, last_weight: weight }
}

/// A packet from 10.0.0.`client` to 10.9.0.`target`.
pub(crate) fn key(client: u8, target: u8) -> Key {
    Key {
        client: IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)),
        client_port: 3000,
        target: IpAddr::V4(Ipv4Addr::new(10, 9, 0, target)),
        protocol: 6,
    }
}

/// A pick as tests write it.
pub(crate) fn show(picked: Option<DestId>) -> String {
    picked.map_or_else(|| "-".to_owned(), |id| id.as_u32().to_string())
}
