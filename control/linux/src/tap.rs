//! The host interface of a port: a TAP that lives as long as this process holds it open.
//!
//! The TAP is not persistent, so a daemon that is killed leaves none behind. It carries plain
//! Ethernet frames. It claims no offloads, so the kernel finishes checksums and cuts segments
//! before it hands a frame over.
//!
//! The crate `tappers` makes the `TUNSETIFF` call. It is the only one found that wraps the call
//! safely, asks for `IFF_TUN_EXCL`, and does nothing else. Frames are read and written through
//! `nix`; everything else goes through rtnetlink.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use dataplane::wire::ether::Mac;
use ipnet::IpNet;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd;

use super::link::{Links, explain};
use super::static_route::StaticRoute;

/// A host interface.
pub struct Tap {
    device: tappers::linux::Tap,
    name: String,
    ifindex: u32,
}

/// Why a host interface could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Its name is taken.
    #[error(
        "cannot make host interface {name}: there is an interface of that name already; \
         set `host_interface` to a name that is free"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// This kernel has no TAPs, or this container does not see them.
    #[error("cannot make host interface {name}: there is no /dev/net/tun; try `modprobe tun`")]
    NoTun {
        /// The name.
        name: String,
    },
    /// This user may not open the device file.
    #[error("cannot make host interface {name}: this user may not open /dev/net/tun; `chmod 666` it")]
    Closed {
        /// The name.
        name: String,
    },
    /// Not allowed.
    #[error("cannot make host interface {name}: not permitted; run as root or with CAP_NET_ADMIN")]
    Permission {
        /// The name.
        name: String,
    },
    /// Anything else about the device itself.
    #[error("cannot make host interface {name}: {source}")]
    Create {
        /// The name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface was made, but a setting was refused. It is gone again.
    #[error("cannot set {what} of host interface {name}: {}", explain(source))]
    Set {
        /// The name.
        name: String,
        /// What was to be set.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface was made, but an address was refused. It is gone again.
    #[error("cannot put {address} on host interface {name}: {}", explain_address(address, source))]
    Address {
        /// The name.
        name: String,
        /// The address.
        address: IpNet,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface was made, but a route was refused. It is gone again.
    #[error("cannot add the route `{route}` to host interface {name}: {}", explain_route(route, source))]
    Route {
        /// The name.
        name: String,
        /// The route.
        route: Box<StaticRoute>,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Tap {
    /// Checks what can be checked without making anything: the name is free, there are TAPs here,
    /// and there is IPv6 if one of the addresses needs it.
    pub fn check(name: &str, addresses: &[IpNet]) -> Result<(), TapError> {
        let name = name.to_owned();
        let mut links = Links::open().map_err(|source| TapError::Create { name: name.clone(), source })?;
        if matches!(links.find(&name), Ok(Some(_))) {
            return Err(TapError::Exists { name });
        }
        if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
            return Err(match error.kind() {
                io::ErrorKind::PermissionDenied => TapError::Closed { name },
                _ => creation_error(name, error),
            });
        }
        let ipv6 = std::fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6");
        match addresses.iter().find(|address| address.addr().is_ipv6()) {
            Some(address) if ipv6.map_or(true, |disabled| disabled.trim() != "0") => {
                Err(TapError::Address { name, address: *address, source: Errno::EOPNOTSUPP.into() })
            }
            _ => Ok(()),
        }
    }

    /// Makes the interface, gives it the MAC, MTU and addresses, and brings it up. On failure
    /// nothing is left of it.
    pub fn create(name: &str, mac: Mac, mtu: u32, addresses: &[IpNet]) -> Result<Self, TapError> {
        let name = name.to_owned();
        let mut links = Links::open().map_err(|source| TapError::Create { name: name.clone(), source })?;
        if matches!(links.find(&name), Ok(Some(_))) {
            return Err(TapError::Exists { name });
        }
        let device = tappers::Interface::new(&name)
            .and_then(tappers::linux::Tap::create_named)
            .map_err(|e| creation_error(name.clone(), e))?;
        let set = |what: String, result: io::Result<()>| {
            result.map_err(|source| TapError::Set { name: name.clone(), what, source })
        };
        set("non-blocking reads".into(), set_nonblocking(device.as_fd()))?;
        let ifindex = match links.find(&name) {
            Ok(Some((ifindex, _))) => ifindex,
            Ok(None) => return Err(TapError::Create { name, source: Errno::ENODEV.into() }),
            Err(source) => return Err(TapError::Create { name, source }),
        };
        set(format!("Ethernet address {mac}"), links.change(ifindex, Some(mac), None, false))?;
        set(format!("MTU {mtu}"), links.change(ifindex, None, Some(mtu), false))?;
        set("state up".into(), links.change(ifindex, None, None, true))?;
        for address in addresses {
            links.add_address(ifindex, *address).map_err(|source| TapError::Address {
                name: name.clone(),
                address: *address,
                source,
            })?;
        }
        Ok(Self { device, name, ifindex })
    }

    /// Adds routes out of the interface, in this order. They vanish together with the interface.
    pub fn add_routes(&self, routes: &[StaticRoute]) -> Result<(), TapError> {
        let refused = |route: &StaticRoute, source| TapError::Route {
            name: self.name.clone(),
            route: Box::new(*route),
            source,
        };
        for route in routes {
            let added = Links::open().and_then(|mut links| links.add_route(self.ifindex, route));
            added.map_err(|source| refused(route, source))?;
        }
        Ok(())
    }

    /// Takes the next frame that Linux sends. `WouldBlock` when there is none. A frame that does
    /// not fit into `frame` is cut off.
    pub fn read(&self, frame: &mut [u8]) -> io::Result<usize> {
        Ok(unistd::read(&self.device, frame)?)
    }

    /// Hands a frame to Linux, which receives it on this interface.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        unistd::write(&self.device, frame)?;
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("name", &self.name)
            .field("ifindex", &self.ifindex)
            .finish_non_exhaustive()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn creation_error(name: String, source: io::Error) -> TapError {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EBUSY | Errno::EEXIST) => TapError::Exists { name },
        Some(Errno::EPERM | Errno::EACCES) => TapError::Permission { name },
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => TapError::NoTun { name },
        _ => TapError::Create { name, source },
    }
}

fn explain_address(address: &IpNet, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM | Errno::EOPNOTSUPP) if address.addr().is_ipv6() => {
            format!("{error}; IPv6 may be switched off (net.ipv6.conf.all.disable_ipv6)")
        }
        _ => explain(error),
    }
}

fn explain_route(route: &StaticRoute, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EEXIST) => {
            let family = if route.net.addr().is_ipv4() { "" } else { " -6" };
            format!(
                "there is one to the same net with the same metric already, see `ip{family} route show`; delete that one, \
                 or give this one another `metric`"
            )
        }
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => {
            format!("{error}; the gateway must be in the net of an address of the interface, or `onlink`")
        }
        Some(Errno::EACCES | Errno::EPERM | Errno::EOPNOTSUPP) if route.net.addr().is_ipv6() => {
            format!("{error}; IPv6 may be switched off (net.ipv6.conf.all.disable_ipv6)")
        }
        _ => explain(error),
    }
}
