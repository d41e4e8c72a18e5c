//! A director without packets: its rules, and the counts of the recorded Linux.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{Load, Observed, Request, Response, Totals, Traffic, page};
use model::{Counters, DestKey, Family, Model, ModelOptions, Protocol, Rates, ServiceKey, ServiceSlot};
use sched::DestId;

pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) services: HashMap<ServiceSlot, Traffic>,
    pub(crate) destinations: HashMap<DestId, (Traffic, Load)>,
    /// Linux's order. It comes from a hash.
    pub(crate) order: Vec<ServiceKey>,
}

impl World {
    pub(crate) fn new(options: ModelOptions) -> Self {
        Self {
            model: Model::new(options),
            services: HashMap::new(),
            destinations: HashMap::new(),
            order: Vec::new(),
        }
    }

    pub(crate) fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Change(change) => Response::from_change(self.model.apply(change).map(drop)),
            Request::List(query) => match page(&self.model, self, &query) {
                Response::Services { mut services, next } => {
                    let place = |key| self.order.iter().position(|other| *other == key);
                    services.sort_by_key(|service| place(service.spec.key).unwrap_or(usize::MAX));
                    Response::Services { services, next }
                }
                other => other,
            },
            Request::Timeouts => Response::Timeouts(self.model.timeouts()),
            Request::Totals => Response::Totals(Totals { table_size: 4096, ..Totals::default() }),
            Request::Zero(key) => {
                assert!(key.is_none_or(|key| self.model.find(&key).is_some()));
                Response::Done
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Observed for World {
    fn service(&self, id: ServiceSlot) -> Traffic {
        self.services.get(&id).copied().unwrap_or_default()
    }

    fn destination(&self, id: DestId) -> Traffic {
        self.destinations.get(&id).map(|dest| dest.0).unwrap_or_default()
    }

    fn load(&self, id: DestId) -> Load {
        self.destinations.get(&id).map(|dest| dest.1).unwrap_or_default()
    }

    fn response_us(&self, _: DestId) -> Option<u32> {
        None
    }

    fn local_address(&self, _: ServiceSlot, _: IpAddr) -> (u64, u64) {
        (3, 1 << 40)
    }
}

/// Reads attributes without checks: the value of each kind.
pub(crate) fn attributes(mut bytes: &[u8]) -> HashMap<u16, &[u8]> {
    let mut all = HashMap::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        all.insert(u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff, value);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub(crate) fn addr(family: u16, bytes: &[u8]) -> IpAddr {
    match family {
        2 => Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).unwrap()).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).into(),
    }
}

pub(crate) fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// The service that these attributes name.
pub(crate) fn service_key(attributes: &HashMap<u16, &[u8]>) -> ServiceKey {
    let family = u16_at(attributes[&1], 0);
    if let Some(mark) = attributes.get(&5) {
        let family = if family == 2 { Family::V4 } else { Family::V6 };
        return ServiceKey::Mark { mark: u32_at(mark, 0), family };
    }
    ServiceKey::Address {
        protocol: Protocol::from_number(attributes[&2][0]).unwrap(),
        addr: addr(family, attributes[&3]),
        port: be16(attributes[&4]),
    }
}

/// The destination that these attributes name.
pub(crate) fn destination_key(attributes: &HashMap<u16, &[u8]>) -> DestKey {
    DestKey::new(addr(u16_at(attributes[&11], 0), attributes[&1]), be16(attributes[&2]))
}

/// 64-bit statistics.
pub(crate) fn traffic(nest: &[u8]) -> Traffic {
    let all = attributes(nest);
    let number = |kind| u64_at(all[&kind], 0);
    Traffic {
        counters: Counters {
            conns: number(1),
            inpkts: number(2),
            outpkts: number(3),
            inbytes: number(4),
            outbytes: number(5),
        },
        rates: Rates {
            cps: number(6),
            inpps: number(7),
            outpps: number(8),
            inbps: number(9),
            outbps: number(10),
        },
    }
}
