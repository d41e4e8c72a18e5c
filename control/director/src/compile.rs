//! The model compiled for the packet path, change by change.
//!
//! [`Director`] holds the rules twice: as the operator said them ([`Model`]), and as workers read
//! them ([`Master`]). The model judges a change. Then the change is carried over to the master and
//! published, and workers see all of it at their next burst.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::epoch::Workers;
use dataplane::io::PortId;
use dataplane::local::LocalAddress;
use dataplane::snapshot::dest::{DestInfo, Method};
use dataplane::snapshot::master::{Master, ServiceFacts};
use dataplane::snapshot::route::{Input, Paths};
use dataplane::snapshot::rules::{Rules, WorkerEnd};
use dataplane::snapshot::service::{Persistence, Selector, ServiceId};
use dataplane::time::Ticks;
use dataplane::wire::ether::Mac;
use sched::{Dest, DestId, Edit, Kind};

use crate::paths::{PathCompiler, PortPath, Way};
use linux::MirrorState;
use model::{
    Applied, BatchError, Change, Family, ForwardingMethod, HostAddresses, MarkBatchError, MarkChange,
    MarkTable, Model, ModelOptions, PersistenceMask, RemovedService, ServiceFlags, ServiceKey, ServiceSlot,
    ServiceSpec, Timeouts,
};

/// The rules as the operator said them, the compiled rules, and what publishes them to the workers.
pub struct Director {
    model: Model,
    /// The mark rules as the operator said them.
    pub(super) marks: MarkTable,
    pub(super) rules: Rules,
    paths: PathCompiler,
    world: Arc<MirrorState>,
    ways: HashMap<DestId, Way>,
    locals: HashMap<Ipv4Addr, u32>,
    /// The ports that Linux gives to its own connections; `None` until they are known.
    linux_ports: Option<RangeInclusive<u16>>,
}

/// One of the changes of [`Director::change_both`] was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A change of the rules.
    #[error(transparent)]
    Rule(BatchError),
    /// A change of the mark rules.
    #[error(transparent)]
    Mark(MarkBatchError),
}

impl Director {
    /// A director without rules, for this number of workers. Each worker gets an end, by which it
    /// follows the rules.
    pub fn new(options: ModelOptions, ports: Vec<PortPath>, workers: usize) -> (Self, Vec<WorkerEnd>) {
        let (ids, tokens) = Workers::new(workers);
        let (rules, ends) = Rules::new(Master::new(ids, options.mh_size), tokens);
        let interfaces = ports.iter().map(|port| port.host_interface.clone()).collect();
        let director = Self {
            model: Model::new(options),
            marks: MarkTable::new(interfaces, dataplane::marks::MOST),
            rules,
            paths: PathCompiler::new(ports),
            world: Arc::default(),
            ways: HashMap::new(),
            locals: HashMap::new(),
            linux_ports: None,
        };
        (director, ends)
    }

    /// The rules as the operator said them.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The epoch of the newest rules.
    pub fn epoch(&self) -> u64 {
        self.rules.epoch()
    }

    /// Applies all changes and publishes them. When one is refused, none is applied, and the error
    /// says which one was refused.
    pub fn change(&mut self, changes: Vec<Change>) -> Result<Vec<Applied>, BatchError> {
        let applied = self.apply(changes)?;
        self.publish();
        Ok(applied)
    }

    /// Applies all changes of the rules and of the mark rules, and publishes them together. When one
    /// is refused, none is applied.
    pub fn change_both(
        &mut self,
        changes: Vec<Change>,
        marks: Vec<MarkChange>,
    ) -> Result<Vec<Applied>, Refusal> {
        let marks = self.compile_marks(marks).map_err(Refusal::Mark)?;
        let applied = self.apply(changes).map_err(Refusal::Rule)?;
        self.take_marks(marks);
        self.publish();
        Ok(applied)
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<Vec<Applied>, BatchError> {
        let before = (changes.len() > 1).then(|| (self.model.clone(), self.rules.master.clone()));
        let mut applied = Vec::with_capacity(changes.len());
        for (index, change) in changes.into_iter().enumerate() {
            match self.model.apply(change) {
                Ok(done) => {
                    self.compile(&done);
                    applied.push(done);
                }
                Err(error) => {
                    if let Some((model, master)) = before {
                        self.model = model;
                        self.rules.master = master;
                    }
                    return Err(BatchError { index, error });
                }
            }
        }
        Ok(applied)
    }

    /// Follows Linux's addresses, routes and neighbours.
    pub fn follow(&mut self, world: Arc<MirrorState>) {
        self.model.set_host_addresses(host_addresses(&world));
        let addrs: Vec<_> = self.dest_addrs().collect();
        let ways = self.paths.update(&world, &mut self.rules.master, &mut addrs.into_iter());
        for (id, way) in &ways {
            if let Some(info) = self.rules.master.snapshot().dest(*id).copied() {
                let new = DestInfo { hop: way.hop, tunnel_source: way.source, ..info };
                if new != info {
                    self.rules.master.set_dest(*id, new);
                }
            }
        }
        self.ways = ways;
        self.world = world;
        self.share_locals();
        self.publish();
    }

    /// Routes, next hops and ports, as the packet path has them.
    pub fn paths(&self) -> &Paths {
        &self.rules.master.snapshot().paths
    }

    /// The MACs under which frames for a port come, besides its own.
    pub fn more_macs(&self, port: PortId) -> &[Mac] {
        self.rules.master.snapshot().paths.more_macs(port)
    }

    /// Sets from which senders Linux takes packets on the ports' host interfaces, in the order of
    /// the ports.
    pub fn set_input(&mut self, input: impl IntoIterator<Item = Input>) {
        if self.paths.set_input(input) {
            let world = Arc::clone(&self.world);
            self.follow(world);
        }
    }

    /// Leaves these ports of local addresses to Linux. That concerns the local addresses that Linux
    /// has too: it uses these ports for its own connections, such as health checks.
    pub fn leave_to_linux(&mut self, ports: RangeInclusive<u16>) {
        if self.linux_ports.as_ref() != Some(&ports) {
            self.linux_ports = Some(ports);
            self.share_locals();
        }
    }

    fn share_locals(&self) {
        self.locals().for_each(|local| self.share(&local));
    }

    fn share(&self, local: &LocalAddress) {
        let mut own = self.world.addresses.iter().map(|address| address.net.addr());
        let shared = own.any(|addr| addr == IpAddr::V4(local.addr));
        local.leave_to_linux(self.linux_ports.clone().filter(|_| shared));
    }

    /// The next hops that Linux must keep resolved, each once: those of all destinations, and the
    /// gateways of routes, behind which the clients are.
    pub fn next_hops(&self) -> Vec<(PortId, Ipv4Addr)> {
        let of_destinations = self.ways.values().filter_map(|way| way.next_hop);
        let mut hops: Vec<_> = of_destinations.chain(self.paths.gateways()).collect();
        hops.sort_unstable();
        hops.dedup();
        hops
    }

    /// Frees the old rules that no worker uses any more.
    pub fn reclaim(&mut self) {
        self.rules.reclaim();
    }

    /// The newest epoch that a worker is known to have seen.
    pub fn epoch_seen(&self, worker: usize) -> u64 {
        let newest = self.epoch();
        if self.rules.waits_for() == Some(worker) { newest.saturating_sub(1) } else { newest }
    }

    /// Whether every worker has seen the newest rules.
    pub fn settled(&self) -> bool {
        self.rules.settled()
    }

    /// Waits until every worker has seen the newest rules, but no longer than `patience`. Returns
    /// whether all workers have seen them.
    pub(crate) fn settle(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.settled() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    /// Frees the slot of a deleted destination. The caller has made sure that no connection names
    /// the destination any more.
    pub fn reclaim_dest(&mut self, dest: DestId) {
        if self.model.reclaim(dest) {
            self.ways.remove(&dest);
            self.rules.master.forget_dest(dest);
        }
    }

    pub(super) fn publish(&mut self) {
        self.rules.publish();
    }

    fn dest_addrs(&self) -> impl Iterator<Item = (DestId, Ipv4Addr)> {
        let live = self.model.services().flat_map(|(_, service)| service.destinations.iter().copied());
        live.chain(self.model.trash()).filter_map(|id| match self.model.destination(id)?.spec.key.addr {
            IpAddr::V4(addr) => Some((id, addr)),
            IpAddr::V6(_) => None,
        })
    }

    fn compile(&mut self, applied: &Applied) {
        match applied {
            Applied::ServiceAdded { service } | Applied::ServiceEdited { service, .. } => {
                self.compile_service(*service);
            }
            Applied::ServiceRemoved(removed) => self.remove(removed),
            Applied::Flushed(all) => all.iter().for_each(|removed| self.remove(removed)),
            Applied::DestinationAdded { service, dest, .. } => {
                self.compile_dest(*dest, true);
                self.compile_list(*service, |old, new| {
                    let added = new.iter().find(|other| other.id == *dest)?;
                    Some(Edit::added(old, added))
                });
            }
            Applied::DestinationEdited { service, dest, .. } => {
                self.compile_dest(*dest, true);
                self.compile_list(*service, |old, new| {
                    let edited = new.iter().find(|other| other.id == *dest)?;
                    Some(Edit::updated(old, edited))
                });
            }
            Applied::DestinationRemoved { service, dest, .. } => {
                self.compile_dest(*dest, false);
                self.compile_list(*service, |old, _| Some(Edit::deleted(old, *dest)));
            }
            Applied::LocalAddressAdded { service, addr } => {
                self.add_local(*addr);
                self.compile_service(*service);
            }
            Applied::LocalAddressRemoved { service, .. } => self.compile_service(*service),
            Applied::TimeoutsSet(timeouts) => self.compile_timeouts(*timeouts),
            Applied::TunableSet => self.compile_tunables(),
        }
    }

    fn compile_service(&mut self, id: ServiceSlot) {
        let Some(service) = self.model.service(id) else { return };
        let locals = service.local_addresses.iter().filter_map(|addr| match addr {
            IpAddr::V4(addr) => self.locals.get(addr).copied(),
            IpAddr::V6(_) => None,
        });
        let Some(spec) = path_spec(id, &service.spec, locals.collect()) else { return };
        let dests = self.dests_of(id);
        // The model refuses every service that no plan can be built of.
        let built = self.rules.master.set_service(&spec, dests);
        debug_assert!(built.is_ok(), "the model lets through what cannot be compiled: {built:?}");
    }

    fn compile_list(&mut self, id: ServiceSlot, edit: impl Fn(&[Dest], &[Dest]) -> Option<Edit>) {
        let path_id = ServiceId::new(id.as_u32());
        let Some(service) = self.rules.master.snapshot().services.by_id(path_id) else { return };
        let new = self.dests_of(id);
        let Some(edit) = edit(service.plan.dests(), &new) else { return };
        let built = self.rules.master.set_dests(path_id, new, edit);
        debug_assert!(built.is_ok(), "the model lets through what cannot be compiled: {built:?}");
    }

    fn dests_of(&self, id: ServiceSlot) -> Vec<Dest> {
        let Some(service) = self.model.service(id) else { return Vec::new() };
        self.model.destinations(service).map(|(id, dest)| dest.for_scheduler(id)).collect()
    }

    fn compile_dest(&mut self, id: DestId, available: bool) {
        let Some(dest) = self.model.destination(id) else { return };
        let (spec, service) = (dest.spec, dest.service);
        let IpAddr::V4(addr) = spec.key.addr else { return };
        let way = self.paths.way_to(&self.world, &mut self.rules.master, addr);
        self.ways.insert(id, way);
        let info = DestInfo {
            available,
            method: path_method(spec.method),
            weight: spec.weight,
            addr,
            port: spec.key.port,
            service: ServiceId::new(service.as_u32()),
            upper: spec.upper,
            lower: spec.lower,
            raised: 0,
            weighed: true,
            hop: way.hop,
            tunnel_source: way.source,
        };
        self.rules.master.set_dest(id, info);
    }

    fn remove(&mut self, removed: &RemovedService) {
        for dest in &removed.destinations {
            self.compile_dest(*dest, false);
        }
        self.rules.master.remove_service(ServiceId::new(removed.service.as_u32()));
        // The slot may be given to another service at once. Workers look services up by their keys,
        // and the age of the scheduler's state tells the two services apart.
        self.model.reclaim_service(removed.service);
    }

    fn add_local(&mut self, addr: IpAddr) {
        let IpAddr::V4(addr) = addr else { return };
        let next = self.locals.len() as u32;
        let slot = *self.locals.entry(addr).or_insert(next);
        // The address may have a number but no slot yet: its number may come from a change that was
        // taken back.
        if self.rules.master.snapshot().locals.get(slot as usize).is_none_or(Option::is_none) {
            self.rules.master.set_local(slot, addr);
            if let Some(Some(local)) = self.rules.master.snapshot().locals.get(slot as usize) {
                self.share(local);
            }
        }
    }

    /// All local addresses, and those that were removed: connections may still use them.
    pub fn locals(&self) -> impl Iterator<Item = Arc<LocalAddress>> {
        self.rules.master.snapshot().locals.iter().filter_map(|(_, local)| local.clone())
    }

    fn compile_timeouts(&mut self, timeouts: Timeouts) {
        use dataplane::conn::tcp::TcpState;
        let tunables = self.rules.master.tunables_mut();
        tunables.tcp_timeouts[TcpState::Established as usize] = timeouts.tcp * Ticks::PER_SECOND;
        tunables.tcp_timeouts[TcpState::FinWait as usize] = timeouts.tcp_fin * Ticks::PER_SECOND;
        tunables.udp_timeout = timeouts.udp * Ticks::PER_SECOND;
    }

    /// Gives the packet path the tunables that it reads. Like Linux, it takes any number but 0 as
    /// "on".
    fn compile_tunables(&mut self) {
        let said = self.model.tunables();
        let tunables = self.rules.master.tunables_mut();
        // A bit mask. Only bit 1 is asked for, besides whether there is any bit.
        let reuse = said.get("conn_reuse_mode");
        tunables.conn_reuse_mode = u8::from(reuse != 0) | (reuse & 2) as u8;
        tunables.expire_nodest_conn = said.get("expire_nodest_conn") != 0;
        tunables.expire_quiescent_template = said.get("expire_quiescent_template") != 0;
        tunables.sloppy_tcp = said.get("sloppy_tcp") != 0;
        tunables.pmtu_disc = said.get("pmtu_disc") != 0;
    }
}

fn path_spec(id: ServiceSlot, spec: &ServiceSpec, locals: Vec<u32>) -> Option<ServiceFacts> {
    let key = match spec.key {
        ServiceKey::Address { protocol, addr: IpAddr::V4(addr), port } => {
            Selector::Address { protocol: protocol.number(), addr, port }
        }
        ServiceKey::Mark { mark, family: Family::V4 } => Selector::Mark(mark),
        _ => return None,
    };
    let netmask = match spec.netmask {
        PersistenceMask::V4(mask) => mask,
        PersistenceMask::V6(_) => Ipv4Addr::BROADCAST,
    };
    let persistent = spec.flags.contains(ServiceFlags::PERSISTENT);
    Some(ServiceFacts {
        id: ServiceId::new(id.as_u32()),
        key,
        kind: Kind::from_name(&spec.scheduler)?,
        flags: sched::Flags::from_bits(spec.flags.intersection(ServiceFlags::SCHED).bits()),
        persistence: persistent.then_some(Persistence { timeout: spec.timeout, netmask }),
        one_packet: spec.flags.contains(ServiceFlags::ONE_PACKET),
        locals,
    })
}

const fn path_method(method: ForwardingMethod) -> Method {
    match method {
        ForwardingMethod::Masquerade => Method::Masquerade,
        ForwardingMethod::DirectRoute => Method::DirectRoute,
        ForwardingMethod::Tunnel => Method::Tunnel,
        ForwardingMethod::FullNat => Method::FullNat,
    }
}

fn host_addresses(world: &MirrorState) -> HostAddresses {
    let mut host = HostAddresses::default();
    for address in world.addresses.iter() {
        host.local.insert(address.net.addr());
        if let ipnet::IpNet::V4(net) = address.subnet
            && net.prefix_len() < 31
        {
            host.broadcast.insert(net.broadcast());
        }
    }
    host
}
