//! Advice about a device that does not come up.

use dpdk::{AttachError, PortStartError, Reason};
use nix::errno::Errno;

use crate::config::Device;

/// Advice about a port that did not start, to be added to the end of a line. Empty when nothing is
/// known.
pub(super) fn start(device: &Device, error: &PortStartError) -> String {
    let PortStartError::Device { reason, .. } = error else { return String::new() };
    let Some(iface) = device.kernel_interface() else { return String::new() };
    match advice(device, iface, reason) {
        Some(advice) => format!("; {advice}"),
        None => String::new(),
    }
}

/// Advice about a device that could not be attached, to be added to the end of a line.
pub(super) fn attach(error: &AttachError) -> String {
    match error {
        AttachError::Unknown(_) => {
            format!("; DPDK's drivers are in {}: is this one installed?", dpdk::driver_dir())
        }
        _ => String::new(),
    }
}

fn advice(device: &Device, iface: &str, reason: &Reason) -> Option<String> {
    let af_xdp = matches!(device, Device::AfXdp { .. });
    let kernel = reason.kernel().map_or(Errno::UnknownErrno, |errno| Errno::from_raw(errno.as_raw()));
    Some(match kernel {
        _ if reason.says("MTU") => {
            format!("lower the MTU of {iface} and, on a veth, of its peer: `ip link set NAME mtu 1500`")
        }
        Errno::EBUSY => format!(
            "another program has this queue of {iface}: end it, or see `ip link show dev {iface}` for its XDP program"
        ),
        Errno::ENOBUFS | Errno::ENOMEM if af_xdp => {
            "locked memory is limited (`ulimit -l`): run as root, or with CAP_IPC_LOCK, or set LimitMEMLOCK=infinity \
             in the unit"
                .to_owned()
        }
        Errno::EOPNOTSUPP if af_xdp => {
            format!("the driver of {iface} has no XDP: take another interface, or `af_packet:{iface}`")
        }
        Errno::EPERM | Errno::EACCES => {
            "run it as root, or with the capabilities that docs/quickstart.md lists".to_owned()
        }
        _ => return None,
    })
}
