//! Virtual services: what a packet without a connection is looked up in.
//!
//! Services are shared by reference in shards, so that one change among 100 000 copies one shard.

use core::net::Ipv4Addr;
use std::sync::Arc;
use std::vec::Vec;

use hashbrown::HashMap;
use hashbrown::HashTable;
use sched::Kind;

use crate::conn::key::FlowKey;
use crate::epoch::PerWorker;
use crate::local::LocalAddress;
use crate::snapshot::cow::CowArray;
use crate::time::Ticks;
use crate::wire::l4;

/// A service's slot; stable for its life, then used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u32);

impl ServiceId {
    /// The slot numbered `index`.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The slot's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number as stored in a connection.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// What identifies a service to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Where the packet goes.
    Address {
        /// IP protocol number.
        protocol: u8,
        /// VIP.
        addr: Ipv4Addr,
        /// Port, host order; 0 = all ports without a service of their own.
        port: u16,
    },
    /// The firewall mark that the packet bears, whatever its protocol and wherever it goes; never
    /// 0.
    Mark(u32),
}

impl Selector {
    /// The service's port; 0 for a mark, as in Linux.
    #[inline]
    pub const fn port(self) -> u16 {
        match self {
            Self::Address { port, .. } => port,
            Self::Mark(_) => 0,
        }
    }

    /// The key in one word, no two the same.
    #[inline]
    pub(crate) const fn word(self) -> u64 {
        match self {
            Self::Address { protocol, addr, port } => {
                (addr.to_bits() as u64) << 24 | (port as u64) << 8 | protocol as u64
            }
            Self::Mark(mark) => 1 << 63 | mark as u64,
        }
    }
}

/// Persistence of a service (`-p`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Life of a template in seconds after its last use.
    pub timeout: u32,
    /// Clients that share these bits of their address share a server.
    pub netmask: Ipv4Addr,
}

impl Persistence {
    /// [`Self::timeout`] in ticks, as far as ticks can be compared.
    pub const fn ticks(&self) -> u32 {
        let ticks = self.timeout.saturating_mul(Ticks::PER_SECOND);
        if ticks > Ticks::FARTHEST { Ticks::FARTHEST } else { ticks }
    }
}

/// The workers' mutable halves of a scheduler.
#[derive(Debug)]
pub struct SchedCells {
    /// One state each worker.
    pub states: PerWorker<sched::State>,
    /// When the states were made, in the order of all edits: later ones are replayed on them. When
    /// a state outgrows its room control makes larger ones with the same number, and workers
    /// carry their live values over.
    pub fresh_at: u64,
}

/// A virtual service, immutable; an edit makes another one in the same slot.
#[derive(Debug)]
pub struct Service {
    /// Its slot.
    pub id: ServiceId,
    /// What packets it serves.
    pub key: Selector,
    /// The scheduler's shared half: the destinations in list order and its tables.
    pub plan: Arc<sched::Plan>,
    /// The scheduler's private halves.
    pub cells: Arc<SchedCells>,
    /// Whether, and how, clients stick to their server.
    pub persistence: Option<Persistence>,
    /// Each datagram is scheduled on its own (`-o`, UDP).
    pub one_packet: bool,
    /// FULLNAT's local addresses.
    pub locals: Arc<[Arc<LocalAddress>]>,
}

/// Shards of the index; a power of two.
const SHARDS: usize = 256;

/// Services with the words of their keys. Operators choose these, so their hash needs no secret.
type Shard = HashTable<(u64, Arc<Service>)>;

/// All services.
#[derive(Clone, Debug)]
pub struct Services {
    shards: Vec<Arc<Shard>>,
    by_id: CowArray<Option<Arc<Service>>>,
    /// How often they have changed.
    version: u64,
    /// How many services there are.
    count: u32,
    /// How many services go by a mark.
    marked: u32,
    /// How many services have an address and port 0.
    any_port: u32,
    /// How many TCP services have port 21: while there are any, data ports match them too.
    ftp: u32,
    /// How many services each VIP has, in shards of their own.
    vips: Vec<Arc<HashMap<Ipv4Addr, u32>>>,
    /// Those whose schedulers want looking after: they keep caches, or choose by what is measured
    /// every so often.
    tended: Arc<Vec<ServiceId>>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            by_id: CowArray::default(),
            version: 0,
            count: 0,
            marked: 0,
            any_port: 0,
            ftp: 0,
            vips: (0..SHARDS).map(|_| Arc::default()).collect(),
            tended: Arc::default(),
        }
    }
}

const FTP: u16 = 21;
const FTP_DATA: u16 = 20;
/// Ports from here on need no privilege (`net.ipv4.ip_unprivileged_port_start`).
const UNPRIVILEGED: u16 = 1024;

impl Services {
    /// Adds a service or replaces the one in its slot.
    pub fn set(&mut self, service: Arc<Service>) {
        let id = service.id;
        self.remove(id);
        self.version += 1;
        let key = service.key;
        self.count += 1;
        if matches!(service.plan.kind(), Kind::Lblc | Kind::Lblcr | Kind::Lt | Kind::Wlt | Kind::Wrt) {
            Arc::make_mut(&mut self.tended).push(id);
        }
        match key {
            Selector::Address { protocol, addr, port } => {
                self.any_port += u32::from(port == 0);
                self.ftp += u32::from(protocol == l4::TCP && port == FTP);
                *Arc::make_mut(&mut self.vips[vip_shard(addr)]).entry(addr).or_insert(0) += 1;
            }
            Selector::Mark(_) => self.marked += 1,
        }
        let (word, hash) = (key.word(), spread(key.word()));
        let shard = Arc::make_mut(&mut self.shards[shard(hash)]);
        shard.insert_unique(hash, (word, service.clone()), |(word, _)| spread(*word));
        *self.by_id.entry(id.index()) = Some(service);
    }

    /// Removes the service in slot `id`, if there is one.
    pub fn remove(&mut self, id: ServiceId) {
        let Some(old) = self.by_id(id).map(|service| service.key) else { return };
        *self.by_id.entry(id.index()) = None;
        self.version += 1;
        self.count -= 1;
        if self.tended.contains(&id) {
            Arc::make_mut(&mut self.tended).retain(|other| *other != id);
        }
        let (word, hash) = (old.word(), spread(old.word()));
        if let Ok(found) =
            Arc::make_mut(&mut self.shards[shard(hash)]).find_entry(hash, |(other, _)| *other == word)
        {
            found.remove();
        }
        let Selector::Address { protocol, addr, port } = old else {
            self.marked -= 1;
            return;
        };
        self.any_port -= u32::from(port == 0);
        self.ftp -= u32::from(protocol == l4::TCP && port == FTP);
        let vips = Arc::make_mut(&mut self.vips[vip_shard(addr)]);
        if let Some(count) = vips.get_mut(&addr) {
            *count -= 1;
            if *count == 0 {
                vips.remove(&addr);
            }
        }
    }

    /// The service in slot `id`.
    pub fn by_id(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.by_id.get(id.index())?.as_ref()
    }

    /// The service of a packet of the flow `key` that bears `mark`, 0 for none: the mark's, then
    /// the exact one, FTP's, that of port 0 (`ip_vs_ctl.c: ip_vs_service_find`).
    pub fn find(&self, mark: u32, key: FlowKey) -> Option<&Arc<Service>> {
        let marked = self.find_marked(mark);
        if marked.is_some() {
            return marked;
        }
        let (protocol, addr, port) = (key.protocol(), key.dst(), key.dport());
        let exact = self.by_key(Selector::Address { protocol, addr, port });
        if exact.is_some() {
            return exact;
        }
        let data_port = port == FTP_DATA || port >= UNPRIVILEGED;
        if self.ftp != 0 && protocol == l4::TCP && data_port {
            let ftp = self.by_key(Selector::Address { protocol, addr, port: FTP });
            if ftp.is_some() {
                return ftp;
            }
        }
        if self.any_port == 0 {
            return None;
        }
        self.by_key(Selector::Address { protocol, addr, port: 0 })
    }

    /// The service of packets that bear `mark`, 0 for none.
    #[inline]
    pub fn find_marked(&self, mark: u32) -> Option<&Arc<Service>> {
        if mark == 0 || self.marked == 0 {
            return None;
        }
        self.by_key(Selector::Mark(mark))
    }

    #[inline]
    fn by_key(&self, key: Selector) -> Option<&Arc<Service>> {
        let (word, hash) = (key.word(), spread(key.word()));
        let found = self.shards.get(shard(hash))?.find(hash, |(other, _)| *other == word);
        found.map(|(_, service)| service)
    }

    /// The services whose schedulers want looking after.
    pub fn tended(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.tended.iter().filter_map(|id| self.by_id(*id))
    }

    /// Another number after each change.
    #[inline]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether there are no services at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether any service has this VIP.
    pub fn has_vip(&self, addr: Ipv4Addr) -> bool {
        self.vips[vip_shard(addr)].contains_key(&addr)
    }

    /// All services, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_id.iter().filter_map(|(_, service)| service.as_ref())
    }
}

fn vip_shard(addr: Ipv4Addr) -> usize {
    shard(spread(u64::from(addr.to_bits())))
}

/// A shard's table takes the bits below for the place and those above for the tag of an entry, so
/// the shard is chosen by bits between.
#[inline]
const fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

/// Every bit of the word moves bits at both ends of the hash.
#[inline]
const fn spread(word: u64) -> u64 {
    let product = word as u128 * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}
