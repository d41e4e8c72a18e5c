//! Names of hosts and services: from name to number and back.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use model::Protocol;

/// A source of names. Tests use their own.
pub trait Names {
    /// The IPv4 address of a host.
    fn host(&self, name: &str) -> Option<Ipv4Addr>;
    /// The port of a service.
    fn service(&self, name: &str, protocol: Protocol) -> Option<u16>;
    /// The name of a host.
    fn host_name(&self, addr: IpAddr) -> Option<String>;
    /// The name of a port.
    fn service_name(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// A source without names.
#[derive(Clone, Copy, Debug)]
pub struct Numeric;

impl Names for Numeric {
    fn host(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn service(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }

    fn host_name(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn service_name(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

/// The names of this machine, from its resolver and `/etc/services`. The file is read at the first
/// use.
#[derive(Debug, Default)]
pub struct System {
    services: std::sync::OnceLock<String>,
}

impl System {
    /// Every line of `/etc/services` for one protocol, as (all its names, port).
    fn services(&self, protocol: Protocol) -> impl Iterator<Item = (Vec<&str>, u16)> {
        let text = self.services.get_or_init(|| std::fs::read_to_string("/etc/services").unwrap_or_default());
        let wanted = protocol.name();
        text.lines().filter_map(move |line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let name = words.next()?;
            let (port, protocol) = words.next()?.split_once('/')?;
            let port = port.parse().ok().filter(|_| protocol.eq_ignore_ascii_case(wanted))?;
            Some((std::iter::once(name).chain(words).collect(), port))
        })
    }
}

impl Names for System {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        (name, 0).to_socket_addrs().ok()?.find_map(|addr| match addr.ip() {
            IpAddr::V4(addr) => Some(addr),
            IpAddr::V6(_) => None,
        })
    }

    fn service(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.services(protocol).find_map(|(names, port)| names.contains(&name).then_some(port))
    }

    fn host_name(&self, addr: IpAddr) -> Option<String> {
        let name = dns_lookup::lookup_addr(&addr).ok()?;
        // If there is no name, the library returns the address.
        name.parse::<IpAddr>().is_err().then_some(name)
    }

    fn service_name(&self, port: u16, protocol: Protocol) -> Option<String> {
        let (names, _) = self.services(protocol).find(|(_, number)| *number == port)?;
        names.first().map(|name| (*name).to_owned())
    }
}
