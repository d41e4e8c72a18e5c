//! Reads `host[:port]` as ipvsadm does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names::Names;
use super::number::{inet_aton, number};
use model::Protocol;

/// An address, and a port if one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) addr: IpAddr,
    pub(super) port: Option<u16>,
}

/// Reads `host`, `host:port`, `[v6]:port` or a bare IPv6 address. A name must be that of an IPv4
/// host.
///
/// An IPv4 host in brackets is accepted and its port is ignored, as in ipvsadm.
pub(super) fn endpoint(text: &str, protocol: Protocol, names: &dyn Names) -> Option<Endpoint> {
    if text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once("]:")?;
        if let Ok(addr) = host.parse::<Ipv6Addr>() {
            return Some(Endpoint { addr: addr.into(), port: Some(self::port(port, protocol, names)?) });
        }
        return Some(Endpoint { addr: self::host(host, names)?.into(), port: None });
    }
    if let Ok(addr) = text.parse::<Ipv6Addr>() {
        return Some(Endpoint { addr: addr.into(), port: None });
    }
    match text.rsplit_once(':') {
        None => Some(Endpoint { addr: host(text, names)?.into(), port: None }),
        Some((host, port)) => {
            let port = self::port(port, protocol, names)?;
            Some(Endpoint { addr: self::host(host, names)?.into(), port: Some(port) })
        }
    }
}

/// An IPv4 host, by address or name. Masks are read in the same way.
pub(super) fn host(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    if text.is_empty() { None } else { inet_aton(text).or_else(|| names.host(text)) }
}

fn port(text: &str, protocol: Protocol, names: &dyn Names) -> Option<u16> {
    match number(text, 0..=65535) {
        Some(port) => u16::try_from(port).ok(),
        None => names.service(text, protocol),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One host and three services.
    pub(in crate::ipvs) struct Few;

    impl Names for Few {
        fn host(&self, name: &str) -> Option<Ipv4Addr> {
            (name == "short").then(|| Ipv4Addr::new(10, 1, 1, 2))
        }

        fn service(&self, name: &str, protocol: Protocol) -> Option<u16> {
            match (name, protocol) {
                ("http", Protocol::Tcp) => Some(80),
                ("domain", _) => Some(53),
                ("sip", _) => Some(5060),
                _ => None,
            }
        }

        fn host_name(&self, addr: IpAddr) -> Option<String> {
            match addr.to_string().as_str() {
                "10.1.1.1" => Some("a-very-long-host-name-that-will-not-fit.example.org".into()),
                "10.1.1.2" => Some("short".into()),
                "10.1.1.3" => Some("a23456789012345678901234567.x".into()),
                "127.0.0.1" => Some("localhost".into()),
                _ => None,
            }
        }

        fn service_name(&self, port: u16, _: Protocol) -> Option<String> {
            let name = match port {
                53 => "domain",
                80 => "http",
                443 => "https",
                5060 => "sip",
                8080 => "http-alt",
                _ => return None,
            };
            Some(name.into())
        }
    }

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        let found = endpoint(text, Protocol::Tcp, &Few)?;
        Some((found.addr.to_string(), found.port))
    }

    #[test]
    fn endpoints_that_ipvsadm_accepts() {
        for (text, addr, port) in [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("10.0.0.1:+80", "10.0.0.1", Some(80)),
            ("10.0.0.1: 80", "10.0.0.1", Some(80)),
            ("10.0.0.1:080", "10.0.0.1", Some(80)),
            ("10.0.0.1:http", "10.0.0.1", Some(80)),
            ("short:http", "10.1.1.2", Some(80)),
            ("10.1", "10.0.0.1", None),
            ("10:80", "0.0.0.10", Some(80)),
            ("::1", "::1", None),
            ("::", "::", None),
            ("2001:db8::2:80", "2001:db8::2:80", None),
            ("[2001:DB8::1]:http", "2001:db8::1", Some(80)),
            ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", Some(80)),
            ("[10.0.0.1]:80", "10.0.0.1", None),
            ("[short]:80", "10.1.1.2", None),
        ] {
            assert_eq!(read(text), Some((addr.into(), port)), "{text:?}");
        }
    }

    #[test]
    fn endpoints_that_ipvsadm_refuses() {
        for text in [
            "",
            ":",
            "10",
            ":80",
            "10.0.0.1:",
            "10.0.0.1:70000",
            "10.0.0.1:-1",
            "10.0.0.1:0x50",
            "10.0.0.1:80 ",
            "10.0.0.1:80:90",
            "10.0.0.1:HTTP",
            "300.0.0.1:80",
            " 10.0.0.1:99",
            "bogus:80",
            "[::1]",
            "[::1]80",
            "[::1]:",
            "[::1]:80:90",
            "[::1]:70000",
            "[2001:db8::1",
            "2001:db8::1]:80",
            "[foo]:80",
            "[]:80",
            "[:80",
            "]:80",
            "[::1%lo]:80",
            "fe80::1%lo",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
