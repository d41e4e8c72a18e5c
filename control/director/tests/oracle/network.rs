//! The network around the director, the same that `scripts/oracle.d/guest.py` builds of veth pairs:
//! clients and their gateway on the port `wan`, real servers on `lan`, virtual addresses on `lo`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dataplane::io::PortId;
use dataplane::mem::Size;
use dataplane::wire::checksum;
use dataplane::wire::ether::Mac;
use director::sim::{FrameExit, Sim, SimPort};
use ipnet::IpNet;
use linux::{Address, Iface, MirrorState, Neighbour, NeighbourState, Route, RouteKind, RouteTable, TableId};

/// The clients' side.
pub const WAN: PortId = PortId::new(0);
/// The real servers' side.
pub const LAN: PortId = PortId::new(1);

const LO: u32 = 1;
/// Interface indices of the ports.
const LINKS: [u32; 2] = [2, 3];
const NAMES: [&str; 2] = ["wan", "lan"];

/// The director's MAC on a port.
pub fn director(port: PortId) -> [u8; 6] {
    [2, 0, 0, 0, 0, port.as_u16() as u8 + 1]
}

/// The MAC from which packets of `addr` come on this port: the neighbour's, or the gateway's.
pub fn neighbour(port: PortId, addr: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = addr.octets();
    let last = if [a, b, c] == [10, 0, port.as_u16() as u8] { d } else { 254 };
    [2, 0, 0, 0, port.as_u16() as u8 + 1, last]
}

/// A director in that network.
pub fn sim() -> Sim {
    let port =
        |port: PortId| SimPort { host_interface: NAMES[port.index()].to_owned(), mac: Mac(director(port)) };
    let size = Size { connections: 4096, destinations: 64, seed: 1 };
    Sim::new(&[port(WAN), port(LAN)], Arc::new(world()), size)
}

/// What Linux does with a packet that Vipline leaves to it. Linux routes packets for others on; it
/// keeps the rest.
pub fn through_linux(outcome: FrameExit) -> FrameExit {
    let FrameExit::Host(_, frame) = &outcome else { return outcome };
    let dst = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
    let own = match dst.octets() {
        [10, 0, 0 | 1, last] => matches!(last, 1 | 100..104),
        [10, 9, ..] => true,
        _ => false,
    };
    if own || frame[22] < 2 {
        return outcome;
    }
    let port = if dst.octets()[..3] == [10, 0, 1] { LAN } else { WAN };
    let mut frame = frame.clone();
    frame[..6].copy_from_slice(&neighbour(port, dst));
    frame[6..12].copy_from_slice(&director(port));
    frame[22] -= 1;
    frame[24..26].fill(0);
    let sum = checksum::compute(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum);
    FrameExit::Sent(port, frame)
}

fn world() -> MirrorState {
    let iface = |name: &str, mac: Option<[u8; 6]>, mtu| Iface {
        name: name.to_owned(),
        mac: mac.map(Mac),
        mtu,
        up: true,
        carrier: true,
        lower: None,
        tagged: false,
    };
    let ifaces = BTreeMap::from([
        (LO, iface("lo", None, 65536)),
        (LINKS[0], iface("wan", Some(director(WAN)), 1500)),
        (LINKS[1], iface("lan", Some(director(LAN)), 1500)),
    ]);
    let vips = (100..104).map(|n| (LO, format!("10.0.0.{n}/32")));
    let own = [(LINKS[0], "10.0.0.1/24".to_owned()), (LINKS[1], "10.0.1.1/24".to_owned())];
    let addresses: Vec<Address> =
        own.into_iter().chain(vips).map(|(link, net)| address(link, &net)).collect();
    let locals = addresses.iter().map(|address| {
        let own = Some(address.net.addr());
        route(&address.net.addr().to_string(), RouteKind::Local, address.ifindex, None, own)
    });
    let others = [
        route("127.0.0.0/8", RouteKind::Local, LO, None, None),
        route("10.9.0.0/16", RouteKind::Local, LO, None, None),
        route("10.0.0.0/24", RouteKind::Unicast, LINKS[0], None, Some(Ipv4Addr::new(10, 0, 0, 1).into())),
        route("10.0.1.0/24", RouteKind::Unicast, LINKS[1], None, Some(Ipv4Addr::new(10, 0, 1, 1).into())),
        route("10.0.0.255", RouteKind::Broadcast, LINKS[0], None, None),
        route("10.0.1.255", RouteKind::Broadcast, LINKS[1], None, None),
        route("0.0.0.0/0", RouteKind::Unicast, LINKS[0], Some(Ipv4Addr::new(10, 0, 0, 254).into()), None),
    ];
    let routes = RouteTable::new(locals.chain(others), true);
    let near = [WAN, LAN].into_iter().flat_map(|port| {
        (2..100).chain([254]).map(move |n| {
            let addr = Ipv4Addr::new(10, 0, port.as_u16() as u8, n);
            let mac = Some(Mac(neighbour(port, addr)));
            ((LINKS[port.index()], IpAddr::V4(addr)), Neighbour { mac, state: NeighbourState::Permanent })
        })
    });
    MirrorState {
        ifaces: Arc::new(ifaces),
        neighbours: Arc::new(near.collect()),
        routes: Arc::new(routes),
        addresses: Arc::new(addresses),
        ..MirrorState::default()
    }
}

fn address(ifindex: u32, net: &str) -> Address {
    let net: IpNet = net.parse().unwrap();
    Address { ifindex, net, subnet: net, scope: 0, secondary: false, deprecated: false, tentative: false }
}

fn route(
    dest: &str,
    kind: RouteKind,
    ifindex: u32,
    gateway: Option<IpAddr>,
    pref_src: Option<IpAddr>,
) -> Route {
    let dest = dest.parse().unwrap_or_else(|_| IpNet::from(dest.parse::<IpAddr>().unwrap()));
    let table = if kind == RouteKind::Unicast { TableId::Main } else { TableId::Local };
    let (metric, mtu, scope, links, dead) = (0, None, 0, Vec::new(), false);
    Route { dest, kind, gateway, ifindex, metric, pref_src, mtu, table, scope, links, dead }
}
