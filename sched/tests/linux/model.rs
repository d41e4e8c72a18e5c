//! Linux's schedulers, plain and slow: one list, walked for every choice.

use std::collections::HashMap;
use std::net::IpAddr;

use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Flags;
use sched::Key;
use sched::Kind;
use sched::Loads;
use sched::Random;
use sched::What;
use sched::XorShift;

use crate::TUNING;
use crate::history::Farm;

pub(crate) struct Model {
    kind: Kind,
    flags: Flags,
    /// rr, wrr: the element chosen last; `None` is the head.
    cursor: Option<DestId>,
    /// wrr: current weight, maximum weight, step.
    cw: i64,
    mw: i64,
    di: i64,
    /// lblc, lblcr: the servers of each address, front first, and when the set last changed.
    sets: HashMap<IpAddr, (Vec<DestId>, u64)>,
    /// lt, wlt, wrt: a number about all destinations; `None` when it must be computed
    /// again.
    survey: Option<u64>,
    random: XorShift,
}

impl Model {
    pub(crate) fn new(kind: Kind, flags: Flags) -> Self {
        let random = XorShift::new(9);
        let sets = HashMap::new();
        Self { kind, flags, cursor: None, cw: 0, mw: 0, di: 1, sets, survey: None, random }
    }

    /// Follows an edit that has led to the list of `farm`.
    pub(crate) fn edited(&mut self, edit: &Edit, farm: &Farm) {
        self.survey = None;
        match self.kind {
            Kind::Rr if edit.what == What::Deleted && self.cursor == Some(edit.dest) => {
                self.cursor = edit.before;
            }
            Kind::Wrr => {
                let weights = || farm.list.iter().map(|d| i64::from(d.weight)).filter(|&w| w > 0);
                self.cursor = None;
                self.di = weights().reduce(divisor).unwrap_or(1);
                self.mw = weights().max().unwrap_or(0) - (self.di - 1);
                if self.cw > self.mw || self.cw == 0 {
                    self.cw = self.mw;
                } else if self.di > 1 {
                    self.cw = self.cw / self.di * self.di + 1;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn loads_changed(&mut self) {
        self.survey = None;
    }

    pub(crate) fn pick(&mut self, farm: &Farm, key: &Key) -> Option<DestId> {
        match self.kind {
            Kind::None => None,
            Kind::Rr => self.rr(farm),
            Kind::Wrr => self.wrr(farm),
            Kind::Lc => least(farm, |d| Some((overhead(farm, d), 0, 1))),
            Kind::Wlc => wlc(farm),
            Kind::Sed => least(farm, |d| Some((u64::from(farm.active(d.id)) + 1, 0, d.weight))),
            Kind::Nq => {
                let idle = farm.list.iter().find(|d| eligible(farm, d) && farm.active(d.id) == 0);
                let sed = || least(farm, |d| Some((u64::from(farm.active(d.id)) + 1, 0, d.weight)));
                idle.map(|d| d.id).or_else(sed)
            }
            Kind::Fo => heaviest(farm, |_| true),
            Kind::Ovf => heaviest(farm, |d| i64::from(farm.active(d.id)) <= i64::from(d.weight)),
            Kind::Lblc => self.lblc(farm, key),
            Kind::Lblcr => self.lblcr(farm, key),
            Kind::Dh => {
                let mut table = farm.list.iter().cycle();
                let owner = table.nth(bucket(fold(key.target)))?;
                eligible(farm, owner).then_some(owner.id)
            }
            Kind::Sh => self.sh(farm, key),
            Kind::Mh => self.mh(farm, key),
            Kind::Twos => self.twos(farm),
            Kind::Lt | Kind::Wlt => {
                let average = *self.survey.get_or_insert_with(|| average(farm));
                least(farm, |d| {
                    let traffic = farm.traffic(d.id) + u64::from(farm.pending(d.id)) * average;
                    let weight = if self.kind == Kind::Lt { 1 } else { d.weight };
                    Some((traffic, overhead(farm, d), weight))
                })
            }
            Kind::Wrt => {
                let times = farm.list.iter().filter(|d| eligible(farm, d));
                let known = times.filter_map(|d| farm.response_time(d.id)).map(|t| t.max(1));
                let floor = *self
                    .survey
                    .get_or_insert_with(|| u64::from(known.min().unwrap_or(1).saturating_sub(1).max(1)));
                least(farm, |d| {
                    let time = farm.response_time(d.id).map_or(floor, |t| u64::from(t.max(1)));
                    Some((time * (u64::from(farm.active(d.id)) + 1), 0, d.weight))
                })
            }
        }
    }

    fn rr(&mut self, farm: &Farm) -> Option<DestId> {
        let at = self.cursor.map_or(0, |id| place(farm, id) + 1);
        let order = farm.list[at..].iter().chain(&farm.list[..at]);
        let chosen = order.into_iter().find(|d| eligible(farm, d))?;
        self.cursor = Some(chosen.id);
        self.cursor
    }

    /// Makes one pass over the list for every level of weight.
    fn wrr(&mut self, farm: &Farm) -> Option<DestId> {
        if self.mw == 0 {
            return None;
        }
        let last = self.cursor;
        let (mut stop, mut last_pass, mut restarted) = (None, false, false);
        let mut at = last.map_or(0, |id| place(farm, id) + 1);
        loop {
            for dest in &farm.list[at..] {
                if !farm.overloaded(dest.id) && i64::from(dest.weight) >= self.cw {
                    self.cursor = Some(dest.id);
                    return self.cursor;
                }
                if stop == Some(dest.id) {
                    self.cursor = stop;
                    return None;
                }
            }
            at = 0;
            self.cw -= self.di;
            if self.cw <= 0 {
                self.cw = self.mw;
                if last_pass || last.is_none() {
                    self.cursor = None;
                    return None;
                }
                restarted = true;
            }
            last_pass = self.cw <= self.di;
            if last_pass && restarted && last.is_some() {
                stop = last;
            }
        }
    }

    fn lblc(&mut self, farm: &Farm, key: &Key) -> Option<DestId> {
        if let Some((servers, _)) = self.sets.get(&key.target) {
            let dest = farm.list.iter().find(|d| d.id == servers[0]);
            if let Some(dest) = dest.filter(|d| d.weight > 0 && !busy(farm, d)) {
                return Some(dest.id);
            }
        }
        let chosen = wlc(farm)?;
        self.sets.insert(key.target, (vec![chosen], farm.now));
        Some(chosen)
    }

    fn lblcr(&mut self, farm: &Farm, key: &Key) -> Option<DestId> {
        let Some((servers, modified)) = self.sets.get_mut(&key.target) else {
            let chosen = wlc(farm)?;
            self.sets.insert(key.target, (vec![chosen], farm.now));
            return Some(chosen);
        };
        let members: Vec<&Dest> =
            servers.iter().filter_map(|id| farm.list.iter().find(|d| d.id == *id)).collect();
        let mut min: Option<&Dest> = None;
        for &dest in members.iter().filter(|d| eligible(farm, d)) {
            if min.is_none_or(|m| product(farm, m, dest) > product(farm, dest, m)) {
                min = Some(dest);
            }
        }
        if servers.len() > 1 && farm.now > *modified + TUNING.lblcr_expiration {
            let mut max: Option<&Dest> = None;
            for &dest in members.iter().filter(|d| d.weight > 0) {
                if max.is_none_or(|m| product(farm, m, dest) < product(farm, dest, m)) {
                    max = Some(dest);
                }
            }
            if let Some(max) = max {
                servers.retain(|id| *id != max.id);
                *modified = farm.now;
            }
        }
        if let Some(min) = min.filter(|d| !busy(farm, d)) {
            return Some(min.id);
        }
        let chosen = wlc(farm)?;
        // Not Linux's: the bound on servers that are gone.
        if servers.len() >= farm.list.len() + 16 {
            servers.retain(|id| farm.list.iter().any(|d| d.id == *id));
        }
        if !servers.contains(&chosen) {
            servers.insert(0, chosen);
            *modified = farm.now;
        }
        Some(chosen)
    }

    fn sh(&self, farm: &Farm, key: &Key) -> Option<DestId> {
        let mut table: Vec<&Dest> = Vec::new();
        while table.len() < 256 && !farm.list.is_empty() {
            for dest in &farm.list {
                table.extend(std::iter::repeat_n(dest, dest.weight.clamp(1, 256) as usize));
            }
        }
        let client = fold(key.client).wrapping_add(self.port(key));
        let hash = |offset: usize| (offset + bucket(client)) & 255;
        let owner = *table.get(hash(0))?;
        if eligible(farm, owner) || !self.flags.contains(Flags::FALLBACK) {
            return eligible(farm, owner).then_some(owner.id);
        }
        let mut tries = (0..256).map(|offset| table[hash((offset + hash(0)) % 256)]);
        tries.find(|d| eligible(farm, d)).map(|d| d.id)
    }

    fn mh(&self, farm: &Farm, key: &Key) -> Option<DestId> {
        const P: u64 = 4093;
        let weights = || farm.list.iter().map(|d| i64::from(d.last_weight)).filter(|&w| w > 0);
        let gcd = weights().reduce(divisor)?;
        let bits = 64 - (weights().max()? / gcd).leading_zeros();
        let shift = bits.saturating_sub(6);
        let mut table = vec![None; P as usize];
        let mut servers: Vec<(u64, u64, i64, &Dest)> = farm
            .list
            .iter()
            .filter(|d| d.last_weight > 0)
            .map(|d| {
                let word = fold(d.addr).wrapping_add(u32::from(d.port));
                let turns = (i64::from(d.last_weight) / gcd) >> shift;
                (siphash(K1, word) % P, siphash(K2, word) % (P - 1) + 1, turns.max(1), d)
            })
            .collect();
        let mut filled = 0;
        'full: loop {
            for (at, skip, turns, dest) in &mut servers {
                for _ in 0..*turns {
                    while table[*at as usize].is_some() {
                        *at = (*at + *skip) % P;
                    }
                    table[*at as usize] = Some(*dest);
                    filled += 1;
                    if filled == P {
                        break 'full;
                    }
                }
            }
        }
        let client = fold(key.client).wrapping_add(self.port(key));
        let slot = |offset: u64| siphash(K1, client.wrapping_add(offset as u32)) % P;
        let owner = table[slot(0) as usize]?;
        if eligible(farm, owner) || !self.flags.contains(Flags::FALLBACK) {
            return eligible(farm, owner).then_some(owner.id);
        }
        let mut tries = (0..P).filter_map(|offset| table[slot((offset + slot(0)) % P) as usize]);
        tries.find(|d| eligible(farm, d)).map(|d| d.id)
    }

    fn twos(&mut self, farm: &Farm) -> Option<DestId> {
        let total: i64 = farm.list.iter().filter(|d| eligible(farm, d)).map(|d| i64::from(d.weight)).sum();
        if total == 0 {
            return None;
        }
        let [one, two] = [0, 0].map(|_| {
            let mut draw = self.random.below_inclusive(total as u64) as i64;
            let drawn = farm.list.iter().filter(|d| eligible(farm, d)).find(|d| {
                draw -= i64::from(d.weight);
                draw <= 0
            });
            drawn.unwrap()
        });
        Some(if product(farm, one, two) > product(farm, two, one) { two.id } else { one.id })
    }

    fn port(&self, key: &Key) -> u32 {
        let counts = self.flags.contains(Flags::PORT) && [6, 17, 132].contains(&key.protocol);
        if counts { u32::from(key.client_port) } else { 0 }
    }
}

fn place(farm: &Farm, id: DestId) -> usize {
    farm.list.iter().position(|d| d.id == id).unwrap()
}

fn eligible(farm: &Farm, dest: &Dest) -> bool {
    dest.weight > 0 && !farm.overloaded(dest.id)
}

fn overhead(farm: &Farm, dest: &Dest) -> u64 {
    256 * u64::from(farm.active(dest.id)) + u64::from(farm.inactive(dest.id))
}

/// The overhead of one times the weight of the other.
fn product(farm: &Farm, one: &Dest, other: &Dest) -> u64 {
    overhead(farm, one) * other.weight as u64
}

fn wlc(farm: &Farm) -> Option<DestId> {
    least(farm, |d| Some((overhead(farm, d), 0, d.weight)))
}

/// The kernel's walk. `cost` gives a cost, a second cost to break ties, and a weight that divides
/// both.
fn least(farm: &Farm, cost: impl Fn(&Dest) -> Option<(u64, u64, i32)>) -> Option<DestId> {
    let mut best: Option<(&Dest, (u64, u64, i32))> = None;
    for dest in farm.list.iter().filter(|d| eligible(farm, d)) {
        let Some(new) = cost(dest) else { continue };
        let better = best.is_none_or(|(_, old)| {
            let first = (old.0 * new.2 as u64).cmp(&(new.0 * old.2 as u64));
            first.then((old.1 * new.2 as u64).cmp(&(new.1 * old.2 as u64))).is_gt()
        });
        if better {
            best = Some((dest, new));
        }
    }
    best.map(|(dest, _)| dest.id)
}

fn heaviest(farm: &Farm, also: impl Fn(&Dest) -> bool) -> Option<DestId> {
    let mut best: Option<&Dest> = None;
    for dest in farm.list.iter().filter(|d| eligible(farm, d) && also(d)) {
        if best.is_none_or(|b| dest.weight > b.weight) {
            best = Some(dest);
        }
    }
    best.map(|dest| dest.id)
}

fn busy(farm: &Farm, dest: &Dest) -> bool {
    let active = |d: &Dest| i64::from(farm.active(d.id));
    active(dest) > i64::from(dest.weight) && farm.list.iter().any(|d| active(d) * 2 < i64::from(d.weight))
}

fn average(farm: &Farm) -> u64 {
    let all = || farm.list.iter().filter(|d| eligible(farm, d)).map(|d| d.id);
    let traffic: u64 = all().map(|id| farm.traffic(id)).sum();
    let connections: u64 = all().map(|id| u64::from(farm.active(id) + farm.inactive(id))).sum();
    (traffic / connections.max(1)).max(1)
}

fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

fn fold(addr: IpAddr) -> u32 {
    let words = |octets: &[u8]| {
        octets.chunks(4).map(|w| u32::from_be_bytes(w.try_into().unwrap())).fold(0, |a, b| a ^ b)
    };
    match addr {
        IpAddr::V4(addr) => words(&addr.octets()),
        IpAddr::V6(addr) => words(&addr.octets()),
    }
}

fn bucket(word: u32) -> usize {
    ((u64::from(word) * 0x61C8_8647 % (1 << 32)) >> 24) as usize
}

fn siphash(key: u64, word: u32) -> u64 {
    let mut v0 = key ^ 0x736F_6D65_7073_6575;
    let mut v1 = key ^ 0x646F_7261_6E64_6F6D;
    let mut v2 = key ^ 0x6C79_6765_6E65_7261;
    let mut v3 = key ^ 0x7465_6462_7974_6573;
    let block = (4_u64 << 56) + u64::from(word);
    v3 ^= block;
    for round in 0..4 {
        if round == 1 {
            v0 ^= block;
            v2 ^= 0xFF;
        }
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
    }
    (v0 ^ v1 ^ v2 ^ v3) & 0xFFFF_FFFF
}

const K1: u64 = 2_654_435_761;
const K2: u64 = 2_654_446_892;
