//! Services: their attributes read and written.

use api::ServiceView;
use model::{Model, ServiceFlags, ServiceKey, ServiceSpec};
use nix::errno::Errno;

use super::attribute::{Attributes, Policies, Policy, Writer};
use super::statistics;
use crate::wire::fields::{self, Named};

/// A service as a message names it.
#[derive(Debug)]
pub(super) struct Service<'a> {
    attributes: Attributes<'a>,
    pub(super) named: Named,
}

impl<'a> Service<'a> {
    /// Reads the name of a service (`ip_vs_genl_parse_service`).
    pub(super) fn read(nest: Option<&'a [u8]>) -> Result<Self, Errno> {
        let nest = nest.ok_or(Errno::EINVAL)?;
        let attributes = Attributes::read(nest, POLICIES).map_err(|_| Errno::EINVAL)?;
        let number = attributes.u16(FAMILY).ok_or(Errno::EINVAL)?;
        let mark = attributes.u32(MARK);
        let address = (attributes.u16(PROTOCOL), attributes.filled(ADDRESS), attributes.be16(PORT));
        let address = match address {
            (Some(protocol), Some(addr), Some(port)) => Some((protocol, addr, port)),
            _ => None,
        };
        if mark.is_none() && address.is_none() {
            return Err(Errno::EINVAL);
        }
        let family = fields::family(number)?;
        let named = match (mark, address) {
            (None, Some((protocol, addr, port))) => {
                Named::by_address(protocol, fields::address(family, addr), port)
            }
            (mark, _) => Named::by_mark(family, mark.unwrap_or(0)),
        };
        Ok(Self { attributes, named })
    }

    /// Reads the rest of the service.
    pub(super) fn full(&self) -> Result<Full, Errno> {
        let missing = Errno::EINVAL;
        let scheduler = self.attributes.bytes(SCHEDULER).ok_or(missing)?;
        let [f0, f1, f2, f3, m0, m1, m2, m3] = self.attributes.filled(FLAGS).ok_or(missing)?;
        let engine = self.attributes.bytes(ENGINE).map(fields::text);
        Ok(Full {
            scheduler: fields::text(scheduler),
            flags: fields::flags(u32::from_ne_bytes([f0, f1, f2, f3])),
            mask: fields::flags(u32::from_ne_bytes([m0, m1, m2, m3])),
            timeout: self.attributes.u32(TIMEOUT).ok_or(missing)?,
            netmask: self.attributes.u32(NETMASK).ok_or(missing)?,
            engine: engine.filter(|name| !name.is_empty()),
        })
    }
}

/// Everything that a message says about a service, except its name.
#[derive(Debug)]
pub(super) struct Full {
    scheduler: String,
    flags: ServiceFlags,
    /// The flags that the message sets or clears.
    mask: ServiceFlags,
    timeout: u32,
    netmask: u32,
    engine: Option<String>,
}

impl Full {
    /// The service with this key. Flags outside the mask stay as they are in `model`.
    pub(super) fn spec(self, key: ServiceKey, model: &Model) -> ServiceSpec {
        let old = model.find(&key).and_then(|id| model.service(id)).map(|service| service.spec.flags);
        ServiceSpec {
            key,
            scheduler: self.scheduler,
            flags: old.unwrap_or_default().difference(self.mask) | self.flags.intersection(self.mask),
            timeout: self.timeout,
            netmask: fields::netmask(key.family(), self.netmask),
            engine: self.engine,
        }
    }
}

/// Writes a service as an attribute of a message (`ip_vs_genl_fill_service`).
pub(super) fn write(writer: &mut Writer<'_>, kind: u16, view: &ServiceView) {
    let spec = &view.spec;
    writer.nest(kind, |nest| {
        nest.u16(FAMILY, fields::family_number(spec.key.family()));
        match spec.key {
            ServiceKey::Address { protocol, addr, port } => {
                nest.u16(PROTOCOL, protocol.number().into());
                nest.bytes(ADDRESS, &fields::address_bytes(addr));
                nest.be16(PORT, port);
            }
            ServiceKey::Mark { mark, .. } => nest.u32(MARK, mark),
        }
        nest.text(SCHEDULER, &spec.scheduler);
        if let Some(engine) = &spec.engine {
            nest.text(ENGINE, engine);
        }
        let mut flags = [0xff; 8];
        flags[..4].copy_from_slice(&fields::flags_shown(spec.flags).to_ne_bytes());
        nest.bytes(FLAGS, &flags);
        nest.u32(TIMEOUT, spec.timeout);
        nest.u32(NETMASK, fields::netmask_number(spec.netmask));
        statistics::write(nest, STATS, STATS64, &view.traffic);
    });
}

/// `ip_vs_svc_policy`
const POLICIES: &Policies = &[
    (FAMILY, Policy::AtLeast(2)),
    (PROTOCOL, Policy::AtLeast(2)),
    (ADDRESS, Policy::AtMost(16)),
    (PORT, Policy::AtLeast(2)),
    (MARK, Policy::AtLeast(4)),
    (SCHEDULER, Policy::Text(15)),
    (FLAGS, Policy::AtMost(8)),
    (TIMEOUT, Policy::AtLeast(4)),
    (NETMASK, Policy::AtLeast(4)),
    (STATS, Policy::Attributes),
    (ENGINE, Policy::Text(16)),
];

// IPVS_SVC_ATTR_*
const FAMILY: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDRESS: u16 = 3;
const PORT: u16 = 4;
const MARK: u16 = 5;
const SCHEDULER: u16 = 6;
const FLAGS: u16 = 7;
const TIMEOUT: u16 = 8;
const NETMASK: u16 = 9;
const STATS: u16 = 10;
const ENGINE: u16 = 11;
const STATS64: u16 = 12;
