//! A director in memory lists connections as the daemon does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use crate::frame;
use crate::network;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::frame::Options;
use crate::network::WAN;
use api::{Ask, ConnectionFilter, ConnectionQuery, Request, Response};
use model::{Protocol, ServiceKey};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

#[test]
fn connections_are_listed_by_service() {
    let mut sim = network::sim();
    for port in [80, 81] {
        for line in [
            format!("-A -t 10.0.0.100:{port} -s rr"),
            format!("-a -t 10.0.0.100:{port} -r 10.0.1.11:{port} -m"),
        ] {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(sim.ipvsadm(&args).code, 0, "{line}");
        }
        let macs = (network::director(WAN), network::neighbour(WAN, CLIENT));
        let ends = (SocketAddrV4::new(CLIENT, 5000), SocketAddrV4::new(VIP, port));
        assert_eq!(sim.receive(WAN, &frame::build(macs, ends, "syn", &Options::new(&[]))).len(), 1);
    }
    let mut listed = |port: Option<u16>| {
        let service =
            port.map(|port| ServiceKey::Address { protocol: Protocol::Tcp, addr: VIP.into(), port });
        let filter = ConnectionFilter { service, ..ConnectionFilter::default() };
        let query = ConnectionQuery { filter, ..ConnectionQuery::default() };
        let mut sim = &mut sim;
        let Ok(Response::Connections { rows, .. }) = sim.ask(Request::Connections(query)) else {
            panic!("no connections")
        };
        let mut ports: Vec<u16> = rows.iter().map(|row| row.target.port()).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(listed(None), [80, 81]);
    assert_eq!(listed(Some(80)), [80]);
    assert_eq!(listed(Some(81)), [81]);
    assert_eq!(listed(Some(82)), [0; 0], "a service that there is not");
}
