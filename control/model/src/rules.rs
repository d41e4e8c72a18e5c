//! The model itself: services, their destinations and local addresses, and how a change is applied.
//! Checks come in the order of `net/netfilter/ipvs/ip_vs_ctl.c`. So if there are several reasons to
//! refuse, the error is the one that Linux would give.

use std::collections::HashMap;
use std::net::IpAddr;

use sched::{DestId, Kind};

use super::capabilities::{HostAddresses, ModelOptions};
use super::change::{Applied, BatchError, Change, Origin, RemovedService};
use super::destination::{DestKey, DestSpec, ForwardingMethod, TunnelKind};
use super::error::{Feature, Invalid, ModelError, Table};
use super::service::{Family, PersistenceMask, ServiceKey, ServiceSlot, ServiceSpec};
use super::slab::Slab;
use super::timeouts::Timeouts;
use super::trash::Trash;
use super::tunables::Tunables;

/// All rules of the director.
#[derive(Clone, Debug)]
pub struct Model {
    options: ModelOptions,
    host: HostAddresses,
    timeouts: Timeouts,
    tunables: Tunables,
    services: Slab<Service>,
    service_slots: HashMap<ServiceKey, ServiceSlot>,
    destinations: Slab<Destination>,
    destination_slots: HashMap<(ServiceSlot, DestKey), DestId>,
    trash: Trash,
    /// How many services were ever added; it gives each a number.
    born: u64,
}

/// One service and what belongs to it.
#[derive(Clone, Debug)]
pub struct Service {
    /// The user's settings.
    pub spec: ServiceSpec,
    /// Its destinations in Linux's order: the newest first.
    pub destinations: Vec<DestId>,
    /// Its local addresses (LIPs) for FULLNAT, in the order in which they were added.
    pub local_addresses: Vec<IpAddr>,
    /// Distinguishes the service from an earlier one with the same key.
    birth: u64,
}

/// One destination, in a service or in the trash.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The service it belongs to, or last belonged to.
    pub service: ServiceSlot,
    /// The user's settings.
    pub spec: DestSpec,
    /// The last weight that was not 0.
    pub last_weight: i32,
    birth: u64,
}

impl Destination {
    /// The destination as schedulers see it.
    pub fn for_scheduler(&self, id: DestId) -> sched::Dest {
        let DestSpec { key: DestKey { addr, port }, weight, .. } = self.spec;
        sched::Dest { id, addr, port, weight, last_weight: self.last_weight }
    }
}

impl Model {
    /// A model without rules.
    pub fn new(options: ModelOptions) -> Self {
        let limits = options.limits;
        Self {
            tunables: Tunables::new(options.memory_pages),
            options,
            host: HostAddresses::default(),
            timeouts: Timeouts::default(),
            services: Slab::new(limits.services),
            service_slots: HashMap::new(),
            destinations: Slab::new(limits.destinations),
            destination_slots: HashMap::new(),
            trash: Trash::default(),
            born: 0,
        }
    }

    /// A model without services, with the options, addresses, timeouts and tunables of this one.
    #[must_use]
    pub fn without_services(&self) -> Self {
        let empty = Self::new(self.options.clone());
        Self { host: self.host.clone(), timeouts: self.timeouts, tunables: self.tunables.clone(), ..empty }
    }

    /// Applies one change. If it refuses, nothing has changed.
    pub fn apply(&mut self, change: Change) -> Result<Applied, ModelError> {
        match change {
            Change::AddService(spec) => self.add_service(spec),
            Change::EditService(spec) => self.edit_service(spec),
            Change::DeleteService(key) => {
                let id = self.require(&key)?;
                self.remove_service(id).map(Applied::ServiceRemoved).ok_or(ModelError::NoService)
            }
            Change::Flush => Ok(self.flush()),
            Change::AddDestination(key, spec) => self.add_destination(&key, spec),
            Change::EditDestination(key, spec) => self.edit_destination(&key, spec),
            Change::DeleteDestination(key, dest) => self.delete_destination(&key, dest),
            Change::AddLocalAddress(key, addr) => self.add_local_address(&key, addr),
            Change::DeleteLocalAddress(key, addr) => self.delete_local_address(&key, addr),
            Change::SetTimeouts(timeouts) => {
                self.timeouts = self.timeouts.set(timeouts)?;
                Ok(Applied::TimeoutsSet(self.timeouts))
            }
            Change::SetTunable(name, value) => {
                self.tunables.set(&name, &value)?;
                Ok(Applied::TunableSet)
            }
        }
    }

    /// Applies all changes in order; if one is refused, applies none.
    pub fn apply_all(&mut self, changes: Vec<Change>) -> Result<Vec<Applied>, BatchError> {
        let before = (changes.len() > 1).then(|| self.clone());
        let mut applied = Vec::with_capacity(changes.len());
        for (index, change) in changes.into_iter().enumerate() {
            match self.apply(change) {
                Ok(done) => applied.push(done),
                Err(error) => {
                    if let Some(before) = before {
                        *self = before;
                    }
                    return Err(BatchError { index, error });
                }
            }
        }
        Ok(applied)
    }

    /// Frees the slot of a destination in the trash. The owner must know that no connection and no
    /// snapshot names it. Returns `false` and does nothing if the destination is not in the trash.
    pub fn reclaim(&mut self, dest: DestId) -> bool {
        self.trash.forget(dest)
            && self.destinations.retire(dest.as_u32()).is_some()
            && self.destinations.release(dest.as_u32())
    }

    /// Frees the slot of a removed service. The owner must know that no snapshot names it. Returns
    /// `false` and does nothing if there is no such slot.
    pub fn reclaim_service(&mut self, service: ServiceSlot) -> bool {
        self.services.release(service.as_u32())
    }

    /// Sets what Linux knows about addresses. As in Linux, existing destinations stay as they are
    /// until they are edited.
    pub fn set_host_addresses(&mut self, host: HostAddresses) {
        self.host = host;
    }

    /// What Linux knows about addresses.
    pub fn host(&self) -> &HostAddresses {
        &self.host
    }

    /// The slot of the service with this key.
    pub fn find(&self, key: &ServiceKey) -> Option<ServiceSlot> {
        self.service_slots.get(key).copied()
    }

    /// The slot of a service's destination.
    pub fn find_destination(&self, service: ServiceSlot, dest: DestKey) -> Option<DestId> {
        self.destination_slots.get(&(service, dest)).copied()
    }

    /// A service by its slot.
    pub fn service(&self, id: ServiceSlot) -> Option<&Service> {
        self.services.get(id.as_u32())
    }

    /// A destination by its slot, live or in the trash.
    pub fn destination(&self, id: DestId) -> Option<&Destination> {
        self.destinations.get(id.as_u32())
    }

    /// All services, in slot order.
    pub fn services(&self) -> impl Iterator<Item = (ServiceSlot, &Service)> {
        self.services_from(ServiceSlot::new(0))
    }

    /// The services from a slot on, in slot order.
    pub fn services_from(&self, first: ServiceSlot) -> impl Iterator<Item = (ServiceSlot, &Service)> {
        self.services.iter_from(first.as_u32()).map(|(slot, service)| (ServiceSlot::new(slot), service))
    }

    /// A service's destinations in list order.
    pub fn destinations(&self, service: &Service) -> impl Iterator<Item = (DestId, &Destination)> {
        service.destinations.iter().filter_map(|id| Some((*id, self.destination(*id)?)))
    }

    /// The deleted destinations whose slots are not reclaimed yet, in any order.
    pub fn trash(&self) -> impl Iterator<Item = DestId> {
        self.trash.slots()
    }

    /// How many new destinations could be added now. Deleted ones that come back do not count.
    pub fn free_destinations(&self) -> usize {
        let taken = self.destination_count() + self.trash.len();
        (self.options.limits.destinations as usize).saturating_sub(taken)
    }

    /// Whether adding this destination would bring a deleted one back instead of taking a new slot.
    pub fn would_revive(&self, service: ServiceKey, dest: DestKey) -> bool {
        self.trash.holds(service, dest)
    }

    /// Whether a destination, live or deleted, belongs to this service, and not to an earlier
    /// service in the same slot.
    pub fn belongs(&self, dest: DestId, service: ServiceSlot) -> bool {
        let births = (self.destination(dest).map(|dest| (dest.service, dest.birth)), self.service(service));
        matches!(births, (Some((owner, birth)), Some(now)) if owner == service && birth == now.birth)
    }

    /// How many services there are.
    pub fn service_count(&self) -> usize {
        self.service_slots.len()
    }

    /// How many destinations there are, without the trash.
    pub fn destination_count(&self) -> usize {
        self.destination_slots.len()
    }

    /// The connection timeouts.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The tunables.
    pub fn tunables(&self) -> &Tunables {
        &self.tunables
    }

    /// The options of this model.
    pub fn options(&self) -> &ModelOptions {
        &self.options
    }

    fn add_service(&mut self, spec: ServiceSpec) -> Result<Applied, ModelError> {
        self.options.capabilities.check_key(&spec.key)?;
        if self.find(&spec.key).is_some() {
            return Err(ModelError::ServiceExists);
        }
        self.check_service(&spec)?;
        let key = spec.key;
        let birth = self.born;
        let service = Service { spec, destinations: Vec::new(), local_addresses: Vec::new(), birth };
        let slot = self.services.insert(service).ok_or(self.full(Table::Services))?;
        self.born += 1;
        let service = ServiceSlot::new(slot);
        self.service_slots.insert(key, service);
        Ok(Applied::ServiceAdded { service })
    }

    fn edit_service(&mut self, spec: ServiceSpec) -> Result<Applied, ModelError> {
        let id = self.require(&spec.key)?;
        self.check_service(&spec)?;
        self.check_table(&spec.scheduler, self.service(id).map_or(0, |service| service.destinations.len()))?;
        let service = self.services.get_mut(id.as_u32()).ok_or(ModelError::NoService)?;
        let before = std::mem::replace(&mut service.spec, spec);
        Ok(Applied::ServiceEdited { service: id, before })
    }

    fn flush(&mut self) -> Applied {
        let all: Vec<_> = self.services().map(|(id, _)| id).collect();
        Applied::Flushed(all.into_iter().filter_map(|id| self.remove_service(id)).collect())
    }

    fn remove_service(&mut self, id: ServiceSlot) -> Option<RemovedService> {
        let Service { spec, destinations, .. } = self.services.retire(id.as_u32())?;
        self.service_slots.remove(&spec.key);
        for dest in &destinations {
            if let Some(destination) = self.destinations.get(dest.as_u32()) {
                self.destination_slots.remove(&(id, destination.spec.key));
                self.trash.put(spec.key, destination.spec.key, *dest);
            }
        }
        Some(RemovedService { service: id, spec, destinations })
    }

    fn add_destination(&mut self, key: &ServiceKey, spec: DestSpec) -> Result<Applied, ModelError> {
        let id = self.require(key)?;
        check_destination(key, &spec)?;
        if self.destination_slots.contains_key(&(id, spec.key)) {
            return Err(ModelError::DestinationExists);
        }
        self.check_carried(&spec)?;
        let service = self.service(id).ok_or(ModelError::NoService)?;
        self.check_table(&service.spec.scheduler, service.destinations.len() + 1)?;
        let birth = service.birth;
        let destination = Destination { service: id, spec, last_weight: spec.weight, birth };
        let (dest, origin) = match self.trash.revive(*key, spec.key) {
            Some(dest) => (dest, self.revive(dest, destination)),
            None if !self.host.is_server(spec.key.addr) => return Err(ModelError::NotUnicast(spec.key.addr)),
            None => {
                let full = self.full(Table::Destinations);
                let slot = self.destinations.insert(destination).ok_or(full)?;
                (DestId::new(slot), Origin::New)
            }
        };
        self.destination_slots.insert((id, spec.key), dest);
        if let Some(service) = self.services.get_mut(id.as_u32()) {
            service.destinations.insert(0, dest);
        }
        Ok(Applied::DestinationAdded { service: id, dest, origin })
    }

    /// Checks that the scheduler's table is big enough for this many destinations.
    fn check_table(&self, scheduler: &str, destinations: usize) -> Result<(), ModelError> {
        let most = self.options.mh_size.most_destinations();
        let fits = scheduler != Kind::Mh.name() || destinations <= most;
        if fits { Ok(()) } else { Err(ModelError::TooManyForMh(most)) }
    }

    fn revive(&mut self, dest: DestId, destination: Destination) -> Origin {
        let Some(old) = self.destinations.get_mut(dest.as_u32()) else { return Origin::New };
        let same = old.birth == destination.birth;
        *old = destination;
        if same { Origin::Revived } else { Origin::RevivedUnderNewService }
    }

    fn edit_destination(&mut self, key: &ServiceKey, spec: DestSpec) -> Result<Applied, ModelError> {
        let service = self.require(key)?;
        check_destination(key, &spec)?;
        let dest = self.find_destination(service, spec.key).ok_or(ModelError::NoDestination)?;
        self.check_carried(&spec)?;
        let old = self.destinations.get_mut(dest.as_u32()).ok_or(ModelError::NoDestination)?;
        let before = std::mem::replace(&mut old.spec, spec);
        if spec.weight != 0 {
            old.last_weight = spec.weight;
        }
        Ok(Applied::DestinationEdited { service, dest, before })
    }

    fn delete_destination(&mut self, key: &ServiceKey, dest_key: DestKey) -> Result<Applied, ModelError> {
        let id = self.require(key)?;
        let dest = self.destination_slots.remove(&(id, dest_key)).ok_or(ModelError::NoDestination)?;
        let service = self.services.get_mut(id.as_u32()).ok_or(ModelError::NoService)?;
        let place = service.destinations.iter().position(|other| *other == dest);
        let after = place.and_then(|place| service.destinations.get(place.checked_sub(1)?)).copied();
        service.destinations.retain(|other| *other != dest);
        self.trash.put(*key, dest_key, dest);
        Ok(Applied::DestinationRemoved { service: id, dest, after })
    }

    fn add_local_address(&mut self, key: &ServiceKey, addr: IpAddr) -> Result<Applied, ModelError> {
        let id = self.require(key)?;
        self.options.capabilities.check_address(addr)?;
        if !self.options.capabilities.fullnat {
            return Err(ModelError::Unsupported(Feature::FullNat));
        }
        if Family::of(addr) != key.family() {
            return Err(ModelError::Invalid(Invalid::Family));
        }
        if !self.host.is_server(addr) || addr.is_loopback() {
            return Err(ModelError::NotUnicast(addr));
        }
        let limit = self.options.limits.local_addresses as usize;
        let full = self.full(Table::LocalAddresses);
        let service = self.services.get_mut(id.as_u32()).ok_or(ModelError::NoService)?;
        if service.local_addresses.contains(&addr) {
            return Err(ModelError::LocalAddressExists);
        }
        if service.local_addresses.len() >= limit {
            return Err(full);
        }
        service.local_addresses.push(addr);
        Ok(Applied::LocalAddressAdded { service: id, addr })
    }

    fn delete_local_address(&mut self, key: &ServiceKey, addr: IpAddr) -> Result<Applied, ModelError> {
        let id = self.require(key)?;
        let service = self.services.get_mut(id.as_u32()).ok_or(ModelError::NoService)?;
        let place = service.local_addresses.iter().position(|other| *other == addr);
        service.local_addresses.remove(place.ok_or(ModelError::NoLocalAddress)?);
        Ok(Applied::LocalAddressRemoved { service: id, addr })
    }

    fn require(&self, key: &ServiceKey) -> Result<ServiceSlot, ModelError> {
        self.find(key).ok_or(ModelError::NoService)
    }

    /// The error if a table is full.
    fn full(&self, table: Table) -> ModelError {
        let limits = self.options.limits;
        let (most, deleted) = match table {
            Table::Services => (limits.services, 0),
            Table::Destinations => (limits.destinations, self.trash.len() as u32),
            Table::LocalAddresses => (limits.local_addresses, 0),
        };
        ModelError::Full { table, most, deleted }
    }

    /// The common checks for adding and editing a service.
    fn check_service(&self, spec: &ServiceSpec) -> Result<(), ModelError> {
        if matches!(spec.key, ServiceKey::Mark { mark: 0, .. }) {
            return Err(ModelError::Invalid(Invalid::Mark));
        }
        if !self.options.schedulers.contains(&spec.scheduler) {
            return Err(ModelError::NoScheduler(spec.scheduler.clone()));
        }
        if let Some(engine) = spec.engine.as_ref().filter(|engine| *engine != "sip") {
            return Err(ModelError::NoEngine(engine.clone()));
        }
        match spec.netmask {
            PersistenceMask::V4(_) if spec.key.family() == Family::V4 => {}
            PersistenceMask::V6(1..=128) if spec.key.family() == Family::V6 => {}
            _ => return Err(ModelError::Invalid(Invalid::Netmask)),
        }
        self.options.capabilities.check_service(spec)
    }

    /// Checks that the packet path supports such a destination.
    fn check_carried(&self, spec: &DestSpec) -> Result<(), ModelError> {
        self.options.capabilities.check_destination(spec)?;
        if self.host.is_local(spec.key.addr) && !self.options.capabilities.local_destinations {
            return Err(ModelError::Unsupported(Feature::LocalDestinations));
        }
        Ok(())
    }
}

/// The common checks for adding and editing a destination.
fn check_destination(service: &ServiceKey, spec: &DestSpec) -> Result<(), ModelError> {
    let DestSpec { upper, lower, weight, .. } = *spec;
    if Family::of(spec.key.addr) != service.family() && spec.method != ForwardingMethod::Tunnel {
        return Err(ModelError::Invalid(Invalid::Family));
    }
    if weight < 0 {
        return Err(ModelError::NegativeWeight(weight));
    }
    if lower > upper {
        return Err(ModelError::ThresholdOrder { lower, upper });
    }
    if upper > i32::MAX as u32 {
        return Err(ModelError::Invalid(Invalid::Threshold));
    }
    if spec.method == ForwardingMethod::Tunnel && spec.tunnel.kind == TunnelKind::Gue && spec.tunnel.port == 0
    {
        return Err(ModelError::Invalid(Invalid::TunnelPort));
    }
    Ok(())
}
