//! Tunables reach the packet path.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::frame::{self, Options};
use crate::network::{self, WAN};
use api::{Ask, ConnectionQuery, Request, Response};
use director::sim::Sim;
use model::Change;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

fn sim() -> Sim {
    let mut sim = network::sim();
    for line in ["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 10.0.1.11:80 -m"] {
        assert_eq!(sim.ipvsadm(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).code, 0);
    }
    sim
}

fn set(mut sim: &mut Sim, name: &str, value: &str) {
    let change = Change::SetTunable(name.to_owned(), value.to_owned());
    assert_eq!(sim.ask(Request::Change(change)).unwrap(), Response::Done);
}

fn send(sim: &mut Sim, port: u16, kind: &str) {
    let ends = (SocketAddrV4::new(CLIENT, port), SocketAddrV4::new(VIP, 80));
    let macs = (network::director(WAN), network::neighbour(WAN, CLIENT));
    sim.receive(WAN, &frame::build(macs, ends, kind, &Options::new(&[])));
}

fn connections(mut sim: &mut Sim) -> usize {
    match sim.ask(Request::Connections(ConnectionQuery::default())).unwrap() {
        Response::Connections { rows, .. } => rows.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sloppy_tcp_lets_any_packet_open_a_connection() {
    let mut sim = sim();
    send(&mut sim, 5000, "ack");
    assert_eq!(connections(&mut sim), 0);
    set(&mut sim, "sloppy_tcp", "1");
    send(&mut sim, 5000, "ack");
    assert_eq!(connections(&mut sim), 1);
    set(&mut sim, "sloppy_tcp", "0");
    send(&mut sim, 5001, "ack");
    assert_eq!(connections(&mut sim), 1);
    sim.check_accounts().unwrap();
}

#[test]
fn expire_nodest_conn_ends_the_connections_of_a_deleted_server() {
    for (value, left) in [("0", 1), ("1", 0)] {
        let mut sim = sim();
        set(&mut sim, "expire_nodest_conn", value);
        send(&mut sim, 5000, "syn");
        let line = "-d -t 10.0.0.100:80 -r 10.0.1.11:80";
        assert_eq!(sim.ipvsadm(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).code, 0);
        send(&mut sim, 5000, "ack");
        sim.wait(200);
        assert_eq!(connections(&mut sim), left, "expire_nodest_conn is {value}");
    }
}
