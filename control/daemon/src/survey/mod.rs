//! What the ports stand on, which is looked at before anything is touched: interfaces, their MTU
//! and receive queues, and the packet buffers that these need.
//!
//! DPDK's drivers over a Linux interface believe that its MTU is 1500 and that it has one queue. So
//! the interface itself is asked here. `vipline check` and the daemon's start do the same.

mod error;

use crate::config::{Config, Device, EalDevice, PortConfig};
use linux::Underlying;

pub use error::SurveyError;

/// What the machine has for the ports of a configuration.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What each port stands on, in the order of the ports.
    pub grounds: Vec<Ground>,
    /// Bytes of a packet that a buffer has room for, without headroom.
    pub data_room: u16,
}

/// What one port stands on.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The Linux interface under the device, for devices that have one.
    pub under: Option<Underlying>,
    /// The largest MTU that fits the buffers, for devices over a Linux interface.
    pub largest_mtu: Option<u32>,
    /// DPDK's arguments. There is one device for each receive queue that the driver sees as a
    /// device of its own.
    pub devices: Vec<String>,
    /// How many queues each of these devices has.
    pub queues: u16,
}

/// Bytes of the Ethernet header and two VLAN tags.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4;
/// What the kernel leaves free in front of a packet for XDP programs (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;
/// The most room that a buffer of `AF_XDP` can have. With its headers the buffer is a chunk, which
/// is a page at most, and an odd number of cache lines, as DPDK lays out pools.
const XDP_MOST_ROOM: u16 = 4032 - (64 + 128 + 128);
/// Bytes that `AF_PACKET` puts in front of a packet: its header and the link-layer address, aligned
/// (`net/packet/af_packet.c: tpacket_rcv`).
const PACKET_HEADER: u32 = 66;
/// Bytes of a frame in `AF_PACKET`'s ring that DPDK's driver does not copy.
const PACKET_SPARED: u32 = 32;
/// The length of a ring's frame that the driver chooses by itself.
const PACKET_FRAME: u32 = 2048;
/// The longest frame of a ring. Frames lie in blocks without gaps, so their lengths are powers of
/// two, and the length of a buffer has 16 bits.
const PACKET_MOST_FRAME: u32 = 16_384;
/// The most receive queues of a port that one worker polls.
const MOST_QUEUES: u32 = 8;

/// Bytes that a packet buffer takes besides its room: headroom, header, rounding.
const BUFFER_OVERHEAD: u64 = 128 + 128 + 64;
/// The least number of packet buffers for a port: full queues, and what drivers keep.
const LEAST_PER_PORT: u32 = 8192;
/// The same for each further queue of a port.
const LEAST_PER_QUEUE: u32 = 4096;
/// The most packet buffers that a port makes use of. More would only keep the caches cold.
const MOST_PER_PORT: u32 = 32_768;

impl Survey {
    /// Looks at the interfaces that `config` names, and changes nothing.
    pub fn of(config: &Config) -> Result<Self, SurveyError> {
        let looked =
            |port: &PortConfig| port.device.kernel_interface().map(linux::look_at_underlying).transpose();
        let found: Result<Vec<_>, _> = config
            .ports
            .iter()
            .map(|port| looked(port).map_err(|source| SurveyError::Link { port: port.name.clone(), source }))
            .collect();
        Self::judge(config, found?)
    }

    /// What a configuration needs if its interfaces have an MTU of 1500 and one queue. This is for
    /// when they cannot be looked at.
    pub fn ordinary(config: &Config) -> Self {
        let ground = |_: &PortConfig| Ground { devices: vec![String::new()], queues: 1, ..Ground::default() };
        Self { grounds: config.ports.iter().map(ground).collect(), data_room: dpdk::Mempool::DATA_ROOM }
    }

    fn judge(config: &Config, found: Vec<Option<Underlying>>) -> Result<Self, SurveyError> {
        let ports = || config.ports.iter().zip(&found);
        let mut data_room = dpdk::Mempool::DATA_ROOM;
        for (port, under) in ports() {
            data_room = data_room.max(room(port, under.as_ref())?);
        }
        for (port, under) in ports() {
            // All ports share the buffers, and AF_XDP accepts no larger ones.
            if let (Device::AfXdp { .. }, Some(under)) = (&port.device, under)
                && data_room > XDP_MOST_ROOM
            {
                let most = XDP_MOST_ROOM.into();
                let largest = found.iter().flatten().max_by_key(|other| other.iface.mtu).unwrap_or(under);
                return Err(SurveyError::Mtu {
                    port: port.name.clone(),
                    iface: largest.iface.name.clone(),
                    mtu: largest.iface.mtu,
                    most: xdp_mtu(most),
                    what: "the buffers that all ports share with AF_XDP",
                });
            }
        }
        let grounds: Result<Vec<_>, _> = config
            .ports
            .iter()
            .enumerate()
            .zip(found)
            .map(|((index, port), under)| ground(index, port, under, data_room))
            .collect();
        let survey = Self { grounds: grounds?, data_room };
        survey.memory(config)?;
        Ok(survey)
    }

    /// Bytes that a buffer takes.
    pub fn buffer_bytes(&self) -> u64 {
        u64::from(self.data_room) + BUFFER_OVERHEAD
    }

    /// How many packet buffers there will be: as many as fit the memory that the tables leave,
    /// within what is useful.
    pub fn buffers(&self, config: &Config) -> u32 {
        let left = u64::from(config.memory_mb.saturating_sub(config.memory_needed_mb())) << 20;
        let ports = self.grounds.len() as u32;
        let wanted = u32::try_from(left * 3 / 4 / self.buffer_bytes()).unwrap_or(u32::MAX);
        wanted.clamp(self.least(), self.least().max(MOST_PER_PORT * ports))
    }

    fn queues(&self) -> u32 {
        self.grounds.iter().map(Ground::queue_count).sum()
    }

    fn least(&self) -> u32 {
        let ports = self.grounds.len() as u32;
        LEAST_PER_PORT * ports + LEAST_PER_QUEUE * (self.queues() - ports)
    }

    /// Refuses large buffers and many queues if `memory_mb` has no room for them. The
    /// configuration's own check assumes ordinary ones.
    fn memory(&self, config: &Config) -> Result<(), SurveyError> {
        let ports = self.grounds.len() as u64;
        let ordinary =
            ports * u64::from(LEAST_PER_PORT) * (u64::from(dpdk::Mempool::DATA_ROOM) + BUFFER_OVERHEAD);
        let extra = (u64::from(self.least()) * self.buffer_bytes()).saturating_sub(ordinary);
        let needed_mb = config.memory_needed_mb() + extra.div_ceil(1 << 20) as u32;
        if extra == 0 || needed_mb <= config.memory_mb {
            return Ok(());
        }
        Err(SurveyError::Memory {
            memory_mb: config.memory_mb,
            data_room: self.data_room,
            queues: self.queues(),
            needed_mb,
        })
    }
}

impl Ground {
    /// How many receive queues are polled.
    pub fn queue_count(&self) -> u32 {
        self.devices.len() as u32 * u32::from(self.queues)
    }
}

/// Bytes that a port's packets need in a buffer.
fn room(port: &PortConfig, under: Option<&Underlying>) -> Result<u16, SurveyError> {
    let Some(under) = under else { return Ok(0) };
    let (mtu, iface) = (under.iface.mtu, under.iface.name.clone());
    let refused = |most, what| SurveyError::Mtu { port: port.name.clone(), iface, mtu, most, what };
    let (room, most, what) = match port.device {
        Device::AfPacket { .. } => {
            let frame = ring_frame(port, under)?;
            (frame - PACKET_SPARED, packet_mtu(frame), "a frame of AF_PACKET's ring")
        }
        _ => {
            let most = xdp_mtu(XDP_MOST_ROOM.into());
            (mtu + FRAME_OVERHEAD + XDP_HEADROOM, most, "AF_XDP's buffers, which are a page at most")
        }
    };
    if mtu > most { Err(refused(most, what)) } else { Ok(room as u16) }
}

fn ground(
    index: usize,
    port: &PortConfig,
    under: Option<Underlying>,
    data_room: u16,
) -> Result<Ground, SurveyError> {
    let eal = |device: &Device| match device.eal(index) {
        EalDevice::Allow(devargs) | EalDevice::Vdev(devargs) => devargs,
    };
    let Some(under) = under else {
        return Ok(Ground { devices: vec![eal(&port.device)], queues: 1, ..Ground::default() });
    };
    if matches!(port.device, Device::AfPacket { .. }) {
        let frame = ring_frame(port, &under)?;
        let mut device = port.device.clone();
        if frame > PACKET_FRAME && port.device.argument("framesz").is_none() {
            device = device.with_arguments(&[("framesz", frame.to_string()), ("blocksz", frame.to_string())]);
        }
        let queues = argument(port, "qpairs")?.unwrap_or(1) as u16;
        let (devices, largest_mtu) = (vec![eal(&device)], Some(packet_mtu(frame)));
        return Ok(Ground { under: Some(under), largest_mtu, devices, queues });
    }
    let (first, count) = xdp_queues(port, &under)?;
    let devices = (first..first + count).map(|queue| {
        let one = [("start_queue", queue.to_string()), ("queue_count", "1".to_owned())];
        let devargs = eal(&port.device.with_arguments(&one));
        match queue - first {
            0 => devargs,
            // A device is known by its name, which is the driver's with any text behind it.
            further => devargs.replacen(',', &format!("q{further},"), 1),
        }
    });
    let (devices, largest_mtu) = (devices.collect(), Some(xdp_mtu(data_room.into())));
    Ok(Ground { under: Some(under), largest_mtu, devices, queues: 1 })
}

/// The first receive queue, and how many there are: all of them, unless the operator chose.
fn xdp_queues(port: &PortConfig, under: &Underlying) -> Result<(u32, u32), SurveyError> {
    let (name, iface, queues) = (port.name.clone(), under.iface.name.clone(), under.channels.rx);
    let chosen = (argument(port, "start_queue")?, argument(port, "queue_count")?);
    let (first, count) = match chosen {
        (None, None) => (0, queues),
        (first, count) => (first.unwrap_or(0), count.unwrap_or(1).max(1)),
    };
    if first.saturating_add(count) > queues {
        let last = first.saturating_add(count - 1);
        return Err(SurveyError::NoQueue { port: name, iface, queues, first, last });
    }
    if count > MOST_QUEUES {
        let command = under.channels.command(&iface, MOST_QUEUES);
        return Err(SurveyError::Queues { port: name, iface, queues: count, most: MOST_QUEUES, command });
    }
    Ok((first, count))
}

/// The length of a frame in the port's ring: the operator's choice, or what holds the interface's
/// packets.
fn ring_frame(port: &PortConfig, under: &Underlying) -> Result<u32, SurveyError> {
    let fits = (under.iface.mtu + FRAME_OVERHEAD + PACKET_HEADER).next_power_of_two();
    Ok(argument(port, "framesz")?
        .unwrap_or(fits.clamp(PACKET_FRAME, PACKET_MOST_FRAME))
        .clamp(256, PACKET_MOST_FRAME))
}

fn argument(port: &PortConfig, key: &'static str) -> Result<Option<u32>, SurveyError> {
    let Some(value) = port.device.argument(key) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| SurveyError::Argument {
        port: port.name.clone(),
        key,
        device: port.device.clone(),
        value: value.to_owned(),
    })
}

fn xdp_mtu(room: u32) -> u32 {
    room.saturating_sub(XDP_HEADROOM + FRAME_OVERHEAD)
}

fn packet_mtu(frame: u32) -> u32 {
    frame.saturating_sub(PACKET_HEADER + FRAME_OVERHEAD)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use linux::{Channels, Iface};

    fn judged(device: &str, mtu: u32, rx: u32, memory_mb: u32) -> Result<Survey, String> {
        let text = format!("memory_mb = {memory_mb}\n[[port]]\nname = \"wan\"\ndevice = \"{device}\"\n");
        let config = Config::parse(&text, Path::new("t.toml"), &[0, 1]).unwrap();
        let iface = Iface { name: "eth0".to_owned(), mtu, ..Iface::default() };
        let channels = Channels { rx, combined: false };
        let under = Underlying { ifindex: 7, iface, addresses: Vec::new(), channels };
        Survey::judge(&config, vec![Some(under)]).map_err(|error| error.to_string())
    }

    #[test]
    fn an_ordinary_interface_has_ordinary_buffers() {
        let survey = judged("af_xdp:eth0", 1500, 1, 512).unwrap();
        assert_eq!(survey.data_room, 2048);
        assert_eq!(survey.grounds[0].devices, ["net_af_xdp0,iface=eth0,start_queue=0,queue_count=1"]);
        assert_eq!(survey.grounds[0].largest_mtu, Some(1770));
        assert_eq!(survey.buffers(&Config { memory_mb: 241, ..config() }), 8192);
    }

    fn config() -> Config {
        Config::parse("[[port]]\nname = \"wan\"\ndevice = \"null\"\n", Path::new("t.toml"), &[0, 1]).unwrap()
    }

    #[test]
    fn buffers_grow_with_the_mtu_up_to_what_the_driver_takes() {
        for mtu in [1900, 2400, 3000, 3434] {
            let survey = judged("af_xdp:eth0", mtu, 1, 512).unwrap();
            assert!(survey.grounds[0].largest_mtu >= Some(mtu), "{mtu}");
            assert!(survey.data_room <= XDP_MOST_ROOM);
        }
        let said = judged("af_xdp:eth0", 9000, 1, 512).unwrap_err();
        assert!(said.contains("MTU 9000") && said.contains("ip link set eth0 mtu 3434"), "{said}");
    }

    #[test]
    fn a_ring_of_af_packet_holds_jumbo_frames() {
        let survey = judged("af_packet:eth0", 9000, 1, 512).unwrap();
        assert_eq!(survey.grounds[0].devices, ["net_af_packet0,iface=eth0,framesz=16384,blocksz=16384"]);
        assert_eq!(survey.data_room, 16_352);
        let survey = judged("af_packet:eth0,qpairs=2", 1500, 4, 512).unwrap();
        assert_eq!((survey.grounds[0].queue_count(), survey.data_room), (2, 2048));
        let said = judged("af_packet:eth0,framesz=2048", 3000, 1, 512).unwrap_err();
        assert!(said.contains("MTU 3000") && said.contains("mtu 1960"), "{said}");
    }

    #[test]
    fn every_receive_queue_is_taken() {
        let survey = judged("af_xdp:eth0,force_copy=1", 1500, 2, 512).unwrap();
        let names = [
            "net_af_xdp0,iface=eth0,force_copy=1,start_queue=0,queue_count=1",
            "net_af_xdp0q1,iface=eth0,force_copy=1,start_queue=1,queue_count=1",
        ];
        assert_eq!(survey.grounds[0].devices, names);
        let said = judged("af_xdp:eth0", 1500, 16, 512).unwrap_err();
        assert!(said.contains("16 receive queues") && said.contains("ethtool -L eth0 rx 8 tx 8"), "{said}");
    }

    #[test]
    fn the_operators_choice_of_queues_stands_if_they_exist() {
        let survey = judged("af_xdp:eth0,start_queue=1,queue_count=2", 1500, 4, 512).unwrap();
        assert_eq!(survey.grounds[0].queue_count(), 2);
        assert!(survey.grounds[0].devices[0].contains("start_queue=1,"));
        let said = judged("af_xdp:eth0,start_queue=3,queue_count=2", 1500, 4, 512).unwrap_err();
        assert!(said.contains("3 to 4"), "{said}");
        let said = judged("af_xdp:eth0,start_queue=x", 1500, 4, 512).unwrap_err();
        assert!(said.contains("`start_queue`") && said.contains("whole number"), "{said}");
    }

    #[test]
    fn memory_for_large_buffers_and_many_queues_is_asked_for() {
        let said = judged("af_xdp:eth0", 1500, 8, 240).unwrap_err();
        assert!(said.contains("`memory_mb` is 240") && said.contains("8 receive queues"), "{said}");
        assert!(judged("af_xdp:eth0", 1500, 8, 512).is_ok());
        assert!(judged("af_packet:eth0", 9000, 1, 240).is_err());
        assert!(judged("af_xdp:eth0", 1500, 1, 240).is_ok());
    }
}
