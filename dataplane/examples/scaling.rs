//! How many packets are handed on between workers, and how evenly workers are loaded, by what the
//! network cards can do. Prints the tables of `docs/scaling.md`, and what a look-up costs here.
//!
//! `cargo run --release -p dataplane --example scaling`

#![allow(clippy::print_stdout, reason = "a program for developers")]

#[path = "../tests/all/scaling/model.rs"]
mod model;
#[path = "../tests/all/scaling/report.rs"]
mod report;

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::time::Instant;

use dataplane::conn::entry::Direction;
use dataplane::conn::key::FlowKey;
use dataplane::snapshot::service::Selector;
use dataplane::steer::Entry;
use dataplane::steer::Groups;
use dataplane::steer::KeyPair;
use dataplane::steer::LocalPorts;
use dataplane::steer::Member;
use dataplane::steer::RssKey;
use dataplane::steer::Runs;
use dataplane::steer::Steering;
use dataplane::steer::Table;
use dataplane::steer::Toeplitz;
use dataplane::steer::WorkerId;

const ROUNDS: u32 = 2000;
/// Services that are united, and real servers of each.
const SERVICES: u32 = 100_000;
const SERVERS: u32 = 10;

fn main() {
    for table in [report::handed(), report::special(), report::load()] {
        println!("{table}");
    }
    costs();
}

fn costs() {
    let vip = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 100), 80);
    let packets: Vec<FlowKey> = model::connections(1024, 1)
        .map(|client| FlowKey::new(6, *client.ip(), client.port(), *vip.ip(), vip.port()))
        .collect();
    let steering = Steering::new(&KeyPair::SYMMETRIC, true, Table::new(8, 512));
    let hash = Toeplitz::new(&RssKey::SYMMETRIC);
    cost("hash of addresses and ports", &packets, |packet| hash.hash(packet) as usize);
    let servers = [SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 1), 80)];
    let selector = Selector::Address { protocol: 6, addr: *vip.ip(), port: vip.port() };
    let groups = Groups::unite(&steering, &[Member { selector, persistence: None, servers: &servers }]);
    if let Some(rule) = groups.service(0) {
        cost("owner of a request", &packets, |packet| {
            steering.owner(packet, Direction::Request, rule).index()
        });
    }
    cost("owner of a FULLNAT reply", &packets, |packet| steering.owner_of_local(packet).index());
    if let Some(ports) = LocalPorts::new(&RssKey::SYMMETRIC) {
        let mut nth = 0_u32;
        cost("local port of a worker", &packets, |packet| {
            nth += 1;
            let apart = Entry::of(packet.dport().into());
            let port = ports.of_worker(Runs::ALL, steering.table(), WorkerId::new(3), apart, nth);
            port.unwrap_or(0).into()
        });
    }
    unite(&steering);
}

/// Prints what `what` costs for a packet, of the fastest of many rounds.
fn cost(name: &str, packets: &[FlowKey], mut what: impl FnMut(FlowKey) -> usize) {
    let round = |_| {
        let start = Instant::now();
        black_box(packets.iter().fold(0, |sum, packet| sum ^ what(*black_box(packet))));
        start.elapsed()
    };
    let fastest = (0..ROUNDS).map(round).min().unwrap_or_default();
    println!("{name}: {:.2} ns", fastest.as_secs_f64() * 1e9 / packets.len() as f64);
}

/// Prints what uniting many services takes.
fn unite(steering: &Steering) {
    let server = |n: u32| SocketAddrV4::new(Ipv4Addr::from_bits(0x0a01_0000 + n / 8), 8000 + (n % 8) as u16);
    let servers: Vec<SocketAddrV4> = (0..SERVICES * SERVERS).map(server).collect();
    let member = |(n, servers): (u32, _)| {
        let (addr, port) = (Ipv4Addr::from_bits(0x0a00_0000 + n / 16), 80 + (n % 16) as u16);
        Member { selector: Selector::Address { protocol: 6, addr, port }, persistence: None, servers }
    };
    let members: Vec<Member<'_>> = (0..).zip(servers.chunks(SERVERS as usize)).map(member).collect();
    let start = Instant::now();
    black_box(Groups::unite(steering, &members));
    println!("{SERVICES} services with {SERVERS} real servers each are united in {:.0?}", start.elapsed());
}
