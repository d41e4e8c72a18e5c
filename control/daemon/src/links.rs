//! Whether the ports' links are up, and what the devices are asked about themselves while they run.
//!
//! DPDK's drivers over a Linux interface say "up, 10 Gbit/s" whatever becomes of it, so the mirror's picture of the
//! interface is what counts. A link that goes down goes down on the host interface too: keepalived and routing daemons
//! see it there as on any NIC. A device that is deleted is beyond mending, for the sockets of DPDK's driver went with it:
//! the daemon ends, and whoever supervises it starts it again.

use std::fmt;
use std::time::{Duration, Instant};

use dpdk::PortStats;

use super::port::RunningPort;
use crate::config::{Device, PortConfig};
use linux::{Iface, LinkReport, LinkWatch, Links, Mac, MirrorState, Tap};

/// How often the log may say that packets are missed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Packets pass.
    #[default]
    Up,
    /// There is no peer: a cable is out, or the other side is down.
    NoCarrier,
    /// The interface was set down.
    Down,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::NoCarrier => "no carrier",
            Self::Down => "down",
        })
    }
}

/// What is known of one port beside its packets.
#[derive(Debug, Default)]
pub(super) struct PortLink {
    name: String,
    /// The Linux interface under the device.
    under: Option<Under>,
    /// The host interface: its index and its name.
    host: (u32, String),
    /// The link's state; `None` before the first look.
    pub(super) state: Option<LinkState>,
    /// The largest IP packet it carries, in bytes.
    pub(super) mtu: u32,
    /// In Mbit/s, when known.
    pub(super) speed: Option<u32>,
    /// What the interface said last.
    report: LinkReport,
    /// An XDP program was seen on the interface.
    has_xdp: bool,
    ring: Ring,
    /// What is wrong with its Ethernet address and its MTU.
    setting: Vec<String>,
    /// What is wrong with its queues.
    queues: Option<String>,
    /// When the log last told of missed packets, and how many they were.
    told: Option<(Instant, u64)>,
}

/// What is lost between an interface and `AF_PACKET`'s ring, which the kernel tells the socket alone.
#[derive(Debug, Default)]
struct Ring {
    /// Packets not fetched, at the last look.
    before: u64,
    /// Packets lost: neither this look nor the one before found them fetched.
    lost: u64,
}

#[derive(Debug)]
struct Under {
    ifindex: u32,
    name: String,
    mac: Mac,
    largest_mtu: u32,
    queues: u32,
    /// The operator chose queues, or the driver receives from all whatever their number.
    chosen: bool,
    /// Through `AF_PACKET`.
    ring: bool,
}

/// All ports' links.
pub(super) struct PortLinks {
    pub(super) ports: Vec<PortLink>,
    links: Links,
    watch: LinkWatch,
}

impl PortLinks {
    /// Opens what it takes to look, in the network namespace of the calling thread.
    pub(super) fn new(config: &[PortConfig], running: &[RunningPort], taps: &[Tap]) -> std::io::Result<Self> {
        let ports = config.iter().zip(running).zip(taps).map(|((config, port), tap)| {
            let chosen =
                ["start_queue", "queue_count"].iter().any(|key| config.device.argument(key).is_some());
            let under = port.ground().under.as_ref().map(|under| Under {
                ifindex: under.ifindex,
                name: under.iface.name.clone(),
                mac: Mac(port.mac()),
                largest_mtu: port.ground().largest_mtu.unwrap_or(u32::MAX),
                queues: port.ground().queue_count(),
                chosen: chosen || !matches!(config.device, Device::AfXdp { .. }),
                ring: matches!(config.device, Device::AfPacket { .. }),
            });
            PortLink {
                name: config.name.clone(),
                under,
                host: (tap.ifindex(), tap.name().to_owned()),
                mtu: port.mtu(),
                ..PortLink::default()
            }
        });
        let ports: Vec<PortLink> = ports.collect();
        // Index 0 is no link's.
        let indices = ports.iter().map(|port| port.under.as_ref().map_or(0, |under| under.ifindex)).collect();
        Ok(Self { ports, links: Links::open()?, watch: LinkWatch::start(indices)? })
    }

    /// Whether some port is not as it should be.
    pub(super) fn degraded(&self) -> bool {
        self.ports.iter().any(|port| port.is_down() || port.troubles().next().is_some())
    }

    /// Follows what Linux says of the interfaces. An error is the end: a device or a host interface is gone.
    pub(super) fn follow(&mut self, world: &MirrorState) -> Result<(), String> {
        let Self { ports, links, .. } = self;
        for port in ports {
            let (host, host_name) = &port.host;
            let tap = match world.ifaces.get(host) {
                Some(tap) => tap,
                // A picture that was taken while links came and went may lack one that is there.
                None if links.exists(*host) => continue,
                None => {
                    return Err(format!(
                        "port {}: host interface {host_name} is gone, deleted or moved to another network namespace, and \
                         with it the port's Linux side; start viplined again to have it made anew",
                        port.name
                    ));
                }
            };
            if let Some(under) = &port.under {
                match world.ifaces.get(&under.ifindex) {
                    Some(iface) => port.follow_interface(iface, tap, links),
                    None if links.exists(under.ifindex) => {}
                    None => return Err(gone(&port.name, &under.name, world)),
                }
            }
            port.show_carrier(tap, links);
        }
        Ok(())
    }

    /// Asks what no event tells of: the links of devices without a Linux interface, speeds, queues, lost packets. An
    /// error is the end.
    pub(super) fn look(&mut self, running: &[RunningPort], now: Instant) -> Result<(), String> {
        self.count();
        for (port, device) in self.ports.iter_mut().zip(running) {
            if port.under.is_some() {
                port.look_at_interface()?;
            } else {
                let link = device.link();
                port.speed = link.speed_mbps;
                port.settle(if link.up { LinkState::Up } else { LinkState::NoCarrier });
                // Whether it changes anything is Linux's affair.
                if let Err(why) = self.links.set_carrier(port.host.0, link.up) {
                    tracing::debug!("cannot set the carrier of {}: {why}", port.host.1);
                }
            }
            port.look_at_ring(device);
            port.tell_missed(port.stats(device).rx_missed, now);
        }
        Ok(())
    }

    /// Takes over what the kernel has counted, as of the last second.
    pub(super) fn count(&mut self) {
        for (port, report) in self.ports.iter_mut().zip(self.watch.reports()) {
            if port.under.is_some() {
                (port.report, port.speed) = (report, report.speed);
            }
        }
    }
}

/// A device that went away, and whether another has its name.
fn gone(port: &str, name: &str, world: &MirrorState) -> String {
    match world.iface_named(name) {
        Some(_) => format!(
            "port {port}: interface {name} was deleted and made again; start viplined again to take the new one up"
        ),
        None => format!(
            "port {port}: interface {name} is gone, deleted or moved to another network namespace; start viplined again \
             once it is back"
        ),
    }
}

impl PortLink {
    /// Whether no packets pass.
    pub(super) fn is_down(&self) -> bool {
        self.state.is_some_and(|state| state != LinkState::Up)
    }

    /// What is wrong, each with what to do.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &str> {
        self.setting.iter().chain(&self.queues).map(String::as_str)
    }

    /// What was counted of the port, by driver, worker and kernel, as of the last look.
    pub(super) fn stats(&self, device: &RunningPort) -> PortStats {
        let mut stats = device.stats(self.report.counters);
        stats.rx_missed += self.ring.lost;
        stats
    }

    fn look_at_interface(&mut self) -> Result<(), String> {
        let Some(under) = &self.under else { return Ok(()) };
        if let Some(counters) = self.report.counters {
            if self.has_xdp && !counters.xdp {
                return Err(format!(
                    "port {}: the XDP program was taken off {}, and without it the packets go to Linux; start viplined again \
                     to have it put back",
                    self.name, under.name
                ));
            }
            self.has_xdp |= counters.xdp && !under.ring;
        }
        let Some(channels) = self.report.channels else { return Ok(()) };
        let trouble = (channels.rx > under.queues && !under.chosen).then(|| {
            format!(
                "{} has {} receive queues now, and the director takes packets of {}: the others are lost; `{}`, or start \
                 viplined again",
                under.name,
                channels.rx,
                under.queues,
                channels.command(&under.name, under.queues)
            )
        });
        self.tell_queues(trouble);
        Ok(())
    }

    fn look_at_ring(&mut self, device: &RunningPort) {
        let Some(counters) =
            self.report.counters.filter(|_| self.under.as_ref().is_some_and(|under| under.ring))
        else {
            return;
        };
        let now = device.not_fetched(counters);
        self.ring.lost = self.ring.lost.max(now.min(self.ring.before));
        self.ring.before = now;
    }

    fn follow_interface(&mut self, iface: &Iface, tap: &Iface, links: &mut Links) {
        let state = match (iface.up, iface.carrier) {
            (false, _) => LinkState::Down,
            (true, false) => LinkState::NoCarrier,
            (true, true) => LinkState::Up,
        };
        self.settle(state);
        let Some(under) = &mut self.under else { return };
        under.name.clone_from(&iface.name);
        let mut wrong = Vec::new();
        if let Some(mac) = iface.mac.filter(|mac| *mac != under.mac) {
            wrong.push(format!(
                "{0} has the Ethernet address {mac} now, and the director answers to {1}: packets for the new one are \
                 dropped; `ip link set {0} address {1}`, or start viplined again",
                iface.name, under.mac
            ));
        }
        let mtu = iface.mtu.min(under.largest_mtu);
        if iface.mtu > mtu {
            wrong.push(format!(
                "{0} has MTU {1} now, and packets above {mtu} bytes do not fit the buffers: they are lost; \
                 `ip link set {0} mtu {mtu}`, or start viplined again to have larger buffers",
                iface.name, iface.mtu
            ));
        }
        for trouble in wrong.iter().filter(|trouble| !self.setting.contains(trouble)) {
            tracing::warn!("port {}: {trouble}", self.name);
        }
        self.setting = wrong;
        if mtu != self.mtu || tap.mtu > mtu {
            match links.set_mtu(self.host.0, mtu) {
                Ok(()) if mtu == self.mtu => {
                    tracing::warn!(
                        "port {}: {} cannot have a larger MTU than {mtu}, {}'s",
                        self.name,
                        tap.name,
                        iface.name
                    );
                }
                Ok(()) => tracing::info!("port {}: MTU {mtu}, as {} has it now", self.name, iface.name),
                Err(why) => tracing::warn!("port {}: cannot set MTU {mtu} of {}: {why}", self.name, tap.name),
            }
            self.mtu = mtu;
        }
    }

    /// Takes a state for the present one, and says so when it is news.
    fn settle(&mut self, state: LinkState) {
        let before = self.state.replace(state);
        if before == Some(state) || before.is_none() && state == LinkState::Up {
            return;
        }
        let name = &self.name;
        let device = self.under.as_ref().map_or("its device", |under| under.name.as_str());
        match state {
            LinkState::Up => tracing::info!("port {name}: the link is up again"),
            LinkState::NoCarrier => {
                tracing::warn!(
                    "port {name}: {device} has no carrier: no packets pass until the peer is back"
                );
            }
            LinkState::Down => tracing::warn!(
                "port {name}: {device} was set down: no packets pass; `ip link set {device} up` brings it back"
            ),
        }
    }

    /// Lets the users of the host interface see what the link is like.
    fn show_carrier(&self, tap: &Iface, links: &mut Links) {
        let carrier = !self.is_down();
        // Of an interface that is down itself Linux does not say whether there is a carrier.
        if self.state.is_some()
            && tap.up
            && tap.carrier != carrier
            && let Err(why) = links.set_carrier(self.host.0, carrier)
        {
            tracing::warn!("port {}: cannot set the carrier of {}: {why}", self.name, self.host.1);
        }
    }

    fn tell_queues(&mut self, trouble: Option<String>) {
        if let Some(trouble) = trouble.as_ref().filter(|trouble| self.queues.as_ref() != Some(*trouble)) {
            tracing::warn!("port {}: {trouble}", self.name);
        }
        self.queues = trouble;
    }

    fn tell_missed(&mut self, missed: u64, now: Instant) {
        let (since, before) = self.told.map_or((None, 0), |(since, before)| (Some(since), before));
        if missed > before && since.is_none_or(|since| now.duration_since(since) >= PATIENCE) {
            tracing::warn!(
                "port {}: {} packets missed since the last look, {missed} in all: they came faster than they were fetched, or \
                 were longer than the MTU",
                self.name,
                missed - before
            );
            self.told = Some((now, missed));
        }
    }
}
