//! The sets of servers that `lblcr` keeps for addresses.

use alloc::vec::Vec;

use crate::Plan;
use crate::server::Server;

/// A set of servers, the most recent first; its members are in a [`Members`].
#[derive(Debug)]
pub(crate) struct Set {
    first: Link,
    len: usize,
    /// When a server last joined or left, milliseconds.
    modified: u64,
}

/// The members of all sets of a cache, in memory reserved at the start.
///
/// Linux: `net/netfilter/ipvs/ip_vs_lblcr.c: struct ip_vs_dest_set_elem`.
#[derive(Debug)]
pub(crate) struct Members {
    slots: Vec<Member>,
    free: Link,
}

#[derive(Debug)]
struct Member {
    server: Server,
    next: Link,
}

/// An index into the slots, plus 1; 0 ends a list.
type Link = u32;

impl Set {
    pub(crate) const fn new(now: u64) -> Self {
        Self { first: 0, len: 0, modified: now }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn modified(&self) -> u64 {
        self.modified
    }
}

impl Members {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::with_capacity(LIMIT), free: 0 }
    }

    /// Puts `server` at the front of `set`, unless it is in it already or there is no more room.
    ///
    /// As in Linux, servers that are gone stay in their sets: they may come back. Sets must not
    /// grow without end. So when a set holds many servers that are gone, they leave as soon as
    /// another joins.
    pub(crate) fn insert(&mut self, set: &mut Set, server: Server, plan: &Plan, now: u64) {
        if set.len() >= plan.dests().len() + MANY_GONE {
            self.retain(set, |member| member.find(plan).is_some());
        }
        if self.of(set).any(|member| member == server) {
            return;
        }
        let member = Member { server, next: set.first };
        if let Some(slot) = index(self.free).and_then(|at| self.slots.get_mut(at)) {
            set.first = self.free;
            self.free = slot.next;
            *slot = member;
        } else if self.slots.len() < LIMIT {
            self.slots.push(member);
            set.first = self.slots.len() as Link;
        } else {
            return;
        }
        set.len += 1;
        set.modified = now;
    }

    /// Takes `server` out of `set`.
    pub(crate) fn remove(&mut self, set: &mut Set, server: Server, now: u64) {
        self.retain(set, |member| member != server);
        set.modified = now;
    }

    /// Frees the members of a set that is dropped.
    pub(crate) fn release(&mut self, mut set: Set) {
        self.retain(&mut set, |_| false);
    }

    /// The members of `set`.
    pub(crate) fn of(&self, set: &Set) -> impl Iterator<Item = Server> {
        let mut link = set.first;
        core::iter::from_fn(move || {
            let member = self.slots.get(index(link)?)?;
            link = member.next;
            Some(member.server)
        })
    }

    fn retain(&mut self, set: &mut Set, stays: impl Fn(Server) -> bool) {
        let mut link = set.first;
        let mut last: Option<usize> = None;
        while let Some((at, member)) = index(link).and_then(|at| Some((at, self.slots.get_mut(at)?))) {
            let next = member.next;
            if stays(member.server) {
                last = Some(at);
            } else {
                member.next = self.free;
                self.free = link;
                set.len = set.len.saturating_sub(1);
                match last.and_then(|at| self.slots.get_mut(at)) {
                    Some(before) => before.next = next,
                    None => set.first = next,
                }
            }
            link = next;
        }
    }
}

const fn index(link: Link) -> Option<usize> {
    (link as usize).checked_sub(1)
}

/// How many servers that are gone a set may hold.
const MANY_GONE: usize = 16;
/// On average two for each address of a full cache.
const LIMIT: usize = crate::cache::LIMIT * 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flags;
    use crate::Kind;
    use crate::testing;

    #[test]
    fn sets_do_not_mix_and_give_back_what_they_had() {
        let dests: Vec<crate::Dest> = (0..8).map(|id| testing::dest(id, 1)).collect();
        let plan = Plan::build(Kind::Lblcr, Flags::NONE, dests.clone()).unwrap();
        let server = |id: usize| Server::of(&dests[id]);
        let mut members = Members::new();
        let (mut one, mut two) = (Set::new(0), Set::new(0));
        for id in [0, 1, 2, 1] {
            members.insert(&mut one, server(id), &plan, 1);
            members.insert(&mut two, server(id + 4), &plan, 1);
        }
        members.insert(&mut one, server(0), &plan, 9);
        assert_eq!(one.modified(), 1);
        members.remove(&mut one, server(1), 2);
        assert_eq!((one.len(), two.len(), one.modified()), (2, 3, 2));
        assert_eq!(members.of(&one).collect::<Vec<_>>(), [server(2), server(0)]);
        assert_eq!(members.of(&two).collect::<Vec<_>>(), [server(6), server(5), server(4)]);
        members.release(two);
        for id in [4, 5, 6, 7] {
            members.insert(&mut one, server(id), &plan, 3);
        }
        assert_eq!(one.len(), 6);
        assert_eq!(members.slots.len(), 6);
    }

    #[test]
    fn servers_that_are_gone_stay_until_they_are_many() {
        let dests: Vec<crate::Dest> = (0..22).map(|id| testing::dest(id, 1)).collect();
        let plan = Plan::build(Kind::Lblcr, Flags::NONE, dests.clone()).unwrap();
        let mut members = Members::new();
        let mut set = Set::new(0);
        let (front, left) = dests.split_at(18);
        for dest in &front[..2] {
            members.insert(&mut set, Server::of(dest), &plan, 0);
        }
        let plan = Plan::build(Kind::Lblcr, Flags::NONE, left.to_vec()).unwrap();
        members.insert(&mut set, Server::of(&left[0]), &plan, 0);
        assert_eq!(set.len(), 3, "they may come back");
        for dest in &front[2..] {
            members.insert(&mut set, Server::of(dest), &plan, 0);
        }
        members.insert(&mut set, Server::of(&left[1]), &plan, 0);
        members.insert(&mut set, Server::of(&left[2]), &plan, 0);
        assert_eq!(
            members.of(&set).collect::<Vec<_>>(),
            [Server::of(&left[2]), Server::of(&left[1]), Server::of(&left[0])]
        );
    }
}
