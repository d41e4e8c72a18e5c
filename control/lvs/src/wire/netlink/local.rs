//! Local addresses of FULLNAT. Linux has no such thing: all numbers here are Vipline's own.

use std::net::IpAddr;

use api::LocalAddressView;
use model::Family;
use nix::errno::Errno;

use super::attribute::{Attributes, Policies, Policy, Writer};
use crate::wire::fields;

/// Reads the local address that a message names. The service has this family.
pub(super) fn read(nest: Option<&[u8]>, service: Family) -> Result<IpAddr, Errno> {
    let attributes = Attributes::read(nest.ok_or(Errno::EINVAL)?, POLICIES).map_err(|_| Errno::EINVAL)?;
    let addr = attributes.filled(ADDRESS).ok_or(Errno::EINVAL)?;
    Ok(fields::address(service, addr))
}

/// Writes a local address as an attribute of a message.
pub(super) fn write(writer: &mut Writer<'_>, kind: u16, view: &LocalAddressView) {
    writer.nest(kind, |nest| {
        nest.bytes(ADDRESS, &fields::address_bytes(view.addr));
        nest.u64(CONFLICTS, PAD, view.conflicts);
        nest.u64(CONNS, PAD, view.conns);
    });
}

const POLICIES: &Policies = &[(ADDRESS, Policy::AtMost(16))];

/// 4 bytes for IPv4, or 16 for IPv6, as in a service. It is written with 16.
const ADDRESS: u16 = 1;
/// 8 bytes: how often no free port was found on the address.
const CONFLICTS: u16 = 2;
/// 8 bytes: connections that use the address.
const CONNS: u16 = 3;
const PAD: u16 = 4;
