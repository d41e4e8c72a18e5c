//! Services and destinations that take the place of others: to whom connections belong, and whether
//! there is room for newcomers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use crate::frame;
use crate::network;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::frame::Options;
use crate::network::WAN;
use api::{Ask, ConnectionFilter, ConnectionQuery, ConnectionRow, Request, Response};
use director::sim::{Said, Sim};
use model::ServiceKey;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

fn run(sim: &mut Sim, line: &str) -> Said {
    let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    sim.ipvsadm(&args)
}

fn ipvsadm(sim: &mut Sim, line: &str) {
    let said = run(sim, line);
    assert_eq!((said.err.as_str(), said.code), ("", 0), "{line}");
}

fn syn(sim: &mut Sim, cport: u16, port: u16) {
    let (client, service) = (SocketAddrV4::new(CLIENT, cport), SocketAddrV4::new(VIP, port));
    let macs = (network::director(WAN), network::neighbour(WAN, CLIENT));
    let sent = sim.receive(WAN, &frame::build(macs, (client, service), "syn", &Options::new(&[])));
    assert_eq!(sent.len(), 1);
}

fn connections_of(mut sim: &mut Sim, port: u16) -> Vec<ConnectionRow> {
    let service = Some(ServiceKey::tcp(VIP.into(), port));
    let filter = ConnectionFilter { service, ..ConnectionFilter::default() };
    let Ok(Response::Connections { rows, .. }) =
        sim.ask(Request::Connections(ConnectionQuery { filter, from: None }))
    else {
        panic!("no connections")
    };
    rows
}

#[test]
fn a_service_in_the_slot_of_another_has_none_of_its_connections() {
    let mut sim = network::sim();
    ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s rr");
    ipvsadm(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.11:80 -m");
    syn(&mut sim, 5000, 80);
    assert_eq!(connections_of(&mut sim, 80).len(), 1);
    ipvsadm(&mut sim, "-D -t 10.0.0.100:80");
    ipvsadm(&mut sim, "-A -t 10.0.0.100:81 -s rr");
    ipvsadm(&mut sim, "-a -t 10.0.0.100:81 -r 10.0.1.12:80 -m");
    assert_eq!(connections_of(&mut sim, 81), []);
    syn(&mut sim, 5001, 81);
    let rows = connections_of(&mut sim, 81);
    assert_eq!(rows.iter().map(|row| row.client.port()).collect::<Vec<_>>(), [5001]);
    assert_eq!(connections_of(&mut sim, 80), [], "there is no such service");
}

/// How many destinations `network::sim` has room for.
const ROOM: u32 = 64;

/// Adds as many destinations as there is room for, numbered from `first`. Returns what was said of
/// the last one.
fn add_all(sim: &mut Sim, first: u32) -> Said {
    let mut last = Said::default();
    for n in first..first + ROOM {
        last = run(sim, &format!("-a -t 10.0.0.100:80 -r 10.0.1.11:{n} -m"));
    }
    last
}

fn full_of_destinations() -> Sim {
    let mut sim = network::sim();
    ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s rr");
    assert_eq!(add_all(&mut sim, 1000).code, 0);
    sim
}

#[test]
fn a_full_table_is_replaced_by_another_again_and_again() {
    let mut sim = full_of_destinations();
    for round in 2..6 {
        ipvsadm(&mut sim, "-D -t 10.0.0.100:80");
        ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s rr");
        let said = add_all(&mut sim, round * 1000);
        assert_eq!((said.err.as_str(), said.code), ("", 0), "round {round}");
    }
}

#[test]
fn deleted_destinations_that_connections_name_keep_their_slots_and_that_is_said() {
    let mut sim = full_of_destinations();
    syn(&mut sim, 5000, 80);
    ipvsadm(&mut sim, "-D -t 10.0.0.100:80");
    ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s rr");
    let said = add_all(&mut sim, 2000);
    let (words, rest) = said.err.split_once('\n').unwrap();
    assert_eq!((words, said.code), ("Memory allocation problem", 255));
    assert!(
        rest.starts_with("No room for another destination: max_destinations is 64, and 1 of them"),
        "{rest}"
    );
    assert_eq!(rest.lines().count(), 1);
    // A deleted destination that comes back needs no slot of another.
    let dest = connection(&mut sim);
    ipvsadm(&mut sim, &format!("-a -t 10.0.0.100:80 -r {dest} -m"));
}

fn connection(mut sim: &mut Sim) -> String {
    let Ok(Response::Connections { rows, .. }) = sim.ask(Request::Connections(ConnectionQuery::default()))
    else {
        panic!("no connections")
    };
    rows[0].destination.to_string()
}
