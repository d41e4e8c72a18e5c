//! Destinations: their attributes read and written.

use api::DestView;
use model::{DestKey, DestSpec, Family, ForwardingMethod, Tunnel};
use nix::errno::Errno;

use super::attribute::{Attributes, Policies, Policy, Writer};
use super::statistics;
use crate::wire::fields;

/// A destination as a message names it.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    attributes: Attributes<'a>,
    addr: [u8; 16],
    port: u16,
}

impl<'a> Destination<'a> {
    /// Reads the key of a destination (`ip_vs_genl_parse_dest`).
    pub(super) fn read(nest: Option<&'a [u8]>) -> Result<Self, Errno> {
        let nest = nest.ok_or(Errno::EINVAL)?;
        let attributes = Attributes::read(nest, POLICIES).map_err(|_| Errno::EINVAL)?;
        let addr = attributes.filled(ADDRESS).ok_or(Errno::EINVAL)?;
        let port = attributes.be16(PORT).ok_or(Errno::EINVAL)?;
        Ok(Self { attributes, addr, port })
    }

    /// The key of the destination. If the message gives no family, it is that of the service.
    pub(super) fn key(&self, service: Family) -> Result<DestKey, Errno> {
        let family = match self.attributes.u16(FAMILY) {
            None | Some(0) => service,
            Some(number) => fields::family(number)?,
        };
        Ok(DestKey::new(fields::address(family, self.addr), self.port))
    }

    /// The complete destination.
    pub(super) fn full(&self, service: Family) -> Result<DestSpec, Errno> {
        let number = |kind| self.attributes.u32(kind).ok_or(Errno::EINVAL);
        let (method, weight) = (number(METHOD)?, number(WEIGHT)?);
        let (upper, lower) = (number(UPPER)?, number(LOWER)?);
        let key = self.key(service)?;
        let method = match (fields::method(method)?, self.attributes.bytes(FULLNAT)) {
            (ForwardingMethod::Masquerade, Some(_)) => ForwardingMethod::FullNat,
            (_, Some(_)) => return Err(Errno::EINVAL),
            (method, None) => method,
        };
        let tunnel = match method {
            ForwardingMethod::Tunnel => self.tunnel()?,
            _ => Tunnel::default(),
        };
        Ok(DestSpec { key, method, weight: weight as i32, upper, lower, tunnel })
    }

    fn tunnel(&self) -> Result<Tunnel, Errno> {
        let kind = self.attributes.u8(TUNNEL_KIND).unwrap_or(0);
        let port = self.attributes.be16(TUNNEL_PORT).unwrap_or(0);
        fields::tunnel(kind, port, self.attributes.u16(TUNNEL_FLAGS).unwrap_or(0))
    }
}

/// Writes a destination as an attribute of a message (`ip_vs_genl_fill_dest`).
pub(super) fn write(writer: &mut Writer<'_>, kind: u16, view: &DestView) {
    let DestSpec { key, method, weight, upper, lower, tunnel } = view.spec;
    let (tunnel_kind, tunnel_flags) = fields::tunnel_numbers(tunnel);
    writer.nest(kind, |nest| {
        nest.bytes(ADDRESS, &fields::address_bytes(key.addr));
        nest.be16(PORT, key.port);
        nest.u32(METHOD, fields::method_number(method));
        nest.u32(WEIGHT, weight as u32);
        nest.u8(TUNNEL_KIND, tunnel_kind);
        nest.be16(TUNNEL_PORT, tunnel.port);
        nest.u16(TUNNEL_FLAGS, tunnel_flags);
        nest.u32(UPPER, upper);
        nest.u32(LOWER, lower);
        nest.u32(ACTIVE, view.load.active);
        nest.u32(INACTIVE, view.load.inactive);
        nest.u32(PERSISTENT, view.load.persistent);
        nest.u16(FAMILY, fields::family_number(Family::of(key.addr)));
        statistics::write(nest, STATS, STATS64, &view.traffic);
        if method == ForwardingMethod::FullNat {
            nest.bytes(FULLNAT, &[]);
        }
    });
}

/// `ip_vs_dest_policy`
const POLICIES: &Policies = &[
    (ADDRESS, Policy::AtMost(16)),
    (PORT, Policy::AtLeast(2)),
    (METHOD, Policy::AtLeast(4)),
    (WEIGHT, Policy::AtLeast(4)),
    (UPPER, Policy::AtLeast(4)),
    (LOWER, Policy::AtLeast(4)),
    (ACTIVE, Policy::AtLeast(4)),
    (INACTIVE, Policy::AtLeast(4)),
    (PERSISTENT, Policy::AtLeast(4)),
    (STATS, Policy::Attributes),
    (FAMILY, Policy::AtLeast(2)),
    (TUNNEL_KIND, Policy::AtLeast(1)),
    (TUNNEL_PORT, Policy::AtLeast(2)),
    (TUNNEL_FLAGS, Policy::AtLeast(2)),
    (FULLNAT, Policy::AtMost(0)),
];

// IPVS_DEST_ATTR_*
const ADDRESS: u16 = 1;
const PORT: u16 = 2;
const METHOD: u16 = 3;
const WEIGHT: u16 = 4;
const UPPER: u16 = 5;
const LOWER: u16 = 6;
const ACTIVE: u16 = 7;
const INACTIVE: u16 = 8;
const PERSISTENT: u16 = 9;
const STATS: u16 = 10;
const FAMILY: u16 = 11;
const STATS64: u16 = 12;
const TUNNEL_KIND: u16 = 13;
const TUNNEL_PORT: u16 = 14;
const TUNNEL_FLAGS: u16 = 15;
/// Vipline's own, without a value: the method is FULLNAT, although `METHOD` says NAT.
const FULLNAT: u16 = 0x2000;
