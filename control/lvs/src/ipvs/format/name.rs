//! The names of endpoints and services in listings.

use std::net::{IpAddr, Ipv6Addr};

use crate::ipvs::names::Names;
use model::{DestKey, Family, Protocol, ServiceKey};

/// `addr:port`, or the names of both. Without a protocol, a port has no name.
pub(super) fn endpoint(addr: IpAddr, port: u16, protocol: Option<Protocol>, names: &dyn Names) -> String {
    let host = names.host_name(addr).unwrap_or_else(|| match addr {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => ipv6(addr),
    });
    let name = protocol.filter(|_| port != 0).and_then(|protocol| names.service_name(port, protocol));
    let port = name.unwrap_or_else(|| port.to_string());
    if addr.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A service in the first column.
pub(super) fn service(key: &ServiceKey, names: &dyn Names) -> String {
    match *key {
        ServiceKey::Address { protocol, addr, port } => {
            let name = format!("{:<4} {}", protocol.name(), endpoint(addr, port, Some(protocol), names));
            cut(name, addr, 33)
        }
        // ipvsadm prints marks as signed numbers.
        ServiceKey::Mark { mark, family: Family::V4 } => format!("FWM  {}", mark as i32),
        ServiceKey::Mark { mark, family: Family::V6 } => format!("FWM  {} IPv6", mark as i32),
    }
}

/// The endpoint of a destination of a service.
pub(super) fn destination(dest: DestKey, service: &ServiceKey, names: &dyn Names) -> String {
    let protocol = match service {
        ServiceKey::Address { protocol, .. } => Some(*protocol),
        ServiceKey::Mark { .. } => None,
    };
    endpoint(dest.addr, dest.port, protocol, names)
}

/// A destination in the first column.
pub(super) fn destination_column(dest: DestKey, service: &ServiceKey, names: &dyn Names) -> String {
    cut(destination(dest, service, names), dest.addr, 28)
}

/// A service as an option of a command line.
pub fn option(key: &ServiceKey, names: &dyn Names) -> String {
    match *key {
        ServiceKey::Address { protocol, addr, port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", endpoint(addr, port, Some(protocol), names))
        }
        ServiceKey::Mark { mark, family: Family::V4 } => format!("-f {mark}"),
        ServiceKey::Mark { mark, family: Family::V6 } => format!("-f {mark} -6"),
    }
}

/// Cuts names of IPv4 hosts to the width of their column; addresses always fit.
fn cut(mut name: String, addr: IpAddr, width: usize) -> String {
    if addr.is_ipv4()
        && let Some((end, _)) = name.char_indices().nth(width)
    {
        name.truncate(end);
    }
    name
}

/// Writes an address as `inet_ntop` does: an embedded IPv4 address stays in dotted form.
fn ipv6(addr: Ipv6Addr) -> String {
    match addr.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => match addr.to_ipv4() {
            Some(addr) => format!("::{addr}"),
            None => addr.to_string(),
        },
        _ => addr.to_string(),
    }
}
