//! Virtual services. A packet without a connection looks its service up here.
//!
//! Services are in shards that are shared by reference. So a change of one service among 100 000
//! copies one shard.

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

/// A service's slot. It stays the same while the service lives, and is then used again.
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

/// The packets that a service serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Packets to an address and port.
    Address {
        /// IP protocol number.
        protocol: u8,
        /// VIP.
        addr: Ipv4Addr,
        /// Port, host byte order. 0 means all ports that have no service of their own.
        port: u16,
    },
    /// Packets with this firewall mark, whatever their protocol and destination. Never 0.
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

    /// The key in one word. Different keys have different words.
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
    /// Lifetime of a template after its last use, in seconds.
    pub timeout: u32,
    /// Clients whose addresses are equal in these bits get the same server.
    pub netmask: Ipv4Addr,
}

impl Persistence {
    /// [`Self::timeout`] in ticks, at most [`Ticks::FARTHEST`].
    pub const fn ticks(&self) -> u32 {
        let ticks = self.timeout.saturating_mul(Ticks::PER_SECOND);
        if ticks > Ticks::FARTHEST { Ticks::FARTHEST } else { ticks }
    }
}

/// The workers' mutable halves of a scheduler.
#[derive(Debug)]
pub struct SchedCells {
    /// One state for each worker.
    pub states: PerWorker<sched::State>,
    /// The number of these states; edits and new states are numbered together. Later edits are
    /// replayed on the states. If a list outgrows its states, control makes larger ones with the
    /// same number, and workers move their values over.
    pub fresh_at: u64,
}

/// A virtual service. It never changes; an edit makes a new one in the same slot.
#[derive(Debug)]
pub struct Service {
    /// Its slot.
    pub id: ServiceId,
    /// Which packets it serves.
    pub key: Selector,
    /// The scheduler's shared half: the destinations in list order, and its lookup tables.
    pub plan: Arc<sched::Plan>,
    /// The scheduler's private halves.
    pub cells: Arc<SchedCells>,
    /// Persistence, if clients keep their server.
    pub persistence: Option<Persistence>,
    /// Each datagram is scheduled by itself (`-o`, UDP).
    pub one_packet: bool,
    /// FULLNAT's local addresses.
    pub locals: Arc<[Arc<LocalAddress>]>,
}

/// How many shards the index has; a power of two.
const SHARDS: usize = 256;

/// Services with the words of their keys. Operators choose the keys, so the hash needs no secret.
type Shard = HashTable<(u64, Arc<Service>)>;

/// All services.
#[derive(Clone, Debug)]
pub struct Services {
    shards: Vec<Arc<Shard>>,
    by_id: CowArray<Option<Arc<Service>>>,
    /// How often the services have changed.
    version: u64,
    /// How many services there are.
    count: u32,
    /// How many services have a mark as key.
    marked: u32,
    /// How many services have an address and port 0.
    any_port: u32,
    /// How many TCP services have port 21. Packets to FTP data ports match such services too.
    ftp: u32,
    /// How many services each VIP has. These shards are separate.
    vips: Vec<Arc<HashMap<Ipv4Addr, u32>>>,
    /// The services whose schedulers must be tended regularly: they have caches, or they choose by
    /// measured values.
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
/// The first port that needs no privilege (`net.ipv4.ip_unprivileged_port_start`).
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

    /// The service of a packet with `key` and `mark` (0 for none). These are tried in order: the
    /// mark's service, the service of the same port, FTP's, the service of port 0
    /// (`ip_vs_ctl.c: ip_vs_service_find`).
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

    /// The service of packets with `mark`. `None` for mark 0.
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

    /// The services whose schedulers must be tended regularly.
    pub fn tended(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.tended.iter().filter_map(|id| self.by_id(*id))
    }

    /// A number that is different after each change.
    #[inline]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether there are no services.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether any service has this VIP.
    pub fn has_vip(&self, addr: Ipv4Addr) -> bool {
        self.vips[vip_shard(addr)].contains_key(&addr)
    }

    /// All services, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_id.iter().filter_map(|(_, service)| service.as_ref())
    }
}

fn vip_shard(addr: Ipv4Addr) -> usize {
    shard(spread(u64::from(addr.to_bits())))
}

/// The shard of a hash. A shard's table uses the low bits of the hash for the place and the high
/// bits for the tag of an entry. So the shard is chosen by bits between these.
#[inline]
const fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

/// A hash of a word. Every bit of the word changes low and high bits of the hash.
#[inline]
const fn spread(word: u64) -> u64 {
    let product = word as u128 * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}
