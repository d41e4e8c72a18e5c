//! Devices that come and go while DPDK runs.
//!
//! A device string is a PCI address or a virtual device, with optional arguments: `0000:01:00.0`,
//! `net_af_xdp0,iface=eth0`. Attaching makes the device and its port; then a
//! [`PortBuilder`](crate::PortBuilder) starts the port. Only control calls these functions.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::ffi::CString;
use std::sync::PoisonError;

use crate::eal::Eal;
use crate::errno::check;
use crate::log::Reason;
use crate::log::Setup;
use crate::port::PortId;

/// Why a device could not be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The device is attached already.
    #[error("{0}: already attached")]
    AlreadyAttached(String),
    /// The string is empty, or contains a NUL byte.
    #[error("{0:?}: not a device string")]
    BadString(String),
    /// The device was attached, but it has no port.
    #[error("{0}: not a network device")]
    NoPort(String),
    /// DPDK refused.
    #[error("{device}: cannot attach: {reason}")]
    Refused {
        /// Which device.
        device: String,
        /// Why.
        reason: Reason,
    },
    /// No bus has such a device, and no installed driver can make it.
    #[error("{0}: no such device or driver")]
    Unknown(String),
}

/// Why a device could not be detached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// The string names no device.
    #[error("{0:?}: not a device string")]
    BadString(String),
    /// Its port, or one of the port's queues, still exists.
    #[error("{0}: still in use")]
    InUse(String),
    /// DPDK refused.
    #[error("{device}: cannot detach: {reason}")]
    Refused {
        /// Which device.
        device: String,
        /// Why.
        reason: Reason,
    },
}

impl Eal {
    /// Attaches a device and returns its first port.
    pub fn attach(&self, device: &str) -> Result<PortId, AttachError> {
        let Some(devargs) = to_c(device) else {
            return Err(AttachError::BadString(device.to_owned()));
        };
        let setup = Setup::begin();
        if !ports_of(&devargs).is_empty() {
            return Err(AttachError::AlreadyAttached(device.to_owned()));
        }
        // SAFETY: DPDK runs, the string is terminated, and set-up calls take turns (`setup`).
        check(unsafe { dpdk_sys::rte_dev_probe(devargs.as_ptr()) }).map_err(|errno| {
            match errno.as_raw() {
                libc::EEXIST => AttachError::AlreadyAttached(device.to_owned()),
                libc::EFAULT => AttachError::Unknown(device.to_owned()),
                _ => AttachError::Refused { device: device.to_owned(), reason: setup.why(errno) },
            }
        })?;
        ports_of(&devargs).first().copied().ok_or_else(|| AttachError::NoPort(device.to_owned()))
    }

    /// Detaches a device. Name it as for [`Eal::attach`]; its arguments do not matter. All its
    /// ports must be closed.
    pub fn detach(&self, device: &str) -> Result<(), DetachError> {
        let Some(devargs) = to_c(device) else {
            return Err(DetachError::BadString(device.to_owned()));
        };
        let setup = Setup::begin();
        // The lock is held to the end, so that nobody claims one of its ports meanwhile.
        let claimed = self.alive().ports.lock().unwrap_or_else(PoisonError::into_inner);
        if ports_of(&devargs).iter().any(|port| claimed.contains(port)) {
            return Err(DetachError::InUse(device.to_owned()));
        }
        let Some(parsed) = DevArgs::parse(&devargs) else {
            return Err(DetachError::BadString(device.to_owned()));
        };
        // SAFETY: DPDK runs, both strings are terminated and live in `parsed`, and no port of the
        // device is in use.
        let code = unsafe { dpdk_sys::rte_eal_hotplug_remove(parsed.bus().as_ptr(), parsed.name().as_ptr()) };
        check(code)
            .map(drop)
            .map_err(|errno| DetachError::Refused { device: device.to_owned(), reason: setup.why(errno) })
    }

    /// All ports, started or not: those of devices given at the start, and those of devices
    /// attached since.
    pub fn ports(&self) -> Vec<PortId> {
        // SAFETY: looks a number up; any is allowed.
        let valid = |&id: &u16| unsafe { dpdk_sys::rte_eth_dev_is_valid_port(id) } != 0;
        (0..dpdk_sys::RTE_MAX_ETHPORTS as u16).filter(valid).map(PortId::new).collect()
    }

    /// A port's device, for example `net_null0`.
    pub fn device_of(&self, port: PortId) -> Option<String> {
        port.device()
    }
}

fn to_c(device: &str) -> Option<CString> {
    if device.is_empty() { None } else { CString::new(device).ok() }
}

/// The ports of the device that a string names.
fn ports_of(devargs: &CStr) -> Vec<PortId> {
    let mut iterator = MaybeUninit::<dpdk_sys::rte_dev_iterator>::zeroed();
    let iterator = iterator.as_mut_ptr();
    // SAFETY: initialises the iterator, or leaves nothing behind on failure.
    if unsafe { dpdk_sys::rte_eth_iterator_init(iterator, devargs.as_ptr()) } != 0 {
        return Vec::new();
    }
    // The last call reports the end and frees what the iterator holds.
    core::iter::from_fn(|| {
        // SAFETY: initialised above, and never called again after the end (`from_fn` inside
        // `collect` stops there).
        let id = unsafe { dpdk_sys::rte_eth_iterator_next(iterator) };
        (u32::from(id) < dpdk_sys::RTE_MAX_ETHPORTS).then(|| PortId::new(id))
    })
    .collect()
}

/// A device string parsed by DPDK.
struct DevArgs(dpdk_sys::rte_devargs);

impl DevArgs {
    fn parse(devargs: &CStr) -> Option<Self> {
        // SAFETY: zero is a valid value of every member.
        let mut parsed = Self(unsafe { MaybeUninit::zeroed().assume_init() });
        // SAFETY: fills the struct in; DevArgs::drop frees what it holds, also after a failure.
        let code = unsafe { dpdk_sys::rte_devargs_parse(&mut parsed.0, devargs.as_ptr()) };
        (code == 0 && !parsed.0.bus.is_null()).then_some(parsed)
    }

    fn bus(&self) -> &CStr {
        // SAFETY: `parse` checked that there is a bus; buses are never removed.
        let name = unsafe { dpdk_sys::rte_bus_name(self.0.bus) };
        // SAFETY: a constant string.
        unsafe { CStr::from_ptr(name) }
    }

    fn name(&self) -> &CStr {
        // SAFETY: terminated within its array by the parser.
        unsafe { CStr::from_ptr(self.0.name.as_ptr()) }
    }
}

impl Drop for DevArgs {
    fn drop(&mut self) {
        // SAFETY: parsed by `parse`, or zeroed; frees its own strings only.
        unsafe { dpdk_sys::rte_devargs_reset(&mut self.0) };
    }
}
