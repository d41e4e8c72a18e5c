//! A director of many workers, as far as owners go: cards, connections, and packets handed on.
//!
//! A packet comes to the worker that the card chooses. That worker finds the owner from the packet
//! alone and hands the packet on if it is not the owner itself. The model counts these, and checks
//! that the owner found is the worker that made the connection.
#![allow(unreachable_pub, reason = "shared by a test and an example")]
#![allow(clippy::unwrap_used, reason = "a model fails by panicking")]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;

use dataplane::conn::entry::Direction;
use dataplane::conn::key::FlowKey;
use dataplane::mem::Abilities;
use dataplane::mem::Nic;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::service::Selector;
use dataplane::steer::Entry;
use dataplane::steer::Groups;
use dataplane::steer::LocalPorts;
use dataplane::steer::Member;
use dataplane::steer::Plan;
use dataplane::steer::PortAbilities;
use dataplane::steer::PortPlan;
use dataplane::steer::Rss;
use dataplane::steer::RssKey;
use dataplane::steer::Rule;
use dataplane::steer::Runs;
use dataplane::steer::Side;
use dataplane::steer::Steering;
use dataplane::steer::Table;
use dataplane::steer::WorkerId;

const TCP: u8 = 6;
const SERVICES: usize = 4;
/// Real servers of each service.
const SERVERS: usize = 4;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub workers: u16,
    /// Receive queues of each card.
    pub queues: u16,
    pub rss: Rss,
    /// Whether clients and real servers are on one port.
    pub one_arm: bool,
    pub method: Method,
    /// The netmask of persistent services.
    pub persistence: Option<Ipv4Addr>,
    /// Whether all services have the same real servers.
    pub shared: bool,
}

/// Packets, and how many of them came to a worker that was not their owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    pub packets: u32,
    pub handed: u32,
}

impl Handed {
    fn note(&mut self, handed: bool) {
        self.packets += 1;
        self.handed += u32::from(handed);
    }

    /// How many of all were handed on; 0 of none.
    pub fn share(self) -> f64 {
        f64::from(self.handed) / f64::from(self.packets.max(1))
    }
}

/// What came of a [`Scene`].
#[derive(Clone, Debug)]
pub struct Outcome {
    /// By port: the clients', then the real servers' if there are two.
    pub ports: Vec<PortPlan>,
    pub requests: Handed,
    pub replies: Handed,
    /// Packets for which a worker found another owner than the one that made the connection.
    pub lost: u32,
    /// Packets whose owner was found by the card's hash as well.
    pub by_hash: u32,
}

impl Scene {
    /// Sends a request and a reply of each connection.
    pub fn run(&self, clients: impl Iterator<Item = SocketAddrV4>) -> Outcome {
        let model = Model::new(self);
        let ports = model.plan.ports.clone();
        let (requests, replies) = (Handed::default(), Handed::default());
        let mut outcome = Outcome { ports, requests, replies, lost: 0, by_hash: 0 };
        for (nth, client) in clients.enumerate() {
            let (service, server) = (nth % SERVICES, nth / SERVICES % SERVERS);
            let (vip, rs) = (vip(service), self.server(service, server));
            let request = packet(client, vip);
            let owner = model.pass(request, 0, &mut outcome.requests, &mut outcome.by_hash);
            // Direct routing and tunnelling: replies do not pass the director.
            let reply = match self.method {
                Method::Masquerade => packet(rs, client),
                Method::FullNat => {
                    let (table, apart) = (model.steering.table(), model.steering.apart(rs, lip()));
                    let port = model.ports.of_worker(Runs::ALL, table, owner, apart, nth as u32);
                    packet(rs, SocketAddrV4::new(lip(), port.unwrap()))
                }
                Method::Tunnel | Method::DirectRoute => continue,
            };
            let port = model.nics.len() - 1;
            let found = model.pass(reply, port, &mut outcome.replies, &mut outcome.by_hash);
            outcome.lost += u32::from(found != owner);
        }
        outcome
    }

    /// The cards and plans of the ports.
    fn plan(&self) -> (Plan, Vec<Nic>) {
        let sides: &[Side] = if self.one_arm { &[Side::Both] } else { &[Side::Clients, Side::Servers] };
        let abilities = sides.iter().map(|side| PortAbilities {
            queues: self.queues,
            rss: self.rss,
            hashes_ports: true,
            table_len: 512,
            side: *side,
        });
        let mut random = Random(7);
        let draw = || Ok::<u64, ()>(random.next());
        let plan = Plan::new(self.workers, &abilities.collect::<Vec<_>>(), draw).unwrap();
        let nics = plan.ports.iter().map(|port| {
            let card = Abilities { rss: self.rss, ..Abilities::all(self.queues) };
            let key = port.key.unwrap_or(RssKey::MICROSOFT);
            Nic::start(card, port.queues, key).with_table(plan.table.queues(512, port.queues))
        });
        let nics = nics.collect();
        (plan, nics)
    }

    fn server(&self, service: usize, nth: usize) -> SocketAddrV4 {
        let service = if self.shared { 0 } else { service };
        end([10, 0, 1, (SERVERS * service + nth) as u8 + 1], 8080)
    }
}

/// What all workers know.
struct Model {
    plan: Plan,
    nics: Vec<Nic>,
    steering: Steering,
    ports: LocalPorts,
    services: HashMap<SocketAddrV4, Rule>,
    groups: Groups,
}

/// How the owner of a packet is found.
#[derive(Clone, Copy)]
enum Way {
    /// By the client, which the packet names.
    Client(Direction, Rule),
    /// By the local port, which was chosen for it.
    Local,
}

impl Model {
    fn new(scene: &Scene) -> Self {
        let (plan, nics) = scene.plan();
        let steering = plan.steering();
        let servers: Vec<[SocketAddrV4; SERVERS]> =
            (0..SERVICES).map(|service| core::array::from_fn(|nth| scene.server(service, nth))).collect();
        let member = |service: usize| {
            let (addr, port) = (*vip(service).ip(), vip(service).port());
            let selector = Selector::Address { protocol: TCP, addr, port };
            let nat = scene.method == Method::Masquerade;
            let servers = if nat { &servers[service][..] } else { &[] };
            Member { selector, persistence: scene.persistence, servers }
        };
        let groups = Groups::unite(&steering, &(0..SERVICES).map(member).collect::<Vec<_>>());
        let services = (0..SERVICES).map(|nth| (vip(nth), groups.service(nth).unwrap())).collect();
        let ports = LocalPorts::new(&plan.keys.servers).unwrap();
        Self { plan, nics, steering, ports, services, groups }
    }

    /// Lets a packet arrive, and gives the worker that has it at last.
    fn pass(&self, packet: FlowKey, port: usize, handed: &mut Handed, by_hash: &mut u32) -> WorkerId {
        let frame = frame(packet);
        let arrived = WorkerId::new(self.nics[port].queue(&frame));
        let way = self.way(packet);
        let owner = match way {
            Way::Client(direction, rule) => self.steering.owner(packet, direction, rule),
            Way::Local => self.steering.owner_of_local(packet),
        };
        if self.plan.ports[port].spread.is_by_card()
            && let Some(hash) = self.nics[port].hash(&frame)
            && let Some(difference) = self.difference(packet, way)
        {
            assert_eq!(self.steering.owner_by_hash(hash, difference), owner, "{packet:?}");
            *by_hash += 1;
        }
        handed.note(arrived != owner);
        owner
    }

    /// What a worker finds out about a packet of a connection that it does not have.
    fn way(&self, packet: FlowKey) -> Way {
        let from = SocketAddrV4::new(packet.src(), packet.sport());
        let to = SocketAddrV4::new(packet.dst(), packet.dport());
        if *to.ip() == lip() {
            return Way::Local;
        }
        match self.services.get(&to) {
            Some(rule) => Way::Client(Direction::Request, *rule),
            None => Way::Client(Direction::Reply, self.groups.server(TCP, from).unwrap()),
        }
    }

    fn difference(&self, packet: FlowKey, way: Way) -> Option<Entry> {
        match way {
            Way::Local => Some(Entry::ZERO),
            Way::Client(Direction::Request, rule) => {
                self.steering.request_difference(SocketAddrV4::new(packet.dst(), packet.dport()), rule)
            }
            Way::Client(Direction::Reply, rule) => {
                self.steering.reply_difference(SocketAddrV4::new(packet.src(), packet.sport()), rule)
            }
        }
    }
}

/// The greatest load of a worker over the mean, if `clients` have `each` connections to the
/// services: by numbers of workers.
pub fn loads(scene: Scene, clients: u32, each: u32, workers: &[u16]) -> Vec<f64> {
    let model = Model::new(&scene);
    let mut counts = [0_u32; 512];
    for (nth, client) in connections(clients, each).enumerate() {
        let vip = vip(nth % SERVICES);
        let rule = model.services[&vip];
        counts[model.steering.entry(packet(client, vip), Direction::Request, rule).index()] += 1;
    }
    let load = |workers: &u16| {
        let table = Table::new(*workers, 512);
        let of = |worker| table.entries(worker).iter().map(|entry| counts[entry.index()]).sum::<u32>();
        let greatest = (0..*workers).map(|n| of(WorkerId::new(n))).max().unwrap();
        f64::from(greatest) * f64::from(*workers) / f64::from(clients * each)
    };
    workers.iter().map(load).collect()
}

/// Connections of `clients` clients, `each` of one client after those of another: half of them are
/// neighbours in two networks, the others anywhere. Each client takes ports in turn.
pub fn connections(clients: u32, each: u32) -> impl Iterator<Item = SocketAddrV4> {
    let mut random = Random(42);
    let clients: Vec<(u32, u16)> = (0..clients)
        .map(|n| {
            let drawn = random.next();
            let addr = match n % 4 {
                0 => 0x6440_0000 + n,
                1 => 0xc0a8_0000 + n,
                _ => 0x0b00_0000 + (drawn % 0x6000_0000) as u32,
            };
            (addr, 32_768 + (drawn >> 40) as u16 % 20_000)
        })
        .collect();
    (0..each as u16).flat_map(move |nth| {
        let of = move |(addr, port)| SocketAddrV4::new(Ipv4Addr::from_bits(addr), port + nth);
        clients.clone().into_iter().map(of)
    })
}

fn end(addr: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(addr.into(), port)
}

fn vip(service: usize) -> SocketAddrV4 {
    end([10, 0, 0, service as u8 + 100], 80)
}

fn lip() -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, 1)
}

fn packet(from: SocketAddrV4, to: SocketAddrV4) -> FlowKey {
    FlowKey::new(TCP, *from.ip(), from.port(), *to.ip(), to.port())
}

/// As much of a frame as a card looks at.
fn frame(packet: FlowKey) -> [u8; 54] {
    let mut frame = [0; 54];
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[23] = packet.protocol();
    frame[26..34].copy_from_slice(&packet.wire_addrs());
    frame[34..38].copy_from_slice(&packet.wire_ports());
    frame
}

/// Numbers that look random and are always the same (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
