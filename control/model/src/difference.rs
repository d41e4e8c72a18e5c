//! The changes that turn one set of rules into another. What both have stays untouched, with its
//! connections and counters.

use std::collections::HashSet;

use super::change::Change;
use super::destination::{DestKey, DestSpec};
use super::rules::{Model, Service};
use super::service::{PersistenceMask, ServiceFlags, ServiceKey, ServiceSpec};

impl Model {
    /// The changes that give this model the rules, timeouts and tunables of `wanted`, in an order
    /// in which they can be applied. The order of destinations that both have is not changed.
    pub fn changes_to(&self, wanted: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (_, service) in self.services() {
            if wanted.find(&service.spec.key).is_none() {
                changes.push(Change::DeleteService(service.spec.key));
            }
        }
        for (_, service) in wanted.services() {
            let own = self.find(&service.spec.key).and_then(|id| self.service(id));
            match own {
                Some(own) => self.service_changes(own, wanted, service, &mut changes),
                None => {
                    changes.push(Change::AddService(service.spec.clone()));
                    add(&service.spec.key, &service.local_addresses, wanted.specs(service), &mut changes);
                }
            }
        }
        if self.timeouts() != wanted.timeouts() {
            changes.push(Change::SetTimeouts(wanted.timeouts()));
        }
        for ((_, own), (tunable, value)) in self.tunables().iter().zip(wanted.tunables().iter()) {
            if own != value {
                changes.push(Change::SetTunable(tunable.name.to_owned(), value));
            }
        }
        changes
    }

    /// The changes of a service that both have. Destinations are deleted before the service is
    /// edited, because a new scheduler may not take so many. They are added after it, because the
    /// old one may not.
    fn service_changes(&self, own: &Service, wanted: &Self, service: &Service, changes: &mut Vec<Change>) {
        let key = own.spec.key;
        let kept: HashSet<DestKey> = wanted.specs(service).map(|spec| spec.key).collect();
        for spec in self.specs(own).filter(|spec| !kept.contains(&spec.key)) {
            changes.push(Change::DeleteDestination(key, spec.key));
        }
        if effective(&own.spec) != effective(&service.spec) {
            changes.push(Change::EditService(service.spec.clone()));
        }
        let (mut edits, mut new) = (Vec::new(), Vec::new());
        let id = self.find(&key);
        for spec in wanted.specs(service) {
            let own =
                id.and_then(|id| self.find_destination(id, spec.key)).and_then(|id| self.destination(id));
            match own {
                Some(own) if own.spec == spec => {}
                Some(_) => edits.push(Change::EditDestination(key, spec)),
                None => new.push(spec),
            }
        }
        let fresh: Vec<_> = service
            .local_addresses
            .iter()
            .filter(|addr| !own.local_addresses.contains(addr))
            .copied()
            .collect();
        changes.append(&mut edits);
        add(&key, &fresh, new.into_iter(), changes);
        for addr in own.local_addresses.iter().filter(|addr| !service.local_addresses.contains(addr)) {
            changes.push(Change::DeleteLocalAddress(key, *addr));
        }
    }

    /// A service's destinations, the oldest first.
    fn specs(&self, service: &Service) -> impl Iterator<Item = DestSpec> {
        let newest_first: Vec<_> = self.destinations(service).map(|(_, dest)| dest.spec).collect();
        newest_first.into_iter().rev()
    }
}

fn add(
    key: &ServiceKey,
    locals: &[std::net::IpAddr],
    dests: impl Iterator<Item = DestSpec>,
    changes: &mut Vec<Change>,
) {
    changes.extend(locals.iter().map(|addr| Change::AddLocalAddress(*key, *addr)));
    changes.extend(dests.map(|spec| Change::AddDestination(*key, spec)));
}

/// The settings that have an effect: timeout and mask have none without persistence.
fn effective(spec: &ServiceSpec) -> ServiceSpec {
    if spec.flags.contains(ServiceFlags::PERSISTENT) {
        return spec.clone();
    }
    ServiceSpec { timeout: 0, netmask: PersistenceMask::host(spec.key.family()), ..spec.clone() }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::{ForwardingMethod, ModelOptions, Timeouts};

    fn addr(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    fn key(number: u8) -> ServiceKey {
        ServiceKey::tcp(addr(100), u16::from(number) + 1)
    }

    fn change() -> impl Strategy<Value = Change> {
        let service = (0u8..3, 0u8..3, any::<bool>()).prop_map(|(number, scheduler, persistent)| {
            let spec = ServiceSpec::new(key(number), ["rr", "wlc", "mh"][usize::from(scheduler)]);
            if persistent { spec.persistent(60) } else { spec }
        });
        let dest = (0u8..4, 0i32..3).prop_map(|(last, weight)| {
            DestSpec::new(DestKey::new(addr(last + 1), 80), ForwardingMethod::Masquerade, weight)
        });
        prop_oneof![
            4 => service.prop_map(Change::AddService),
            1 => (0u8..3).prop_map(|number| Change::DeleteService(key(number))),
            8 => (0u8..3, dest).prop_map(|(number, spec)| Change::AddDestination(key(number), spec)),
            2 => (0u8..3, 200u8..203).prop_map(|(number, last)| Change::AddLocalAddress(key(number), addr(last))),
            1 => (1u32..3).prop_map(|tcp| Change::SetTimeouts(Timeouts { tcp, ..Timeouts::default() })),
            1 => (0i32..2).prop_map(|on| Change::SetTunable("sloppy_tcp".to_owned(), on.to_string())),
        ]
    }

    fn model(changes: Vec<Change>) -> Model {
        let mut model = Model::new(ModelOptions::all());
        for change in changes {
            let _ = model.apply(change);
        }
        model
    }

    proptest! {
        #[test]
        fn the_changes_lead_from_any_rules_to_any_others(from in vec(change(), 0..40), to in vec(change(), 0..40)) {
            let (mut from, to) = (model(from), model(to));
            let changes = from.changes_to(&to);
            prop_assert_eq!(from.apply_all(changes).err(), None);
            prop_assert_eq!(from.changes_to(&to), vec![]);
            prop_assert_eq!(to.changes_to(&from), vec![]);
        }
    }

    #[test]
    fn a_destination_that_stays_is_not_touched() {
        let dest = |last, weight| {
            let key = DestKey::new(addr(last), 80);
            DestSpec::new(key, ForwardingMethod::Masquerade, weight)
        };
        let with = |dests: &[DestSpec]| {
            let added = dests.iter().map(|spec| Change::AddDestination(key(0), *spec));
            model(std::iter::once(Change::AddService(ServiceSpec::new(key(0), "rr"))).chain(added).collect())
        };
        let from = with(&[dest(1, 1), dest(2, 1), dest(3, 1)]);
        let to = with(&[dest(4, 1), dest(3, 1), dest(2, 5)]);
        assert_eq!(
            from.changes_to(&to),
            [
                Change::DeleteDestination(key(0), dest(1, 1).key),
                Change::EditDestination(key(0), dest(2, 5)),
                Change::AddDestination(key(0), dest(4, 1)),
            ]
        );
    }

    #[test]
    fn a_timeout_without_persistence_is_no_difference() {
        let with = |timeout| {
            model(vec![Change::AddService(ServiceSpec { timeout, ..ServiceSpec::new(key(0), "rr") })])
        };
        assert_eq!(with(0).changes_to(&with(300)), []);
    }
}
