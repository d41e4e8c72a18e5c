//! What Linux must have ready, which is checked before any device is touched: free names for the
//! host interfaces, TAPs, and the part of sysfs by which DPDK finds CPUs. `survey` has checked the
//! interfaces under the devices before.

use std::path::Path;

use linux::Tap;

use crate::config::Config;

/// Checks everything. The error names the first thing that is missing, in one line.
pub(super) fn check(config: &Config) -> Result<(), String> {
    for port in &config.ports {
        let named = |error: &dyn std::fmt::Display| format!("port {}: {error}", port.name);
        Tap::check(&port.host_interface, &port.addresses).map_err(|error| named(&error))?;
    }
    sysfs(Path::new("/sys/devices/system/cpu"))
}

fn sysfs(cpus: &Path) -> Result<(), String> {
    if cpus.is_dir() {
        return Ok(());
    }
    Err(format!(
        "DPDK needs {}, which is hidden here; mount sysfs on /sys (read-only is enough)",
        cpus.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_sysfs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(sysfs(dir.path()), Ok(()));
        let said = sysfs(&dir.path().join("cpu")).unwrap_err();
        assert!(said.contains("mount sysfs on /sys") && said.lines().count() == 1, "{said}");
    }
}
