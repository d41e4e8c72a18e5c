//! Pages of services, made from the model and from what the packet path has counted.

use sched::DestId;

use super::message::{ListQuery, Response, TunableView};
use super::view::{DestView, Load, LocalAddressView, ServiceView, Traffic};
use model::{Destination, Model, ModelError, Service, ServiceSlot, Tunable};

/// What is known of services and destinations besides the rules.
pub trait Observed {
    /// A service's traffic.
    fn service(&self, id: ServiceSlot) -> Traffic;
    /// A destination's traffic.
    fn destination(&self, id: DestId) -> Traffic;
    /// A destination's connections.
    fn load(&self, id: DestId) -> Load;
    /// A destination's smoothed response time in microseconds, if it was measured.
    fn response_us(&self, id: DestId) -> Option<u32>;
    /// Conflicts and connections of a service's local address.
    fn local_address(&self, service: ServiceSlot, addr: std::net::IpAddr) -> (u64, u64);
}

/// For a model without a packet path: nothing is counted.
impl Observed for () {
    fn service(&self, _: ServiceSlot) -> Traffic {
        Traffic::default()
    }

    fn destination(&self, _: DestId) -> Traffic {
        Traffic::default()
    }

    fn load(&self, _: DestId) -> Load {
        Load::default()
    }

    fn response_us(&self, _: DestId) -> Option<u32> {
        None
    }

    fn local_address(&self, _: ServiceSlot, _: std::net::IpAddr) -> (u64, u64) {
        (0, 0)
    }
}

/// The page that `query` asks for. A page ends with a whole service, after about [`PAGE`] services
/// and destinations.
pub fn page(model: &Model, observed: &dyn Observed, query: &ListQuery) -> Response {
    if let Some(key) = &query.service {
        let found = model.find(key).and_then(|id| Some((id, model.service(id)?)));
        let Some((id, service)) = found else { return Response::Refused(ModelError::NoService) };
        return Response::Services { services: vec![view(model, observed, id, service)], next: None };
    }
    let from = query.from.map_or(0, |from| u32::try_from(from).unwrap_or(u32::MAX));
    let mut services = Vec::new();
    let mut weight = 0;
    for (id, service) in model.services_from(ServiceSlot::new(from)) {
        if weight >= PAGE {
            return Response::Services { services, next: Some(u64::from(id.as_u32())) };
        }
        weight += 1 + service.destinations.len();
        services.push(view(model, observed, id, service));
    }
    Response::Services { services, next: None }
}

fn view(model: &Model, observed: &dyn Observed, id: ServiceSlot, service: &Service) -> ServiceView {
    let destination = |(id, destination): (DestId, &Destination)| DestView {
        id: id.as_u32(),
        spec: destination.spec,
        load: observed.load(id),
        traffic: observed.destination(id),
        response_us: observed.response_us(id),
    };
    let local_address = |addr: &std::net::IpAddr| {
        let (conflicts, conns) = observed.local_address(id, *addr);
        LocalAddressView { addr: *addr, conflicts, conns }
    };
    ServiceView {
        id: id.as_u32(),
        spec: service.spec.clone(),
        traffic: observed.service(id),
        destinations: model.destinations(service).map(destination).collect(),
        local_addresses: service.local_addresses.iter().map(local_address).collect(),
    }
}

/// All tunables of the model.
pub fn tunables(model: &Model) -> Vec<TunableView> {
    let view = |(tunable, value): (&Tunable, String)| TunableView {
        name: tunable.name.to_owned(),
        value,
        built: tunable.is_built(),
    };
    model.tunables().iter().map(view).collect()
}

/// About how many services and destinations make a page.
pub const PAGE: usize = 1024;
