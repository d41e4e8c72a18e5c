//! What the daemon must be allowed to do, which is checked before anything is touched. Drivers only
//! say "invalid argument" when they are refused, and may leave their XDP program behind.
//!
//! The capabilities that are needed were found by trying, with `setpriv`, on Linux 6.18 with libxdp
//! 1.3 and DPDK 22.11. `scripts/lab/tests/unprivileged.sh` runs the daemon with exactly these.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::config::{Config, Device};

/// The process lacks capabilities.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Permission denied: viplined lacks {missing}; run it as root, or give it these capabilities, as \
     docs/viplined.service does"
)]
pub(super) struct PrivilegeError {
    missing: String,
}

/// A capability and its bit (`include/uapi/linux/capability.h`).
type Capability = (&'static str, u32);

const NET_ADMIN: Capability = ("CAP_NET_ADMIN", 12);
const NET_RAW: Capability = ("CAP_NET_RAW", 13);
const IPC_LOCK: Capability = ("CAP_IPC_LOCK", 14);
const SYS_ADMIN: Capability = ("CAP_SYS_ADMIN", 21);

/// Checks that this process may drive the devices of `config` and make host interfaces.
pub(super) fn check(config: &Config) -> Result<(), PrivilegeError> {
    let unlimited = getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    match effective() {
        Some(effective) => judge(config, effective, unlimited),
        None => Ok(()),
    }
}

/// Checks the same for a process with the capabilities `effective`. If `unlimited`, memory may be
/// locked without a capability.
fn judge(config: &Config, effective: u64, unlimited: bool) -> Result<(), PrivilegeError> {
    let mut needed = vec![(NET_ADMIN, "host interfaces and neighbours".to_owned())];
    for port in &config.ports {
        let of_port = |what: &str| format!("{what} of port {}", port.name);
        match port.device {
            Device::AfXdp { .. } => needed.extend([
                (NET_RAW, of_port("the socket")),
                // CAP_BPF and CAP_PERFMON would suffice to load the program, but then libxdp may
                // not ask for the program by its number.
                (SYS_ADMIN, of_port("the XDP program")),
                (IPC_LOCK, of_port("the packet buffers")),
            ]),
            Device::AfPacket { .. } => {
                needed.extend([(NET_RAW, of_port("the socket")), (IPC_LOCK, of_port("the ring"))]);
            }
            Device::Pci { .. } => needed.push((IPC_LOCK, of_port("the packet buffers"))),
            _ => {}
        }
    }
    let mut missing: Vec<(&str, String)> = Vec::new();
    for ((name, bit), what) in needed {
        let has = effective & (1 << bit) != 0 || (name == IPC_LOCK.0 && unlimited);
        if !has && missing.iter().all(|(other, _)| *other != name) {
            missing.push((name, what));
        }
    }
    let missing: Vec<_> = missing.into_iter().map(|(name, what)| format!("{name} ({what})")).collect();
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError { missing: missing.join(", ") }) }
}

/// The effective capabilities; `None` if the kernel does not tell them.
fn effective() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lacks(devices: &[&str], has: &[Capability], unlimited: bool) -> String {
        let port = |(number, device): (usize, &&str)| {
            format!("[[port]]\nname = 'p{number}'\ndevice = '{device}'\nhost_interface = 'h{number}'\n")
        };
        let text: String = devices.iter().enumerate().map(port).collect();
        let config = Config::parse(&text, Path::new("x"), &[0, 1]).unwrap();
        let effective = has.iter().fold(0, |all, (_, bit)| all | 1 << bit);
        judge(&config, effective, unlimited).map_or_else(|error| error.missing, |()| String::new())
    }

    #[test]
    fn each_device_needs_its_own() {
        let all = [NET_ADMIN, NET_RAW, SYS_ADMIN, IPC_LOCK];
        assert_eq!(lacks(&["af_xdp:eth0"], &all, false), "");
        assert_eq!(lacks(&["af_packet:eth0"], &[NET_ADMIN, NET_RAW, IPC_LOCK], false), "");
        assert_eq!(lacks(&["null"], &[NET_ADMIN], false), "");
        assert_eq!(lacks(&["null"], &[], false), "CAP_NET_ADMIN (host interfaces and neighbours)");
        assert_eq!(
            lacks(&["null", "af_xdp:eth0", "af_xdp:eth1"], &[NET_ADMIN], false),
            "CAP_NET_RAW (the socket of port p1), CAP_SYS_ADMIN (the XDP program of port p1), \
             CAP_IPC_LOCK (the packet buffers of port p1)"
        );
    }

    #[test]
    fn memory_that_may_be_locked_without_limit_needs_no_capability() {
        assert_eq!(lacks(&["af_xdp:eth0"], &[NET_ADMIN, NET_RAW, SYS_ADMIN], true), "");
        assert_eq!(
            lacks(&["0000:03:00.0"], &[NET_ADMIN], false),
            "CAP_IPC_LOCK (the packet buffers of port p0)"
        );
    }
}
