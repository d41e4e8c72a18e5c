//! Rules in one line for tests: services, real servers and their changes.

use dataplane::io::PacketIo;
use dataplane::snapshot::dest::DestInfo;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::master::ServiceFacts;
use dataplane::snapshot::service::Selector;
use dataplane::snapshot::service::ServiceId;
use dataplane::snapshot::tunables::Tunables;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Kind;

use super::DIP;
use super::Rig;
use super::VIP;
use super::rip;

impl<Io: PacketIo> Rig<Io> {
    /// Changes tunables and publishes.
    pub fn tune(&mut self, change: impl FnOnce(&mut Tunables)) {
        change(self.master().tunables_mut());
        self.publish();
    }

    pub fn publish(&mut self) {
        self.director.rules.publish();
    }

    /// A service on `VIP:port`.
    pub fn service(&mut self, protocol: u8, port: u16, kind: Kind) -> ServiceId {
        self.service_with(protocol, port, kind, |_| ())
    }

    pub fn service_with(
        &mut self,
        protocol: u8,
        port: u16,
        kind: Kind,
        change: impl FnOnce(&mut ServiceFacts),
    ) -> ServiceId {
        let id = ServiceId::new(self.services);
        self.services += 1;
        let mut spec = ServiceFacts {
            id,
            key: Selector::Address { protocol, addr: VIP, port },
            kind,
            flags: sched::Flags::from_bits(0),
            persistence: None,
            one_packet: false,
            locals: vec![0],
        };
        change(&mut spec);
        self.master().set_service(&spec, Vec::new()).unwrap();
        self.publish();
        id
    }

    /// Adds real server `n` to a service. It becomes the first of the list, as in Linux.
    pub fn dest(&mut self, service: ServiceId, n: u8, port: u16, method: Method, weight: i32) -> DestId {
        let id = DestId::new(self.dests);
        self.dests += 1;
        self.dest_as(id, service, n, port, method, weight);
        id
    }

    pub fn dest_as(&mut self, id: DestId, service: ServiceId, n: u8, port: u16, method: Method, weight: i32) {
        let info = DestInfo {
            available: true,
            method,
            weight,
            addr: rip(n),
            port,
            service,
            hop: u32::from(n),
            tunnel_source: DIP,
            ..DestInfo::default()
        };
        self.master().set_dest(id, info);
        self.edit(service, |list| {
            let dest = Dest { id, addr: rip(n).into(), port, weight, last_weight: weight };
            let edit = Edit::added(list, &dest);
            list.insert(0, dest);
            edit
        });
    }

    pub fn weight(&mut self, service: ServiceId, id: DestId, weight: i32) {
        let info = DestInfo { weight, ..*self.snapshot().dest(id).unwrap() };
        self.master().set_dest(id, info);
        self.edit(service, |list| {
            let old = list.clone();
            let dest = list.iter_mut().find(|dest| dest.id == id).unwrap();
            dest.weight = weight;
            if weight != 0 {
                dest.last_weight = weight;
            }
            Edit::updated(&old, dest)
        });
    }

    pub fn change_dest(&mut self, id: DestId, change: impl FnOnce(&mut DestInfo)) {
        let mut info = *self.snapshot().dest(id).unwrap();
        change(&mut info);
        self.master().set_dest(id, info);
        self.publish();
    }

    pub fn delete(&mut self, service: ServiceId, id: DestId) {
        let info = DestInfo { available: false, ..*self.snapshot().dest(id).unwrap() };
        self.master().set_dest(id, info);
        self.edit(service, |list| {
            let edit = Edit::deleted(list, id);
            list.retain(|dest| dest.id != id);
            edit
        });
    }

    /// Changes a service's list and publishes.
    fn edit(&mut self, id: ServiceId, change: impl FnOnce(&mut Vec<Dest>) -> Edit) {
        let service = self.snapshot().services.by_id(id).unwrap();
        let mut list = service.plan.dests().to_vec();
        let edit = change(&mut list);
        self.master().set_dests(id, list, edit).unwrap();
        self.publish();
    }
}
