//! What `device = "…"` may say, and the arguments for DPDK that follow from it.
//!
//! DPDK finds virtual devices by name. So each port gets a name of its own, with the number of its
//! place in the file.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The device behind a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A NIC that is bound to vfio, by its PCI address. `args` is what followed the address after a
    /// comma.
    Pci {
        /// `[domain:]bus:device.function`
        address: String,
        /// Driver arguments, empty for none.
        args: String,
    },
    /// A Linux interface through AF_XDP. Its driver stays bound, and the kernel no longer sees the
    /// packets.
    AfXdp {
        /// The interface.
        iface: String,
        /// Driver arguments, empty for none.
        args: String,
    },
    /// A Linux interface through AF_PACKET. It is slow, and the kernel sees a copy of every packet.
    AfPacket {
        /// The interface.
        iface: String,
        /// Driver arguments, empty for none.
        args: String,
    },
    /// Shared memory with another process.
    Memif {
        /// Driver arguments.
        args: String,
    },
    /// Packets from and to capture files.
    Pcap {
        /// Driver arguments.
        args: String,
    },
    /// A device that receives empty frames and throws away what is sent.
    Null {
        /// Driver arguments, empty for none.
        args: String,
    },
    /// Any other virtual device of DPDK, given word for word.
    Vdev {
        /// What follows DPDK's `--vdev`.
        raw: String,
    },
}

/// How DPDK is told about a device on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EalDevice {
    /// `-a ARGUMENT`
    Allow(String),
    /// `--vdev ARGUMENT`
    Vdev(String),
}

/// Why a device was refused, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DeviceError(String);

const KINDS: &str = "a PCI address such as 0000:03:00.0, af_xdp:IFACE, af_packet:IFACE, memif:KEY=VALUE…, \
                     pcap:KEY=VALUE…, null, or vdev:DRIVER,KEY=VALUE…";

impl Device {
    /// The device's argument for DPDK. `index` is the port's place in the file.
    pub fn eal(&self, index: usize) -> EalDevice {
        match self {
            Self::Pci { address, args } => EalDevice::Allow(join(&[address, args])),
            Self::Vdev { raw } => EalDevice::Vdev(raw.clone()),
            Self::AfXdp { iface, args } | Self::AfPacket { iface, args } => {
                EalDevice::Vdev(join(&[&self.eal_name(index), &format!("iface={iface}"), args]))
            }
            Self::Memif { args } | Self::Pcap { args } | Self::Null { args } => {
                EalDevice::Vdev(join(&[&self.eal_name(index), args]))
            }
        }
    }

    /// The name under which DPDK knows the device once it was probed.
    pub fn eal_name(&self, index: usize) -> String {
        match self {
            Self::Pci { address, .. } => full_pci(address),
            Self::AfXdp { .. } => format!("net_af_xdp{index}"),
            Self::AfPacket { .. } => format!("net_af_packet{index}"),
            Self::Memif { .. } => format!("net_memif{index}"),
            Self::Pcap { .. } => format!("net_pcap{index}"),
            Self::Null { .. } => format!("net_null{index}"),
            Self::Vdev { raw } => raw.split(',').next().unwrap_or(raw).to_owned(),
        }
    }

    /// A driver argument that the operator gave.
    pub fn argument(&self, key: &str) -> Option<&str> {
        let (Self::Pci { args, .. }
        | Self::AfXdp { args, .. }
        | Self::AfPacket { args, .. }
        | Self::Memif { args }
        | Self::Pcap { args }
        | Self::Null { args }) = self
        else {
            return None;
        };
        let pairs = args.split(',').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next_back()
    }

    /// The same device with these arguments. What the operator gave under other names stays.
    #[must_use]
    pub fn with_arguments(&self, given: &[(&str, String)]) -> Self {
        let mut changed = self.clone();
        if let Self::AfXdp { args, .. } | Self::AfPacket { args, .. } = &mut changed {
            let kept = args.split(',').filter(|pair| {
                !given.iter().any(|(name, _)| pair.split_once('=').is_some_and(|(key, _)| key == *name))
            });
            let given = given.iter().map(|(name, value)| format!("{name}={value}"));
            let all: Vec<String> =
                kept.filter(|pair| !pair.is_empty()).map(str::to_owned).chain(given).collect();
            *args = all.join(",");
        }
        changed
    }

    /// The Linux interface under the device. It must be up for the device to work.
    pub fn kernel_interface(&self) -> Option<&str> {
        match self {
            Self::AfXdp { iface, .. } | Self::AfPacket { iface, .. } => Some(iface),
            _ => None,
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        if is_pci(text.split(',').next().unwrap_or(text)) {
            let (address, args) = split_args(text)?;
            return Ok(Self::Pci { address, args });
        }
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "af_xdp" | "af_packet" => {
                let (iface, args) = split_args(rest)?;
                check_interface(&iface)
                    .map_err(|why| DeviceError(format!("`{text}` {why}; expected {kind}:IFACE")))?;
                Ok(match kind {
                    "af_xdp" => Self::AfXdp { iface, args },
                    _ => Self::AfPacket { iface, args },
                })
            }
            "memif" if rest.starts_with('/') => Ok(Self::Memif { args: format!("socket={rest}") }),
            "memif" => Ok(Self::Memif { args: key_values(rest)? }),
            "pcap" if rest.is_empty() => {
                Err(DeviceError("`pcap` needs files; expected pcap:rx_pcap=FILE,tx_pcap=FILE".to_owned()))
            }
            "pcap" => Ok(Self::Pcap { args: key_values(rest)? }),
            "null" => Ok(Self::Null { args: key_values(rest)? }),
            "vdev" if rest.is_empty() || rest.starts_with(',') => {
                Err(DeviceError("`vdev` needs a driver; expected vdev:DRIVER,KEY=VALUE…".to_owned()))
            }
            "vdev" => Ok(Self::Vdev { raw: rest.to_owned() }),
            _ => Err(DeviceError(format!("`{text}` is no device; expected {KINDS}"))),
        }
    }
}

/// In the words of the configuration.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci { address, args } => f.write_str(&join(&[address, args])),
            Self::AfXdp { iface, args } => write!(f, "af_xdp:{}", join(&[iface, args])),
            Self::AfPacket { iface, args } => write!(f, "af_packet:{}", join(&[iface, args])),
            Self::Memif { args } => write!(f, "memif:{args}"),
            Self::Pcap { args } => write!(f, "pcap:{args}"),
            Self::Null { args } if args.is_empty() => f.write_str("null"),
            Self::Null { args } => write!(f, "null:{args}"),
            Self::Vdev { raw } => write!(f, "vdev:{raw}"),
        }
    }
}

/// The reason why `name` cannot name a Linux interface, by the kernel's own rule (`net/core/dev.c:
/// dev_valid_name`).
pub(super) fn check_interface(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("names no interface"),
        "." | ".." => Err("is not an interface name"),
        _ if name.len() > 15 => Err("is longer than the 15 bytes an interface name may have"),
        _ if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) => {
            Err("has a `/`, a `:` or a space, which no interface name may have")
        }
        _ => Ok(()),
    }
}

fn split_args(text: &str) -> Result<(String, String), DeviceError> {
    let (head, args) = text.split_once(',').unwrap_or((text, ""));
    Ok((head.to_owned(), key_values(args)?))
}

fn key_values(args: &str) -> Result<String, DeviceError> {
    match args
        .split(',')
        .find(|a| !a.is_empty() && !matches!(a.split_once('='), Some((k, _)) if !k.is_empty()))
    {
        Some(bad) => Err(DeviceError(format!("`{bad}` is no device argument; expected KEY=VALUE"))),
        None => Ok(args.to_owned()),
    }
}

fn is_pci(text: &str) -> bool {
    let hex =
        |s: &str, most: usize| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
    let Some((rest, function)) = text.rsplit_once('.') else { return false };
    let fields: Vec<&str> = rest.split(':').collect();
    function.len() == 1
        && function.bytes().all(|b| (b'0'..=b'7').contains(&b))
        && match fields[..] {
            [bus, device] => hex(bus, 2) && hex(device, 2),
            [domain, bus, device] => hex(domain, 8) && hex(bus, 2) && hex(device, 2),
            _ => false,
        }
        && text.parse::<Ipv4Addr>().is_err()
}

/// The long form of a PCI address, by which DPDK names a NIC.
fn full_pci(address: &str) -> String {
    match address.matches(':').count() {
        1 => format!("0000:{address}"),
        _ => address.to_owned(),
    }
    .to_ascii_lowercase()
}

fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vdev(text: &str, index: usize) -> String {
        match text.parse::<Device>().unwrap().eal(index) {
            EalDevice::Vdev(arg) => format!("--vdev {arg}"),
            EalDevice::Allow(arg) => format!("-a {arg}"),
        }
    }

    #[test]
    fn each_kind_becomes_its_dpdk_argument() {
        assert_eq!(vdev("0000:03:00.0", 0), "-a 0000:03:00.0");
        assert_eq!(vdev("03:00.1,dv_flow_en=1", 3), "-a 03:00.1,dv_flow_en=1");
        assert_eq!(vdev("af_xdp:enp1s0", 0), "--vdev net_af_xdp0,iface=enp1s0");
        assert_eq!(vdev("af_xdp:enp1s0,force_copy=1", 1), "--vdev net_af_xdp1,iface=enp1s0,force_copy=1");
        assert_eq!(vdev("af_packet:eth0", 2), "--vdev net_af_packet2,iface=eth0");
        assert_eq!(vdev("memif:role=client,id=0", 0), "--vdev net_memif0,role=client,id=0");
        assert_eq!(vdev("memif:/run/vpp.sock", 0), "--vdev net_memif0,socket=/run/vpp.sock");
        assert_eq!(
            vdev("pcap:rx_pcap=a.pcap,tx_pcap=b.pcap", 0),
            "--vdev net_pcap0,rx_pcap=a.pcap,tx_pcap=b.pcap"
        );
        assert_eq!(vdev("null", 4), "--vdev net_null4");
        assert_eq!(vdev("null:size=60", 4), "--vdev net_null4,size=60");
        assert_eq!(vdev("vdev:net_ring0,nodeaction=a", 4), "--vdev net_ring0,nodeaction=a");
    }

    #[test]
    fn the_probed_name_is_dpdks() {
        let name = |text: &str| text.parse::<Device>().unwrap().eal_name(1);
        assert_eq!(name("03:00.0"), "0000:03:00.0");
        assert_eq!(name("0000:AF:00.0"), "0000:af:00.0");
        assert_eq!(name("af_xdp:eth0"), "net_af_xdp1");
        assert_eq!(name("vdev:net_ring7,a=b"), "net_ring7");
    }

    #[test]
    fn arguments_are_found_and_replaced() {
        let device: Device = "af_xdp:eth0,force_copy=1,start_queue=2".parse().unwrap();
        assert_eq!(device.argument("start_queue"), Some("2"));
        assert_eq!(device.argument("queue_count"), None);
        let other =
            device.with_arguments(&[("start_queue", "3".to_owned()), ("queue_count", "1".to_owned())]);
        assert_eq!(other.to_string(), "af_xdp:eth0,force_copy=1,start_queue=3,queue_count=1");
        assert_eq!("af_packet:eth0".parse::<Device>().unwrap().argument("framesz"), None);
    }

    #[test]
    fn every_device_prints_as_it_was_written() {
        for text in
            ["0000:03:00.0", "03:00.1,a=b", "af_xdp:eth0", "af_packet:eth0,qpairs=2", "memif:id=0", "null"]
        {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for text in
            ["", "eth0", "03:00", "03:00.9", "10.0.0.1", "af_xdp:", "af_xdp:a/b", "pcap:", "vdev:", "null:60"]
        {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
