//! Deleted destinations that connections may still name. They are found by their service and
//! address (`net/netfilter/ipvs/ip_vs_ctl.c: ip_vs_trash_get_dest`).

use std::collections::HashMap;

use sched::DestId;

use super::destination::DestKey;
use super::service::{Family, ServiceKey};

#[derive(Clone, Debug, Default)]
pub(super) struct Trash {
    by_identity: HashMap<Identity, DestId>,
    by_slot: HashMap<DestId, Identity>,
}

/// A destination with the same identity as a deleted one is the same destination. For a mark, Linux
/// compares the number but not the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    service: ServiceKey,
    dest: DestKey,
}

impl Identity {
    fn new(service: ServiceKey, dest: DestKey) -> Self {
        let service = match service {
            ServiceKey::Mark { mark, .. } => ServiceKey::Mark { mark, family: Family::V4 },
            address => address,
        };
        Self { service, dest }
    }
}

impl Trash {
    /// Puts a deleted destination into the trash. An older one with the same identity (the same
    /// mark in the other family) can no longer be revived.
    pub(super) fn put(&mut self, service: ServiceKey, dest: DestKey, slot: DestId) {
        let identity = Identity::new(service, dest);
        self.by_identity.insert(identity, slot);
        self.by_slot.insert(slot, identity);
    }

    /// Takes the destination with this identity out again.
    pub(super) fn revive(&mut self, service: ServiceKey, dest: DestKey) -> Option<DestId> {
        let slot = self.by_identity.remove(&Identity::new(service, dest))?;
        self.by_slot.remove(&slot);
        Some(slot)
    }

    /// Forgets a destination. Returns `false` if it was not here.
    pub(super) fn forget(&mut self, slot: DestId) -> bool {
        let Some(identity) = self.by_slot.remove(&slot) else { return false };
        if self.by_identity.get(&identity) == Some(&slot) {
            self.by_identity.remove(&identity);
        }
        true
    }

    pub(super) fn holds(&self, service: ServiceKey, dest: DestKey) -> bool {
        self.by_identity.contains_key(&Identity::new(service, dest))
    }

    pub(super) fn len(&self) -> usize {
        self.by_slot.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = DestId> {
        self.by_slot.keys().copied()
    }
}
