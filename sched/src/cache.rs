//! What was chosen for each destination address: the cache of `lblc` and `lblcr`.
//!
//! Linux: `net/netfilter/ipvs/ip_vs_lblc.c: ip_vs_lblc_get, ip_vs_lblc_new,
//! ip_vs_lblc_check_expire, ip_vs_lblc_full_check` and their namesakes in `ip_vs_lblcr.c`.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What was chosen for each destination address.
///
/// All memory is reserved at the start; the system provides a page only when it is first used.
/// Entries are chained by hash inside one array; free entries have a chain of their own. Linux
/// collects garbage on a timer; here [`Cache::tick`] does it in small steps.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    /// First link of each chain.
    heads: Box<[Link]>,
    entries: Vec<Entry<T>>,
    free: Link,
    len: usize,
    sweeper: Sweeper,
}

#[derive(Debug)]
struct Entry<T> {
    target: IpAddr,
    /// When it was last asked for, milliseconds.
    used: u64,
    next: Link,
    /// `None` while free.
    value: Option<T>,
}

/// An index into the entries, plus 1; 0 ends a chain.
type Link = u32;

/// The garbage collection: a walk over all entries. Once a minute it begins, if there is a need.
#[derive(Debug)]
struct Sweeper {
    /// When to check next whether a walk is needed, milliseconds.
    due: Option<u64>,
    /// Minutes since all expired entries were dropped, plus 1.
    minutes: u32,
    /// The entry to look at next.
    rover: usize,
    /// How many entries this walk has yet to look at.
    left: usize,
    /// How many entries this walk has yet to drop.
    goal: usize,
    /// Whether the walk drops entries older than the operator's limit; otherwise it drops those
    /// that were idle for [`IDLE`].
    full: bool,
}

impl<T> Cache<T> {
    pub(crate) fn new() -> Self {
        Self {
            heads: vec![0; HEADS].into_boxed_slice(),
            entries: Vec::with_capacity(LIMIT),
            free: 0,
            len: 0,
            sweeper: Sweeper { due: None, minutes: 1, rover: 0, left: 0, goal: 0, full: false },
        }
    }

    /// Looks up what is remembered for `target`, and notes that it was asked for at `now`.
    pub(crate) fn find(&mut self, target: IpAddr, now: u64) -> Option<&mut T> {
        let mut link = *self.heads.get(chain(target))?;
        while let Some(entry) = index(link).and_then(|at| self.entries.get(at)) {
            if entry.target == target {
                break;
            }
            link = entry.next;
        }
        let entry = self.entries.get_mut(index(link)?)?;
        entry.used = now;
        entry.value.as_mut()
    }

    /// Remembers `value` for `target`, which must not have an entry yet. Without room, returns
    /// `value`.
    pub(crate) fn insert(&mut self, target: IpAddr, now: u64, value: T) -> Result<(), T> {
        let Some(head) = self.heads.get_mut(chain(target)) else { return Err(value) };
        let entry = Entry { target, used: now, next: *head, value: Some(value) };
        if let Some(slot) = index(self.free).and_then(|at| self.entries.get_mut(at)) {
            *head = self.free;
            self.free = slot.next;
            *slot = entry;
        } else if self.entries.len() < LIMIT {
            self.entries.push(entry);
            *head = self.entries.len() as Link;
        } else {
            return entry.value.map_or(Ok(()), Err);
        }
        self.len += 1;
        Ok(())
    }

    /// Does a small part of the garbage collection, if it is due; `dropped` gets each dropped
    /// value.
    pub(crate) fn tick(&mut self, now: u64, expiration: u64, mut dropped: impl FnMut(T)) {
        self.begin(now);
        let mut drops = DROPS_A_TICK;
        for _ in 0..ENTRIES_A_TICK {
            let Sweeper { left, goal, full, .. } = self.sweeper;
            if left == 0 || goal == 0 || drops == 0 {
                break;
            }
            let at = if self.sweeper.rover < self.entries.len() { self.sweeper.rover } else { 0 };
            self.sweeper.rover = at + 1;
            self.sweeper.left -= 1;
            let idle = if full { expiration } else { IDLE };
            if let Some(value) = self.take_if_idle(at, now, idle) {
                dropped(value);
                self.sweeper.goal -= 1;
                drops -= 1;
            }
        }
        if self.sweeper.goal == 0 {
            self.sweeper.left = 0;
        }
    }

    /// Begins a walk, if it is due and needed and no walk is under way.
    fn begin(&mut self, now: u64) {
        let sweeper = &mut self.sweeper;
        let due = *sweeper.due.get_or_insert(now.saturating_add(INTERVAL));
        if now < due || sweeper.left > 0 {
            return;
        }
        sweeper.due = Some(now.saturating_add(INTERVAL));
        if sweeper.minutes.is_multiple_of(FULL_EVERY) {
            sweeper.minutes = 1;
            (sweeper.left, sweeper.goal, sweeper.full) = (self.entries.len(), usize::MAX, true);
        } else if self.len <= ENOUGH {
            sweeper.minutes += 1;
        } else {
            let goal = ((self.len - ENOUGH) * 4 / 3).min(ENOUGH / 2);
            (sweeper.left, sweeper.goal, sweeper.full) = (self.entries.len(), goal, false);
        }
    }

    fn take_if_idle(&mut self, at: usize, now: u64, idle: u64) -> Option<T> {
        let entry = self.entries.get_mut(at)?;
        if now < entry.used.saturating_add(idle) {
            return None;
        }
        let value = entry.value.take()?;
        let (target, next) = (entry.target, entry.next);
        entry.next = self.free;
        self.unlink(at, target, next);
        self.free = at as Link + 1;
        self.len -= 1;
        Some(value)
    }

    /// Takes entry `at` out of its chain: the link to it becomes `next`.
    fn unlink(&mut self, at: usize, target: IpAddr, next: Link) {
        let Some(mut link) = self.heads.get_mut(chain(target)) else { return };
        while let Some(pointed) = index(*link) {
            if pointed == at {
                *link = next;
                return;
            }
            let Some(entry) = self.entries.get_mut(pointed) else { return };
            link = &mut entry.next;
        }
    }
}

const fn index(link: Link) -> Option<usize> {
    (link as usize).checked_sub(1)
}

/// Which chain a target belongs to. Linux uses fewer chains; the chain of a target has no visible
/// effect.
fn chain(target: IpAddr) -> usize {
    let word = match target {
        IpAddr::V4(addr) => u64::from(addr.to_bits()),
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            ((bits >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(32) ^ bits as u64
        }
    };
    let mixed = (word ^ (word >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - HEADS.trailing_zeros())) as usize
}

const HEADS: usize = 16_384;
/// With up to this many entries, only expired ones are dropped (Linux: `IP_VS_LBLC_TAB_SIZE * 16`).
const ENOUGH: usize = 16_384;
/// The most entries there may be.
pub(crate) const LIMIT: usize = ENOUGH * 3 / 2;
/// Milliseconds from one check to the next (Linux: `CHECK_EXPIRE_INTERVAL`).
const INTERVAL: u64 = 60_000;
/// Milliseconds after which an unused entry may be dropped if there are many (Linux:
/// `ENTRY_TIMEOUT`).
const IDLE: u64 = 360_000;
/// After this many checks, all expired entries are dropped (Linux: `COUNT_FOR_FULL_EXPIRATION`).
const FULL_EVERY: u32 = 30;
/// The most that a tick does: entries it looks at (neighbours in memory), and entries it drops
/// (their chains lie anywhere in memory).
const ENTRIES_A_TICK: usize = 512;
const DROPS_A_TICK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;

    const MINUTE: u64 = 60_000;
    const DAY: u64 = 86_400_000;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(n))
    }

    /// Ticks until the walk is over.
    fn sweep<T>(cache: &mut Cache<T>, now: u64, expiration: u64) -> usize {
        let before = cache.len;
        cache.tick(now, expiration, drop);
        while cache.sweeper.left > 0 {
            cache.tick(now, expiration, drop);
        }
        before - cache.len
    }

    #[test]
    fn families_are_kept_apart() {
        let mut cache = Cache::new();
        cache.insert(v4(7), 0, 4).unwrap();
        cache.insert(IpAddr::V6(Ipv6Addr::from(7_u128)), 0, 6).unwrap();
        assert_eq!(cache.find(v4(7), 0), Some(&mut 4));
        assert_eq!(cache.find(IpAddr::V6(Ipv6Addr::from(7_u128)), 0), Some(&mut 6));
        assert_eq!(cache.find(v4(8), 0), None);
    }

    #[test]
    fn no_more_than_the_limit_and_never_an_allocation() {
        let mut cache = Cache::new();
        let reserved = cache.entries.capacity();
        for n in 0..LIMIT as u32 {
            cache.insert(v4(n), 0, n).unwrap();
        }
        assert_eq!(cache.insert(v4(LIMIT as u32), 0, 1), Err(1));
        assert_eq!(cache.entries.capacity(), reserved);
        for n in 0..LIMIT as u32 {
            assert_eq!(cache.find(v4(n), 0), Some(&mut { n }));
        }
    }

    #[test]
    fn expired_entries_go_every_half_hour() {
        let mut cache = Cache::new();
        for n in 0..1000 {
            cache.insert(v4(n), 0, n).unwrap();
        }
        let gone: Vec<u64> =
            (0..=90).filter(|minute| sweep(&mut cache, minute * MINUTE, 40 * MINUTE) > 0).collect();
        assert_eq!(gone, [60]);
        assert_eq!(cache.len, 0);
        assert_eq!(cache.find(v4(1), 0), None);
    }

    #[test]
    fn too_many_entries_shrink_by_the_idle_ones() {
        let mut cache = Cache::new();
        sweep(&mut cache, 0, DAY);
        for n in 0..20_000 {
            cache.insert(v4(n), 0, n).unwrap();
        }
        assert_eq!(sweep(&mut cache, MINUTE, DAY), 0, "none idle for six minutes");
        assert_eq!(sweep(&mut cache, 7 * MINUTE, DAY), (20_000 - 16_384) * 4 / 3);
        assert_eq!(sweep(&mut cache, 8 * MINUTE, DAY), 0, "few enough");
    }

    #[test]
    fn a_tick_does_little() {
        let mut cache = Cache::new();
        cache.tick(0, 0, drop);
        for n in 0..LIMIT as u32 {
            cache.insert(v4(n), 0, n).unwrap();
        }
        let mut ticks = 0;
        while cache.len > ENOUGH {
            let before = cache.len;
            cache.tick(10 * MINUTE, DAY, drop);
            assert!(before - cache.len <= DROPS_A_TICK);
            ticks += 1;
        }
        assert!(ticks >= 128);
    }

    #[test]
    fn agrees_with_a_map_under_random_use() {
        let mut random = crate::XorShift::new(3);
        let mut draw = |max| crate::Random::below_inclusive(&mut random, max);
        let (mut cache, mut map) = (Cache::new(), HashMap::new());
        for step in 0..200_000_u64 {
            let now = step * 20;
            let target = v4(draw(3000) as u32);
            match cache.find(target, now).copied() {
                found @ Some(_) => {
                    assert_eq!(found, map.get(&target).map(|&(value, _)| value));
                    map.insert(target, (found.unwrap(), now));
                }
                None => {
                    assert!(!map.contains_key(&target));
                    cache.insert(target, now, step).unwrap();
                    map.insert(target, (step, now));
                }
            }
            if draw(10) == 0 {
                cache.tick(now, 50_000, |gone| {
                    let (target, used) =
                        map.iter().find(|(_, (value, _))| *value == gone).map(|(t, v)| (*t, v.1)).unwrap();
                    assert!(used + 50_000 <= now);
                    map.remove(&target);
                });
            }
            assert_eq!(cache.len, map.len());
        }
    }
}
