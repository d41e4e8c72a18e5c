//! The rules of the director in memory: a service for each method and protocol. Each has eight real
//! servers.

use core::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::epoch::Workers;
use dataplane::io::PortId;
use dataplane::snapshot::dest::DestInfo;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::master::Master;
use dataplane::snapshot::master::ServiceFacts;
use dataplane::snapshot::route::Adjacency;
use dataplane::snapshot::route::PortFacts;
use dataplane::snapshot::route::Reach;
use dataplane::snapshot::route::RouteTarget;
use dataplane::snapshot::route::Routes;
use dataplane::snapshot::service::Selector;
use dataplane::snapshot::service::ServiceId;
use dataplane::wire::l4;
use sched::Dest;
use sched::DestId;
use sched::Kind;
use sched::MhSize;

use crate::packet::MAC;
use crate::packet::PORT;
use crate::packet::vip;

/// The methods of the services.
pub const METHODS: [Method; 4] = [Method::DirectRoute, Method::Tunnel, Method::Masquerade, Method::FullNat];
/// The protocols of the services.
pub const PROTOCOLS: [u8; 2] = [l4::TCP, l4::UDP];
/// The port towards the clients; their adjacency has the same number.
pub const WAN: PortId = PortId::new(0);
/// The port towards the real servers; their adjacency has the same number.
pub const LAN: PortId = PortId::new(1);
/// The port of the real servers, for methods that translate ports.
pub const SERVER_PORT: u16 = 8080;
/// The address that real servers see with FULLNAT.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
/// How many real servers all services have together.
pub const DESTS: u32 = SERVERS * (METHODS.len() * PROTOCOLS.len()) as u32;

const SERVERS: u32 = 8;

/// The rules; `None` if a service cannot be built.
pub fn rules(workers: Workers) -> Option<Master> {
    let mut master = Master::new(workers, MhSize::default());
    let paths = master.paths_mut();
    let port = PortFacts { mac: MAC, mtu: 1600, addr: None, verify_checksum: false, ..PortFacts::default() };
    paths.ports = Arc::new([port, port]);
    for port in [WAN, LAN] {
        *paths.adjacencies.entry(port.index()) = adjacency(port);
    }
    let everywhere = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, RouteTarget::Gateway(WAN.index() as u32));
    paths.routes = Arc::new(Routes::new(&[everywhere]));
    master.set_local(0, LOCAL);
    let services = METHODS.iter().flat_map(|method| PROTOCOLS.map(|protocol| (*method, protocol)));
    for (n, (method, protocol)) in (0..).zip(services) {
        let dests =
            (n * SERVERS..).take(SERVERS as usize).map(|id| dest(&mut master, method, n, id)).collect();
        let spec = ServiceFacts {
            id: ServiceId::new(n),
            key: Selector::Address { protocol, addr: vip(method), port: PORT },
            kind: Kind::Rr,
            flags: sched::Flags::from_bits(0),
            persistence: None,
            one_packet: false,
            locals: vec![0],
        };
        master.set_service(&spec, dests).ok()?;
    }
    Some(master)
}

/// The address of the real server in slot `id`.
pub const fn server(id: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + id)
}

fn adjacency(port: PortId) -> Adjacency {
    let header = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0];
    Adjacency { header, reach: Reach::Port(port), mtu: 1600, next_hop: None }
}

fn dest(master: &mut Master, method: Method, service: u32, id: u32) -> Dest {
    let (addr, port) = (server(id), if method.is_translated() { SERVER_PORT } else { PORT });
    let info = DestInfo {
        available: true,
        method,
        weight: 1,
        addr,
        port,
        service: ServiceId::new(service),
        hop: LAN.index() as u32,
        tunnel_source: Ipv4Addr::new(10, 255, 255, 254),
        ..DestInfo::default()
    };
    master.set_dest(DestId::new(id), info);
    Dest { id: DestId::new(id), addr: addr.into(), port, weight: 1, last_weight: 1 }
}
