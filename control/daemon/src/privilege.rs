//! What the daemon must be allowed to do, looked at before anything is touched: drivers only say "invalid
//! argument" when they are refused.

use crate::config::{Config, Device};

/// The process lacks capabilities.
#[derive(Debug, thiserror::Error)]
#[error("Permission denied: viplined needs {missing}; run it as root or give it these capabilities")]
pub(super) struct PrivilegeError {
    missing: String,
}

/// A capability and its bit (`include/uapi/linux/capability.h`).
type Capability = (&'static str, u32);

const NET_ADMIN: Capability = ("CAP_NET_ADMIN", 12);
const NET_RAW: Capability = ("CAP_NET_RAW", 13);
const IPC_LOCK: Capability = ("CAP_IPC_LOCK", 14);
const SYS_ADMIN: Capability = ("CAP_SYS_ADMIN", 21);
const BPF: Capability = ("CAP_BPF", 39);

/// Checks that this process may drive the devices of `config` and make host interfaces.
pub(super) fn check(config: &Config) -> Result<(), PrivilegeError> {
    let Some(effective) = effective() else { return Ok(()) };
    let devices = || config.ports.iter().map(|port| &port.device);
    let has = |(_, bit): Capability| effective & (1 << bit) != 0;
    let mut needed = vec![NET_ADMIN];
    if devices().any(|device| matches!(device, Device::AfXdp { .. } | Device::AfPacket { .. })) {
        needed.push(NET_RAW);
    }
    if devices().any(|device| matches!(device, Device::Pci { .. })) {
        needed.push(IPC_LOCK);
    }
    if devices().any(|device| matches!(device, Device::AfXdp { .. })) && !has(SYS_ADMIN) {
        needed.push(BPF);
    }
    let missing: Vec<_> = needed.into_iter().filter(|needed| !has(*needed)).map(|(name, _)| name).collect();
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError { missing: missing.join(", ") }) }
}

/// The effective capabilities; `None` where the kernel does not say.
fn effective() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
