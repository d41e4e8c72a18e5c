//! The control side of the measured director: it holds the rules and changes them one at a time, as
//! the daemon does.
//!
//! A change goes into the master, and is released and published as a new snapshot. The worker takes
//! it up at its next poll. Snapshots that no worker uses any more are freed. All this happens on
//! the thread that changes. Real servers with connections stay; only their weights change. A change
//! may also add or remove one spare real server and one spare service.

use core::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::epoch::Workers;
use dataplane::io::PortId;
use dataplane::local::PORTS as LOCAL_PORTS;
use dataplane::snapshot::dest::DestInfo;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::master::Master;
use dataplane::snapshot::master::ServiceFacts;
use dataplane::snapshot::route::Adjacency;
use dataplane::snapshot::route::PortFacts;
use dataplane::snapshot::route::Reach;
use dataplane::snapshot::route::RouteTarget;
use dataplane::snapshot::route::Routes;
use dataplane::snapshot::rules::Rules;
use dataplane::snapshot::rules::WorkerEnd;
use dataplane::snapshot::service::Persistence;
use dataplane::snapshot::service::Selector;
use dataplane::snapshot::service::ServiceId;
use dataplane::wire::ether;
use dataplane::wire::l4;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::MhSize;
use sched::PlanError;

use crate::bench::args::FloodKind;
use crate::bench::io::LAN;
use crate::bench::io::WAN;
use crate::bench::rules;
use crate::bench::rules::MACS;
use crate::bench::rules::Size;

/// Real servers that come and go, besides those with connections.
pub(super) const SPARE: u32 = 2;
/// Persistence timeout in seconds, for a flood of a persistent service.
const STICKY: u32 = 300;

const SERVER_PORT: u16 = 8080;
/// Room for a full frame with an outer header in front.
const MTU: u16 = 1600;
/// Adjacency of the clients' gateway. Real server `n` has adjacency `n + 1`.
const GATEWAY: u32 = 0;

/// The holder of the rules, which also changes them.
pub(super) struct Control {
    rules: Rules,
    size: Size,
    /// Changes made so far.
    changes: u64,
}

impl Control {
    /// Makes the rules of a director of this size, and what its one worker needs to follow them.
    pub(super) fn new(size: &Size) -> Result<(Self, Vec<WorkerEnd>), PlanError> {
        let (workers, tokens) = Workers::new(1);
        let mut master = Master::new(workers, MhSize::default());
        set_paths(&mut master, size.servers() + SPARE);
        let locals = set_locals(&mut master, size);
        for nth in 0..size.services {
            // New destinations come first in the list.
            let members = (nth * size.destinations..(nth + 1) * size.destinations).rev();
            let dests = members.map(|n| set_dest(&mut master, size, n, nth)).collect();
            master.set_service(&spec(size, nth, locals.clone()), dests)?;
        }
        if size.flood == Some(FloodKind::Udp) {
            let dest = set_dest(&mut master, size, size.servers(), size.services);
            master.set_service(&datagrams(size, locals), vec![dest])?;
        }
        let (rules, ends) = Rules::new(master, tokens);
        Ok((Self { rules, size: *size, changes: 0 }, ends))
    }

    /// Makes one change and publishes it. Six changes make a cycle: a weight, one more real server,
    /// one more service, another weight, then the server and the service are removed.
    pub(super) fn change(&mut self) -> Result<(), PlanError> {
        // The spare real server joins the first service.
        let (spare, first) = (DestId::new(self.size.servers()), ServiceId::new(0));
        let extra = self.size.services;
        match self.changes % 6 {
            1 => {
                let dest = set_dest(&mut self.rules.master, &self.size, spare.as_u32(), first.as_u32());
                self.edit(first, |dests| {
                    let edit = Edit::added(dests, &dest);
                    dests.insert(0, dest);
                    edit
                })?;
            }
            2 => {
                let dest = set_dest(&mut self.rules.master, &self.size, spare.as_u32() + 1, extra);
                let locals = (0..locals(&self.size)).collect();
                self.rules.master.set_service(&spec(&self.size, extra, locals), vec![dest])?;
            }
            4 => {
                self.retire(spare);
                self.edit(first, |dests| {
                    let edit = Edit::deleted(dests, spare);
                    dests.retain(|dest| dest.id != spare);
                    edit
                })?;
            }
            5 => {
                self.retire(DestId::new(spare.as_u32() + 1));
                self.rules.master.remove_service(ServiceId::new(extra));
            }
            _ => self.weigh()?,
        }
        self.changes += 1;
        self.rules.publish();
        Ok(())
    }

    /// Changes made so far.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Changes the weight of the next real server in turn from 1 to 2 or from 2 to 1.
    fn weigh(&mut self) -> Result<(), PlanError> {
        let id = DestId::new((self.changes / 3 % u64::from(self.size.servers())) as u32);
        let Some(info) = self.rules.master.snapshot().dest(id).copied() else { return Ok(()) };
        let info = DestInfo { weight: 3 - info.weight, ..info };
        self.rules.master.set_dest(id, info);
        self.edit(info.service, |dests| {
            let old = dests.clone();
            let dest = dest(id, &info);
            dests.iter_mut().filter(|other| other.id == id).for_each(|other| *other = dest);
            Edit::updated(&old, &dest)
        })
    }

    fn edit(&mut self, id: ServiceId, change: impl FnOnce(&mut Vec<Dest>) -> Edit) -> Result<(), PlanError> {
        let Some(service) = self.rules.master.snapshot().services.by_id(id) else { return Ok(()) };
        let mut dests = service.plan.dests().to_vec();
        let edit = change(&mut dests);
        self.rules.master.set_dests(id, dests, edit)
    }

    /// Marks a real server as gone. Its connections may still name it.
    fn retire(&mut self, id: DestId) {
        if let Some(info) = self.rules.master.snapshot().dest(id).copied() {
            self.rules.master.set_dest(id, DestInfo { available: false, ..info });
        }
    }
}

fn spec(size: &Size, nth: u32, locals: Vec<u32>) -> ServiceFacts {
    let (addr, port) = rules::service(nth);
    ServiceFacts {
        id: ServiceId::new(nth),
        key: Selector::Address { protocol: l4::TCP, addr, port },
        kind: size.kind,
        flags: sched::Flags::from_bits(0),
        persistence: (size.flood == Some(FloodKind::SynAckSticky))
            .then_some(Persistence { timeout: STICKY, netmask: Ipv4Addr::BROADCAST }),
        one_packet: false,
        locals,
    }
}

/// The service for a flood of datagrams, at the address and port of the first service. It has a
/// spare real server.
fn datagrams(size: &Size, locals: Vec<u32>) -> ServiceFacts {
    let (addr, port) = rules::service(0);
    let key = Selector::Address { protocol: l4::UDP, addr, port };
    ServiceFacts { key, ..spec(size, size.services, locals) }
}

fn set_paths(master: &mut Master, servers: u32) {
    let paths = master.paths_mut();
    let port = |mac| PortFacts { mac, mtu: MTU, addr: None, verify_checksum: false, ..PortFacts::default() };
    paths.ports = Arc::new(MACS.map(port));
    *paths.adjacencies.entry(GATEWAY as usize) = adjacency(WAN, 0xff_ffff);
    for n in 0..servers {
        *paths.adjacencies.entry(n as usize + 1) = adjacency(LAN, n);
    }
    let everywhere = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, RouteTarget::Gateway(GATEWAY));
    paths.routes = Arc::new(Routes::new(&[everywhere]));
}

fn adjacency(port: PortId, station: u32) -> Adjacency {
    let [_, a, b, c] = station.to_be_bytes();
    let mut header = [0; ether::ETHER_LEN];
    header[..6].copy_from_slice(&[2, 0, 1, a, b, c]);
    header[6..12].copy_from_slice(&MACS[port.index()].0);
    header[12..].copy_from_slice(&ether::IPV4.to_be_bytes());
    Adjacency { header, reach: Reach::Port(port), mtu: MTU, next_hop: None }
}

fn set_locals(master: &mut Master, size: &Size) -> Vec<u32> {
    let slots = 0..locals(size);
    for slot in slots.clone() {
        let addr = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + slot);
        master.set_local(slot, addr);
    }
    slots.collect()
}

/// How many local addresses give enough ports for the table's connections, and one more.
fn locals(size: &Size) -> u32 {
    if size.method != Method::FullNat {
        return 0;
    }
    match size.flood {
        // Enough for the standing connections only: half of the table.
        Some(_) => size.capacity / 2 / (LOCAL_PORTS * size.destinations.max(1)) + 1,
        None => size.capacity / LOCAL_PORTS + 2,
    }
}

/// Makes real server `n` one of service `nth`. Returns it as schedulers see it.
fn set_dest(master: &mut Master, size: &Size, n: u32, nth: u32) -> Dest {
    let id = DestId::new(n);
    let info = DestInfo {
        available: true,
        method: size.method,
        weight: 1,
        addr: server(n),
        port: if size.method.is_translated() { SERVER_PORT } else { rules::service(nth).1 },
        service: ServiceId::new(nth),
        hop: n + 1,
        tunnel_source: Ipv4Addr::new(10, 255, 255, 254),
        ..DestInfo::default()
    };
    master.set_dest(id, info);
    dest(id, &info)
}

fn dest(id: DestId, info: &DestInfo) -> Dest {
    Dest { id, addr: info.addr.into(), port: info.port, weight: info.weight, last_weight: info.weight }
}

fn server(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + n)
}

#[cfg(test)]
mod tests {
    use dataplane::snapshot::Snapshot;
    use sched::Kind;

    use super::*;

    fn members(rules: &Snapshot, service: u32) -> Option<Vec<(u32, i32)>> {
        let service = rules.services.by_id(ServiceId::new(service))?;
        Some(service.plan.dests().iter().map(|dest| (dest.id.as_u32(), dest.weight)).collect())
    }

    #[test]
    fn six_changes_leave_only_weights_behind() -> Result<(), PlanError> {
        let (kind, method) = (Kind::Wlc, Method::Masquerade);
        let size = Size { method, kind, services: 2, destinations: 2, capacity: 100, flood: None };
        let (mut control, mut ends) = Control::new(&size)?;
        let rules = &mut ends[0].rules;
        let first = [
            [(1, 1), (0, 2)].as_slice(),
            &[(4, 1), (1, 1), (0, 2)],
            &[(4, 1), (1, 1), (0, 2)],
            &[(4, 1), (1, 2), (0, 2)],
            &[(1, 2), (0, 2)],
            &[(1, 2), (0, 2)],
        ];
        for (nth, expected) in first.iter().enumerate() {
            control.change()?;
            assert!(rules.refresh());
            let rules = rules.get();
            assert_eq!(members(rules, 0).as_deref(), Some(*expected), "after change {nth}");
            assert_eq!(members(rules, 1), Some(vec![(3, 1), (2, 1)]));
            assert_eq!(members(rules, 2), (2..5).contains(&nth).then(|| vec![(5, 1)]));
        }
        // All old versions are freed, except the one that the last change replaced.
        control.rules.publish();
        assert!(rules.refresh());
        assert_eq!((control.changes(), control.rules.reclaim()), (6, 1));
        Ok(())
    }
}
