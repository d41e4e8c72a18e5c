//! The response times that workers measured reach those who ask the daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use crate::frame;
use crate::network;
use std::net::{Ipv4Addr, SocketAddrV4};

use api::{Ask, ListQuery, Request, Response};

use crate::frame::Options;
use crate::network::{LAN, WAN};
use dataplane::time::Ticks;
use director::sim::{FrameExit, Sim};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 100), 80);

fn ipvsadm(sim: &mut Sim, line: &str) {
    let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let said = sim.ipvsadm(&args);
    assert_eq!((said.err.as_str(), said.code), ("", 0), "{line}");
}

/// Real servers by the last byte of their address, and their response times.
fn response_times(mut sim: &mut Sim) -> Vec<(u8, Option<u32>)> {
    let Ok(Response::Services { services, .. }) = sim.ask(Request::List(ListQuery::default())) else {
        panic!("no services")
    };
    let last = |addr: std::net::IpAddr| addr.to_string().rsplit('.').next().unwrap().parse().unwrap();
    services[0].destinations.iter().map(|dest| (last(dest.spec.key.addr), dest.response_us)).collect()
}

/// Opens a connection. The real server answers it after this number of ticks.
fn open(sim: &mut Sim, port: u16, ticks: u32) {
    let client = SocketAddrV4::new(CLIENT, port);
    let macs = |port, addr| (network::director(port), network::neighbour(port, addr));
    let syn = frame::build(macs(WAN, CLIENT), (client, VIP), "syn", &Options::new(&[]));
    let sent = sim.receive(WAN, &syn);
    let [FrameExit::Sent(LAN, sent)] = &sent[..] else { panic!("{sent:?}") };
    let server = frame::answers_from(sent, VIP);
    // One tick at a time, as for a worker that is not held up. A worker that notices that it was
    // late itself takes no measurement.
    (0..ticks).for_each(|_| sim.wait(1));
    let answer = frame::build(macs(LAN, *server.ip()), (server, client), "syn", &Options::new(&["ack"]));
    assert_eq!(sim.receive(LAN, &answer).len(), 1);
    // The client closes the connection.
    let reset = frame::build(macs(WAN, CLIENT), (client, VIP), "rst", &Options::new(&[]));
    assert_eq!(sim.receive(WAN, &reset).len(), 1);
}

#[test]
fn a_destination_shows_the_response_time_that_was_measured() {
    let mut sim = network::sim();
    ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s wrt");
    ipvsadm(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.11:80 -m");
    assert_eq!(response_times(&mut sim), [(11, None)]);
    open(&mut sim, 5000, 2);
    assert_eq!(response_times(&mut sim), [(11, Some(20_000))]);
    open(&mut sim, 5001, 10);
    assert_eq!(response_times(&mut sim), [(11, Some(30_000))]);
    ipvsadm(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.12:80 -m");
    assert_eq!(response_times(&mut sim), [(12, None), (11, Some(30_000))]);
}

#[test]
fn a_new_destination_in_an_old_slot_has_none() {
    let mut sim = network::sim();
    ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s wrt");
    ipvsadm(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.11:80 -m");
    open(&mut sim, 5000, 2);
    ipvsadm(&mut sim, "-d -t 10.0.0.100:80 -r 10.0.1.11:80");
    // Deleted destinations are freed two minutes after their last connection.
    sim.wait(300 * Ticks::PER_SECOND);
    ipvsadm(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.12:80 -m");
    assert_eq!(response_times(&mut sim), [(12, None)]);
}

#[test]
fn an_operator_has_a_response_time_measured_anew() {
    const RULE: &str = "-t 10.0.0.100:80 -r 10.0.1.11:80 -m";
    let again: [(&str, &[String]); 5] = [
        ("put back", &[format!("-d {}", &RULE[..RULE.len() - 3]), format!("-a {RULE}")]),
        ("zeroed", &["-Z".to_owned()]),
        ("its service zeroed", &["-Z -t 10.0.0.100:80".to_owned()]),
        ("another scheduler and back", &["wlc", "wrt"].map(|name| format!("-E -t 10.0.0.100:80 -s {name}"))),
        ("quiesced and back", &[0, 1].map(|weight| format!("-e {RULE} -w {weight}"))),
    ];
    for (what, commands) in again {
        let mut sim = network::sim();
        ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s wrt");
        ipvsadm(&mut sim, &format!("-a {RULE}"));
        open(&mut sim, 5000, 10);
        assert_eq!(response_times(&mut sim), [(11, Some(100_000))]);
        for command in commands {
            ipvsadm(&mut sim, command);
        }
        assert_eq!(response_times(&mut sim), [(11, None)], "{what}");
        open(&mut sim, 5001, 2);
        assert_eq!(
            response_times(&mut sim),
            [(11, Some(20_000))],
            "{what}: the first sample stands for itself"
        );
    }
    // A change from one weight to another, neither of them zero, says nothing about the server.
    let mut sim = network::sim();
    ipvsadm(&mut sim, "-A -t 10.0.0.100:80 -s wrt");
    ipvsadm(&mut sim, &format!("-a {RULE}"));
    open(&mut sim, 5000, 10);
    ipvsadm(&mut sim, &format!("-e {RULE} -w 3"));
    assert_eq!(response_times(&mut sim), [(11, Some(100_000))]);
}
