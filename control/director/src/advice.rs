//! Rules that were probably not meant so. They are accepted, as Linux accepts them, and the
//! operator is told.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lvs::ipvs::{Numeric, format};
use model::{Change, ForwardingMethod, MarkRule, MarkTarget, Model, Service, ServiceFlags, ServiceKey};

use crate::compile::Director;

impl Director {
    /// What an operator should know of the rules, one sentence for each point. There are few
    /// sentences, however many rules there are.
    pub fn advice(&self) -> Vec<String> {
        let services = || self.model().services().map(|(_, service)| service);
        let keys = |wanted: &dyn Fn(&Service) -> bool| {
            let found = services().filter(|service| wanted(service));
            some(&found.map(|service| service.spec.key.to_string()).collect::<Vec<_>>())
        };
        let reachable = reachable_marks(self.marks());
        let unmarked = |service: &Service| {
            matches!(service.spec.key, ServiceKey::Mark { mark, .. }
                if reachable.as_ref().is_some_and(|marks| !marks.contains(&mark)))
        };
        let vips: BTreeSet<_> =
            services().filter_map(|service| self.unowned(vip(&service.spec.key)?)).collect();
        let lips = services().flat_map(|service| service.local_addresses.iter().copied());
        let lips: BTreeSet<_> = lips.filter_map(|addr| self.unowned(addr)).collect();
        let listed = |addrs: BTreeSet<IpAddr>| some(&addrs.iter().map(IpAddr::to_string).collect::<Vec<_>>());
        let notes = [
            keys(&|service| lacks_local(self.model(), service)).map(|keys| {
                format!(
                    "{keys}: destinations by FULLNAT, but no local address to send from, so their packets are dropped \
                     (no_local_port): add one with `ipvsadm -P`"
                )
            }),
            keys(&|service| is_hopeless(self.model(), service)).map(|keys| {
                format!(
                    "{keys}: one-packet scheduling (-o) cannot work with FULLNAT, so all datagrams are dropped (no_local_port)"
                )
            }),
            keys(&unmarked).map(|keys| {
                format!("{keys}: no rule gives a packet this mark, so the service gets no packets: see `vipline mark -L`")
            }),
            listed(vips).map(|vips| {
                format!(
                    "{vips}: virtual, but on no interface, so nobody answers ARP for them: put them on a host interface; \
                     only a standby director, or one to which a router sends their packets, works without that"
                )
            }),
            listed(lips).map(|lips| {
                format!(
                    "{lips}: local addresses on no interface, so real servers cannot answer: put them on a host interface"
                )
            }),
        ];
        notes.into_iter().flatten().collect()
    }

    /// What the operator should be told at once about this change, which was just made.
    pub(crate) fn advice_on(&self, change: &Change) -> Vec<String> {
        let (Change::AddDestination(key, _)
        | Change::EditDestination(key, _)
        | Change::DeleteLocalAddress(key, _)
        | Change::EditService(model::ServiceSpec { key, .. })) = change
        else {
            return Vec::new();
        };
        let model = self.model();
        let Some(service) = model.find(key).and_then(|id| model.service(id)) else { return Vec::new() };
        let option = format::option(key, &Numeric);
        let mut said = Vec::new();
        if concerns_fullnat(change) && lacks_local(model, service) {
            said.push(format!(
                "Warning: {option} has no local address, and FULLNAT needs one: packets are dropped until \
                 `ipvsadm -P {option} -z ADDRESS`"
            ));
        }
        if concerns_fullnat(change) && is_hopeless(model, service) {
            said.push(format!(
                "Warning: {option} is a one-packet service, which FULLNAT cannot serve: packets are dropped"
            ));
        }
        said
    }

    /// Whether any service is by firewall mark.
    pub fn uses_marks(&self) -> bool {
        self.model().services().any(|(_, service)| matches!(service.spec.key, ServiceKey::Mark { .. }))
    }

    /// The address, if no interface has it.
    fn unowned(&self, addr: IpAddr) -> Option<IpAddr> {
        (!self.model().host().local.contains(&addr)).then_some(addr)
    }
}

/// Whether this change may be the reason why FULLNAT lacks something. Changes of destinations with
/// other methods are not.
fn concerns_fullnat(change: &Change) -> bool {
    match change {
        Change::AddDestination(_, spec) | Change::EditDestination(_, spec) => {
            spec.method == ForwardingMethod::FullNat
        }
        _ => true,
    }
}

fn has_fullnat(model: &Model, service: &Service) -> bool {
    model.destinations(service).any(|(_, dest)| dest.spec.method == ForwardingMethod::FullNat)
}

fn lacks_local(model: &Model, service: &Service) -> bool {
    service.local_addresses.is_empty() && has_fullnat(model, service)
}

fn is_hopeless(model: &Model, service: &Service) -> bool {
    service.spec.flags.contains(ServiceFlags::ONE_PACKET) && has_fullnat(model, service)
}

const fn vip(key: &ServiceKey) -> Option<IpAddr> {
    match key {
        ServiceKey::Address { addr, .. } => Some(*addr),
        ServiceKey::Mark { .. } => None,
    }
}

/// The marks that packets may have once all rules were applied, if the conditions of the rules are
/// ignored. `None` when there are too many marks to list.
fn reachable_marks(rules: &[MarkRule]) -> Option<BTreeSet<u32>> {
    let mut marks = BTreeSet::from([0]);
    for rule in rules {
        if let MarkTarget::Mark { value, mask } = rule.target {
            let made: Vec<_> = marks.iter().map(|mark| (mark & !mask) ^ value).collect();
            marks.extend(made);
        }
        if marks.len() > MANY {
            return None;
        }
    }
    Some(marks)
}

/// The first few names of a list, in words. `None` for an empty list.
fn some(names: &[String]) -> Option<String> {
    let few = names.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        1..=FEW => Some(few),
        all => Some(format!("{few} and {} more", all - FEW)),
    }
}

/// How many different marks are kept track of.
const MANY: usize = 4096;
/// How many names a sentence lists.
const FEW: usize = 3;
