//! The structures of the options (`include/uapi/linux/ip_vs.h`), as a 64-bit program has them.
//!
//! Numbers are in host order. Ports, addresses and address masks are in network order.

use std::net::{IpAddr, Ipv4Addr};

use api::{DestView, ServiceView, Traffic};
use model::{DestKey, DestSpec, Family, ForwardingMethod, ServiceKey, ServiceSpec};
use nix::errno::Errno;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::wire::fields::{self, Named};

/// `struct ip_vs_service_user`. `struct ip_vs_service_entry` begins with it too.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Service {
    pub(super) name: Name,
    scheduler: [u8; 16],
    flags: u32,
    timeout: u32,
    netmask: u32,
}

/// The name of a service. `struct ip_vs_get_dests` begins with it too.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Name {
    protocol: u16,
    _gap: [u8; 2],
    addr: [u8; 4],
    port: U16,
    _gap2: [u8; 2],
    mark: u32,
}

/// `struct ip_vs_dest_user`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Destination {
    addr: [u8; 4],
    port: U16,
    _gap: [u8; 2],
    flags: u32,
    weight: i32,
    upper: u32,
    lower: u32,
}

/// A service and one of its destinations.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Both {
    pub(super) service: Service,
    pub(super) destination: Destination,
}

/// `struct ip_vs_stats_user`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Statistics {
    conns: u32,
    inpkts: u32,
    outpkts: u32,
    _gap: [u8; 4],
    inbytes: u64,
    outbytes: u64,
    cps: u32,
    inpps: u32,
    outpps: u32,
    inbps: u32,
    outbps: u32,
    _gap2: [u8; 4],
}

/// `struct ip_vs_service_entry`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ServiceEntry {
    pub(super) service: Service,
    destinations: u32,
    statistics: Statistics,
}

/// `struct ip_vs_dest_entry`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct DestinationEntry {
    destination: Destination,
    active: u32,
    inactive: u32,
    persistent: u32,
    _gap: [u8; 4],
    statistics: Statistics,
}

/// `struct ip_vs_get_services`, without its entries.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct GetServices {
    pub(super) count: u32,
    _gap: [u8; 4],
}

/// `struct ip_vs_get_dests`, without its entries.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct GetDestinations {
    pub(super) name: Name,
    pub(super) count: u32,
    _gap: [u8; 4],
}

/// `struct ip_vs_getinfo`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Info {
    pub(super) version: u32,
    pub(super) table_size: u32,
    pub(super) services: u32,
}

/// `struct ip_vs_timeout_user`, in seconds.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Timeouts {
    pub(super) tcp: u32,
    pub(super) tcp_fin: u32,
    pub(super) udp: u32,
}

/// `struct ip_vs_daemon_user`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Daemon {
    pub(super) state: u32,
    pub(super) interface: [u8; 16],
    pub(super) sync_id: u32,
}

/// Reads a structure from a value of exactly its length.
pub(super) fn exactly<T: FromBytes>(value: &[u8]) -> Result<T, Errno> {
    T::read_from_bytes(value).map_err(|_| Errno::EINVAL)
}

/// Reads the structure at the start of a buffer.
pub(super) fn beginning<T: FromBytes>(buffer: &[u8]) -> Result<T, Errno> {
    T::read_from_prefix(buffer).map(|(value, _)| value).map_err(|_| Errno::EINVAL)
}

impl Name {
    /// The service that is named.
    pub(super) fn named(&self) -> Named {
        match self.mark {
            0 => Named::by_address(self.protocol, Ipv4Addr::from(self.addr).into(), self.port.get()),
            mark => Named::by_mark(Family::V4, mark),
        }
    }

    /// The number of the IP protocol. It is present even if the service is named by a mark.
    pub(super) fn protocol(&self) -> u16 {
        self.protocol
    }

    /// Whether no service is named. The protocol does not matter.
    pub(super) fn is_empty(&self) -> bool {
        self.mark == 0 && self.addr == [0; 4] && self.port.get() == 0
    }

    /// The name of an IPv4 service; `None` for IPv6.
    fn of(key: &ServiceKey) -> Option<Self> {
        let protocol = key.protocol().number().into();
        let (addr, mark) = match *key {
            ServiceKey::Address { addr: IpAddr::V4(addr), .. } => (addr, 0),
            ServiceKey::Mark { mark, family: Family::V4 } => (Ipv4Addr::UNSPECIFIED, mark),
            _ => return None,
        };
        let (addr, port) = (addr.octets(), key.port().into());
        Some(Self { protocol, _gap: [0; 2], addr, port, _gap2: [0; 2], mark })
    }
}

impl Service {
    /// Whether the scheduler's name ends with a NUL.
    pub(super) fn has_scheduler(&self) -> bool {
        self.scheduler.contains(&0)
    }

    /// The complete service, with this key.
    pub(super) fn spec(&self, key: ServiceKey) -> ServiceSpec {
        ServiceSpec {
            key,
            scheduler: fields::text(&self.scheduler),
            flags: fields::flags(self.flags),
            timeout: self.timeout,
            netmask: fields::netmask(key.family(), self.netmask),
            engine: None,
        }
    }
}

impl Destination {
    /// The key of the destination.
    pub(super) fn key(&self) -> DestKey {
        DestKey::new(Ipv4Addr::from(self.addr).into(), self.port.get())
    }

    /// The complete destination.
    pub(super) fn spec(&self) -> Result<DestSpec, Errno> {
        let Self { weight, upper, lower, .. } = *self;
        Ok(DestSpec { upper, lower, ..DestSpec::new(self.key(), fields::method(self.flags)?, weight) })
    }
}

impl ServiceEntry {
    /// The entry of an IPv4 service; `None` for IPv6.
    pub(super) fn of(view: &ServiceView) -> Option<Self> {
        let spec = &view.spec;
        let mut scheduler = [0; 16];
        let name = spec.scheduler.as_bytes();
        let length = name.len().min(scheduler.len() - 1);
        scheduler[..length].copy_from_slice(&name[..length]);
        let service = Service {
            name: Name::of(&spec.key)?,
            scheduler,
            flags: fields::flags_shown(spec.flags),
            timeout: spec.timeout,
            netmask: fields::netmask_number(spec.netmask),
        };
        let destinations = view.destinations.len() as u32;
        Some(Self { service, destinations, statistics: Statistics::of(&view.traffic) })
    }
}

impl DestinationEntry {
    /// The entry of an IPv4 destination; `None` for IPv6.
    pub(super) fn of(view: &DestView) -> Option<Self> {
        let DestSpec { key, method, weight, upper, lower, .. } = view.spec;
        let IpAddr::V4(addr) = key.addr else { return None };
        // Without NAT, replies do not pass the director.
        let way = match method {
            ForwardingMethod::Masquerade | ForwardingMethod::FullNat => INACTIVE,
            ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel => INACTIVE | NO_OUTPUT,
        };
        let flags = fields::method_number(method) | way;
        let (addr, port) = (addr.octets(), key.port.into());
        let destination = Destination { addr, port, _gap: [0; 2], flags, weight, upper, lower };
        Some(Self {
            destination,
            active: view.load.active,
            inactive: view.load.inactive,
            persistent: view.load.persistent,
            _gap: [0; 4],
            statistics: Statistics::of(&view.traffic),
        })
    }
}

impl Statistics {
    /// The upper 32 bits of counts and rates are cut off, except for counts of bytes.
    fn of(traffic: &Traffic) -> Self {
        let Traffic { counters, rates } = traffic;
        Self {
            conns: counters.conns as u32,
            inpkts: counters.inpkts as u32,
            outpkts: counters.outpkts as u32,
            _gap: [0; 4],
            inbytes: counters.inbytes,
            outbytes: counters.outbytes,
            cps: rates.cps as u32,
            inpps: rates.inpps as u32,
            outpps: rates.outpps as u32,
            inbps: rates.inbps as u32,
            outbps: rates.outbps as u32,
            _gap2: [0; 4],
        }
    }
}

/// `IP_VS_CONN_F_INACTIVE` and `IP_VS_CONN_F_NOOUTPUT`. Linux shows them with destinations.
const INACTIVE: u32 = 0x100;
const NO_OUTPUT: u32 = 0x80;
