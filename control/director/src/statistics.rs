//! Adds up what the workers counted, and remembers it.
//!
//! Workers count by destination. What has come since the last look is added here to the
//! destination, to its service and to the director. So a service keeps the counts of destinations
//! that it no longer has. Counts are brought up to date whenever somebody looks; rates are computed
//! every [`TICK`](model::TICK).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::local::LocalAddress;
use dataplane::stats::WorkerStats;
use sched::{DestId, Loads};

use api::{Load, Observed, Traffic};
use model::{Counters, Model, Origin, Service, ServiceSlot, Statistics};

/// The counters of one service, of one destination or of the director: what has been counted, and
/// what is shown of it.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    counted: Counters,
    base: Counters,
    rates: Statistics,
}

impl Account {
    fn zero(&mut self) {
        self.base = self.counted;
        self.rates = Statistics::begin(self.counted);
    }

    fn traffic(&self) -> Traffic {
        Traffic { counters: self.counted.since(&self.base), rates: self.rates.rates() }
    }
}

/// All counters of the director.
#[derive(Debug)]
pub struct Collector {
    workers: Vec<Arc<WorkerStats>>,
    dests: HashMap<DestId, DestAccount>,
    services: HashMap<ServiceSlot, Account>,
    locals: HashMap<IpAddr, Arc<LocalAddress>>,
    total: Account,
}

#[derive(Clone, Copy, Debug, Default)]
struct DestAccount {
    account: Account,
    /// The workers' sums at the last look.
    seen: Counters,
}

impl Collector {
    /// A collector for these workers.
    pub fn new(workers: Vec<Arc<WorkerStats>>) -> Self {
        let (dests, services, locals) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { workers, dests, services, locals, total: Account::default() }
    }

    /// A service was added. Its slot may have been another service's before.
    pub fn service_added(&mut self, service: ServiceSlot) {
        self.services.insert(service, Account::default());
    }

    /// A destination was added, or a deleted one came back.
    pub fn dest_added(&mut self, dest: DestId, origin: Origin) {
        let seen = self.sum(dest);
        self.forget_response(dest);
        let account = self.dests.entry(dest).or_default();
        account.seen = seen;
        if origin != Origin::Revived {
            account.account = Account::default();
        }
    }

    /// Sets which local addresses there are.
    pub fn follow_locals(&mut self, locals: impl Iterator<Item = Arc<LocalAddress>>) {
        self.locals = locals.map(|local| (IpAddr::V4(local.addr), local)).collect();
    }

    /// The slot of a deleted destination was given back.
    pub fn dest_reclaimed(&mut self, dest: DestId) {
        self.dests.remove(&dest);
        self.workers.iter().for_each(|worker| worker.forget_rates(dest));
    }

    /// Forgets the response time that was measured of a real server.
    pub(crate) fn forget_response(&self, dest: DestId) {
        self.workers.iter().for_each(|worker| worker.forget_response(dest));
    }

    /// Brings all counters up to date.
    pub fn collect(&mut self, model: &Model) {
        for (id, service) in model.services() {
            self.collect_service(id, service);
        }
    }

    /// Brings the counters of one service up to date.
    pub(super) fn collect_service(&mut self, id: ServiceSlot, service: &Service) {
        for dest in &service.destinations {
            let now = self.sum(*dest);
            let account = self.dests.entry(*dest).or_default();
            let growth = now.since(&account.seen);
            account.seen = now;
            account.account.counted += growth;
            self.services.entry(id).or_default().counted += growth;
            self.total.counted += growth;
        }
    }

    /// Computes the rates. Call it every two seconds, after [`Self::collect`].
    pub fn tick(&mut self) {
        let dests = self.dests.values_mut().map(|dest| &mut dest.account);
        for account in dests.chain(self.services.values_mut()).chain([&mut self.total]) {
            account.rates.tick(account.counted);
        }
        for (id, dest) in &self.dests {
            let rates = dest.account.rates.rates();
            for worker in &self.workers {
                worker.set_traffic(*id, rates.inbps + rates.outbps);
            }
        }
        self.workers.iter().for_each(|worker| worker.tick_rates());
    }

    /// `-Z` for one service and its destinations.
    pub fn zero_service(&mut self, service: ServiceSlot, dests: &[DestId]) {
        self.services.entry(service).or_default().zero();
        for dest in dests {
            self.dests.entry(*dest).or_default().account.zero();
            self.forget_response(*dest);
        }
    }

    /// `-Z` for everything.
    pub fn zero_all(&mut self) {
        self.dests.values_mut().for_each(|dest| dest.account.zero());
        self.dests.keys().for_each(|dest| self.forget_response(*dest));
        self.services.values_mut().for_each(Account::zero);
        self.total.zero();
    }

    /// The director's own counters.
    pub fn total(&self) -> Traffic {
        self.total.traffic()
    }

    /// The workers' counters.
    pub fn workers(&self) -> &[Arc<WorkerStats>] {
        &self.workers
    }

    /// Whether no connection or template names a destination.
    pub fn is_idle(&self, dest: DestId) -> bool {
        let load = self.load(dest);
        (load.active, load.inactive, load.persistent) == (0, 0, 0)
    }

    fn sum(&self, dest: DestId) -> Counters {
        let mut sum = Counters::default();
        for stats in self.workers.iter().filter_map(|worker| worker.dest(dest)) {
            sum += Counters {
                conns: stats.conns.get(),
                inpkts: stats.in_pkts.get(),
                outpkts: stats.out_pkts.get(),
                inbytes: stats.in_bytes.get(),
                outbytes: stats.out_bytes.get(),
            };
        }
        sum
    }
}

impl Observed for Collector {
    fn service(&self, id: ServiceSlot) -> Traffic {
        self.services.get(&id).map(Account::traffic).unwrap_or_default()
    }

    fn destination(&self, id: DestId) -> Traffic {
        self.dests.get(&id).map(|dest| dest.account.traffic()).unwrap_or_default()
    }

    fn load(&self, id: DestId) -> Load {
        let mut load = Load::default();
        for stats in self.workers.iter().filter_map(|worker| worker.dest(id)) {
            load.active += stats.active.get();
            load.inactive += stats.inactive.get();
            load.persistent += stats.persistent.get();
        }
        load
    }

    /// Each worker measures by itself. This is the average of their results.
    fn response_us(&self, id: DestId) -> Option<u32> {
        let known = self.workers.iter().filter_map(|worker| worker.response_time(id));
        let (sum, count) = known.fold((0, 0), |(sum, count), micros| (sum + u64::from(micros), count + 1));
        (count > 0).then(|| (sum / count.max(1)) as u32)
    }

    fn local_address(&self, _: ServiceSlot, addr: IpAddr) -> (u64, u64) {
        self.locals.get(&addr).map_or((0, 0), |local| (local.exhausted(), local.in_use()))
    }
}
