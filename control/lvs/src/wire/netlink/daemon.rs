//! Commands for synchronization daemons. They are checked, but there are no such daemons.

use std::net::{Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;

use super::attribute::{Attributes, Policies, Policy};
use super::message::Refusal;
use crate::wire::fields;

/// The refusal to start a daemon (`ip_vs_genl_new_daemon`).
pub(super) fn start(nest: Option<&[u8]>) -> Refusal {
    let checked = || {
        let asked = read(nest)?;
        asked.bytes(INTERFACE).ok_or(Errno::EINVAL)?;
        asked.u32(SYNC_ID).ok_or(Errno::EINVAL)?;
        let state = asked.u32(STATE).ok_or(Errno::EINVAL)?;
        let group = asked.filled(GROUP).map(|bytes: [u8; 4]| Ipv4Addr::from(bytes));
        let group6 = asked.filled(GROUP6).map(|bytes: [u8; 16]| Ipv6Addr::from(bytes));
        let good =
            group.map_or_else(|| group6.is_none_or(|addr| addr.is_multicast()), |addr| addr.is_multicast());
        if good { Ok(fields::start_daemon(state)) } else { Err(Errno::EINVAL) }
    };
    checked().unwrap_or_else(|errno| errno).into()
}

/// The refusal to stop a daemon (`ip_vs_genl_del_daemon`).
pub(super) fn stop(nest: Option<&[u8]>) -> Refusal {
    let checked = || Ok(fields::stop_daemon(read(nest)?.u32(STATE).ok_or(Errno::EINVAL)?));
    checked().unwrap_or_else(|errno: Errno| errno).into()
}

fn read(nest: Option<&[u8]>) -> Result<Attributes<'_>, Errno> {
    Attributes::read(nest.ok_or(Errno::EINVAL)?, POLICIES).map_err(|_| Errno::EINVAL)
}

/// `ip_vs_daemon_policy`
const POLICIES: &Policies = &[
    (STATE, Policy::AtLeast(4)),
    (INTERFACE, Policy::Text(15)),
    (SYNC_ID, Policy::AtLeast(4)),
    (LONGEST, Policy::AtLeast(2)),
    (GROUP, Policy::AtLeast(4)),
    (GROUP6, Policy::AtLeast(16)),
    (PORT, Policy::AtLeast(2)),
    (TTL, Policy::AtLeast(1)),
];

// IPVS_DAEMON_ATTR_*
const STATE: u16 = 1;
const INTERFACE: u16 = 2;
const SYNC_ID: u16 = 3;
const LONGEST: u16 = 4;
const GROUP: u16 = 5;
const GROUP6: u16 = 6;
const PORT: u16 = 7;
const TTL: u16 = 8;
