//! The numbers that both of Linux's interfaces use, and their meaning in the model.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{
    Family, ForwardingMethod, PersistenceMask, Protocol, ServiceFlags, ServiceKey, Tunnel, TunnelChecksum,
};
use model::{Model, TunnelKind};
use nix::errno::Errno;

/// The version that Linux reports, 1.2.1.
pub(crate) const VERSION: u32 = 0x0001_0201;

/// A family by its number (`AF_INET`, `AF_INET6`).
pub(super) fn family(number: u16) -> Result<Family, Errno> {
    match number {
        AF_INET => Ok(Family::V4),
        AF_INET6 => Ok(Family::V6),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The number of a family.
pub(super) fn family_number(family: Family) -> u16 {
    match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    }
}

/// An address from 16 bytes. An IPv4 address is in the first four.
pub(super) fn address(family: Family, bytes: [u8; 16]) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        Family::V6 => Ipv6Addr::from(bytes).into(),
    }
}

/// The 16 bytes of an address.
pub(super) fn address_bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&addr.octets());
            bytes
        }
        IpAddr::V6(addr) => addr.octets(),
    }
}

/// The service that a program names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// A service that may exist.
    Key(ServiceKey),
    /// A service with a protocol that is neither TCP, UDP nor SCTP, so it cannot exist.
    OtherProtocol,
}

impl Named {
    /// The service with this address. The port is in host order.
    pub(super) fn by_address(protocol: u16, addr: IpAddr, port: u16) -> Self {
        let known = u8::try_from(protocol).ok().and_then(Protocol::from_number);
        known.map_or(Self::OtherProtocol, |protocol| Self::Key(ServiceKey::Address { protocol, addr, port }))
    }

    /// The service with this mark. For mark 0, Linux looks for TCP with address 0 and port 0.
    pub(super) fn by_mark(family: Family, mark: u32) -> Self {
        match mark {
            0 => Self::by_address(Protocol::Tcp.number().into(), address(family, [0; 16]), 0),
            mark => Self::Key(ServiceKey::Mark { mark, family }),
        }
    }

    /// The key, if the service exists.
    pub(super) fn existing(self, model: &Model) -> Result<ServiceKey, Errno> {
        match self {
            Self::Key(key) if model.find(&key).is_some() => Ok(key),
            _ => Err(Errno::ESRCH),
        }
    }

    /// The key, if such a service can be added.
    pub(super) fn possible(self) -> Result<ServiceKey, Errno> {
        match self {
            Self::Key(key) => Ok(key),
            Self::OtherProtocol => Err(Errno::EPROTONOSUPPORT),
        }
    }
}

/// The flags of a service. Flags that a user may not set are dropped.
pub(super) fn flags(number: u32) -> ServiceFlags {
    ServiceFlags::from_bits_truncate(number)
}

/// The flags that Linux shows. They include "hashed", because every service is in Linux's table.
pub(super) fn flags_shown(flags: ServiceFlags) -> u32 {
    flags.bits() | HASHED
}

/// A persistence mask. The number holds the bytes of an IPv4 mask, or the length of an IPv6 prefix.
pub(super) fn netmask(family: Family, number: u32) -> PersistenceMask {
    match family {
        Family::V4 => PersistenceMask::V4(Ipv4Addr::from(number.to_ne_bytes())),
        Family::V6 => PersistenceMask::V6(number),
    }
}

/// The number of a persistence mask.
pub(super) fn netmask_number(mask: PersistenceMask) -> u32 {
    match mask {
        PersistenceMask::V4(mask) => u32::from_ne_bytes(mask.octets()),
        PersistenceMask::V6(length) => length,
    }
}

/// The method in the connection flags. Linux reads only these bits. FULLNAT has no number.
pub(super) fn method(number: u32) -> Result<ForwardingMethod, Errno> {
    match number & METHOD_BITS {
        MASQUERADE => Ok(ForwardingMethod::Masquerade),
        TUNNEL => Ok(ForwardingMethod::Tunnel),
        DIRECT_ROUTE => Ok(ForwardingMethod::DirectRoute),
        _ => Err(Errno::EINVAL),
    }
}

/// The number of a method. FULLNAT has that of NAT.
pub(super) fn method_number(method: ForwardingMethod) -> u32 {
    match method {
        ForwardingMethod::Masquerade | ForwardingMethod::FullNat => MASQUERADE,
        ForwardingMethod::Tunnel => TUNNEL,
        ForwardingMethod::DirectRoute => DIRECT_ROUTE,
    }
}

/// The options of a tunnel. The port is in host order.
pub(super) fn tunnel(kind: u8, port: u16, flags: u16) -> Result<Tunnel, Errno> {
    let kind = match kind {
        0 => TunnelKind::Ipip,
        1 => TunnelKind::Gue,
        2 => TunnelKind::Gre,
        _ => return Err(Errno::EINVAL),
    };
    let checksum = match flags {
        0 => TunnelChecksum::None,
        1 => TunnelChecksum::Outer,
        2 => TunnelChecksum::Remote,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Tunnel { kind, port, checksum })
}

/// The numbers of a tunnel's type and of its flags.
pub(super) fn tunnel_numbers(tunnel: Tunnel) -> (u8, u16) {
    let kind = match tunnel.kind {
        TunnelKind::Ipip => 0,
        TunnelKind::Gue => 1,
        TunnelKind::Gre => 2,
    };
    let flags = match tunnel.checksum {
        TunnelChecksum::None => 0,
        TunnelChecksum::Outer => 1,
        TunnelChecksum::Remote => 2,
    };
    (kind, flags)
}

/// The text before the first NUL. Bytes that are not UTF-8 are replaced, so the text matches no
/// name.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Linux's answer to a program that stops a synchronization daemon: none is running.
pub(super) fn stop_daemon(state: u32) -> Errno {
    match state {
        MASTER | BACKUP => Errno::ESRCH,
        _ => Errno::EINVAL,
    }
}

/// The answer to a program that starts a synchronization daemon.
pub(super) fn start_daemon(state: u32) -> Errno {
    match state {
        MASTER | BACKUP => Errno::EPROTONOSUPPORT,
        _ => Errno::EINVAL,
    }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const HASHED: u32 = 0x2;
const METHOD_BITS: u32 = 0x7;
const MASQUERADE: u32 = 0;
const TUNNEL: u32 = 2;
const DIRECT_ROUTE: u32 = 3;
const MASTER: u32 = 1;
const BACKUP: u32 = 2;
