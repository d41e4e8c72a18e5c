//! The link of one port: its state, its MTU, and what is wrong with it.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use dataplane::wire::ether::Mac;
use dpdk::PortStats;

use super::port::RunningPort;
use super::trouble::{News, TroubleKind, Troubles};
use crate::config::{Device, PortConfig};
use api::words::{counted, duration};
use linux::{Iface, LinkReport, Links, Tap};

/// The log says at most once in this time that packets are missed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Packets pass.
    #[default]
    Up,
    /// There is no peer: a cable is unplugged, or the other side is down.
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

/// What is known of one port besides its packets.
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
    /// The last report about the interface.
    report: LinkReport,
    /// Whether the host interface was up, and whether it had a carrier, when the mirror saw it
    /// last.
    seen: Option<(bool, bool)>,
    /// An XDP program was seen on the interface.
    has_xdp: bool,
    ring: Ring,
    troubles: Troubles,
    /// Lines that the log is to say.
    news: Vec<News>,
    /// When the log last told of missed packets, and how many they were.
    told: Option<(Instant, u64)>,
}

/// Changes to a host interface, which is named by its index.
pub(super) trait HostLinks {
    /// The MTU that it has now, when Linux says.
    fn mtu_now(&mut self, ifindex: u32) -> Option<u32>;
    /// Gives it an MTU.
    fn give_mtu(&mut self, ifindex: u32, mtu: u32) -> io::Result<()>;
    /// Gives it a carrier, or takes the carrier away.
    fn give_carrier(&mut self, ifindex: u32, carrier: bool) -> io::Result<()>;
}

impl HostLinks for Links {
    fn mtu_now(&mut self, ifindex: u32) -> Option<u32> {
        self.mtu(ifindex).ok().flatten()
    }

    fn give_mtu(&mut self, ifindex: u32, mtu: u32) -> io::Result<()> {
        self.set_mtu(ifindex, mtu)
    }

    fn give_carrier(&mut self, ifindex: u32, carrier: bool) -> io::Result<()> {
        self.set_carrier(ifindex, carrier)
    }
}

/// Packets that are lost between an interface and the ring of `AF_PACKET`. The kernel tells their
/// number only to the socket, which is the driver's.
#[derive(Debug, Default)]
struct Ring {
    /// How many packets were not fetched at the last look.
    before: u64,
    /// How many packets are lost: they were not fetched at one look, and still not at the next.
    lost: u64,
}

impl Ring {
    /// Looks again: this many packets of the interface are not fetched.
    fn look(&mut self, not_fetched: u64) {
        self.lost = self.lost.max(not_fetched.min(self.before));
        self.before = not_fetched;
    }
}

#[derive(Debug)]
struct Under {
    ifindex: u32,
    name: String,
    mac: Mac,
    largest_mtu: u32,
    queues: u32,
    /// The operator chose the queues, or the driver receives from all of them, whatever their
    /// number.
    chosen: bool,
    /// The device uses `AF_PACKET`.
    ring: bool,
}

impl PortLink {
    /// A port that has just started.
    pub(super) fn new(config: &PortConfig, port: &RunningPort, tap: &Tap) -> Self {
        let chosen = ["start_queue", "queue_count"].iter().any(|key| config.device.argument(key).is_some());
        let under = port.ground().under.as_ref().map(|under| Under {
            ifindex: under.ifindex,
            name: under.iface.name.clone(),
            mac: Mac(port.mac()),
            largest_mtu: port.ground().largest_mtu.unwrap_or(u32::MAX),
            queues: port.ground().queue_count(),
            chosen: chosen || !matches!(config.device, Device::AfXdp { .. }),
            ring: matches!(config.device, Device::AfPacket { .. }),
        });
        Self {
            name: config.name.clone(),
            under,
            host: (tap.ifindex(), tap.name().to_owned()),
            mtu: port.mtu(),
            ..Self::default()
        }
    }

    /// The port's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The host interface: its index and its name.
    pub(super) fn host(&self) -> (u32, &str) {
        (self.host.0, &self.host.1)
    }

    /// The Linux interface under the device: its index and its name.
    pub(super) fn interface(&self) -> Option<(u32, &str)> {
        self.under.as_ref().map(|under| (under.ifindex, under.name.as_str()))
    }

    /// Takes a report about the interface.
    pub(super) fn heard(&mut self, report: LinkReport) {
        if self.under.is_some() {
            (self.report, self.speed) = (report, report.speed);
        }
    }

    /// Looks at what no event tells. After an error the daemon must end.
    pub(super) fn look(&mut self, device: &RunningPort, now: Instant) -> Result<(), String> {
        if self.under.is_some() {
            self.look_at_interface()?;
        } else {
            let link = device.link();
            self.speed = link.speed_mbps;
            self.settle(if link.up { LinkState::Up } else { LinkState::NoCarrier });
        }
        self.look_at_ring(device);
        self.tell_missed(self.stats(device).rx_missed, now);
        Ok(())
    }

    /// Whether no packets pass.
    pub(super) fn is_down(&self) -> bool {
        self.state.is_some_and(|state| state != LinkState::Up)
    }

    /// What is wrong, and for each trouble what to do.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &str> {
        self.troubles.iter()
    }

    /// Has the log say what is new.
    pub(super) fn tell(&mut self) {
        for news in self.news.drain(..) {
            match news {
                News::Good(text) => tracing::info!("port {}: {text}", self.name),
                News::Bad(text) => tracing::warn!("port {}: {text}", self.name),
            }
        }
    }

    fn trouble(&mut self, kind: TroubleKind, present: Option<String>) {
        self.news.extend(self.troubles.set(kind, present));
    }

    /// What driver, worker and kernel have counted of the port, as of the last look.
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
                    "port {}: the XDP program was taken off {}, and without it packets go to Linux; start viplined again, \
                     which puts it back",
                    self.name, under.name
                ));
            }
            self.has_xdp |= counters.xdp && !under.ring;
        }
        let Some(channels) = self.report.channels else { return Ok(()) };
        let trouble = (channels.rx > under.queues && !under.chosen).then(|| {
            format!(
                "{} has {} receive queues now, but the director takes packets from only {} of them: packets in the \
                 others are lost; `{}`, or start viplined again",
                under.name,
                channels.rx,
                under.queues,
                channels.command(&under.name, under.queues)
            )
        });
        self.trouble(TroubleKind::Queues, trouble);
        Ok(())
    }

    fn look_at_ring(&mut self, device: &RunningPort) {
        let Some(counters) =
            self.report.counters.filter(|_| self.under.as_ref().is_some_and(|under| under.ring))
        else {
            return;
        };
        self.ring.look(device.not_fetched(counters));
    }

    /// Follows the two interfaces of a port whose device stands on a Linux interface.
    pub(super) fn follow_interface(&mut self, iface: &Iface, tap: &Iface, links: &mut impl HostLinks) {
        self.seen = Some((tap.up, tap.carrier));
        self.settle(match (iface.up, iface.carrier) {
            (false, _) => LinkState::Down,
            (true, false) => LinkState::NoCarrier,
            (true, true) => LinkState::Up,
        });
        let Some(under) = &mut self.under else { return };
        under.name.clone_from(&iface.name);
        let other = iface.mac.filter(|mac| *mac != under.mac).map(|mac| {
            format!(
                "{0} has the Ethernet address {mac} now, and the director answers to {1}: packets for the new one are \
                 dropped; `ip link set {0} address {1}`, or start viplined again",
                iface.name, under.mac
            )
        });
        let mtu = iface.mtu.min(under.largest_mtu);
        let longer = (iface.mtu > mtu).then(|| {
            format!(
                "{0} has MTU {1} now, and packets above {mtu} bytes do not fit the buffers: they are lost; \
                 `ip link set {0} mtu {mtu}`, or start viplined again to have larger buffers",
                iface.name, iface.mtu
            )
        });
        self.trouble(TroubleKind::Address, other);
        self.trouble(TroubleKind::Buffers, longer);
        self.follow_mtu(mtu, tap, links);
    }

    /// Follows the host interface of a port whose device stands on no Linux interface.
    pub(super) fn follow_host(&mut self, tap: &Iface, links: &mut impl HostLinks) {
        self.seen = Some((tap.up, tap.carrier));
        self.follow_mtu(self.mtu, tap, links);
    }

    /// Gives the host interface the device's MTU when that has changed, or when the host interface
    /// has a larger one.
    fn follow_mtu(&mut self, mtu: u32, tap: &Iface, links: &mut impl HostLinks) {
        let (host, name) = (self.host.0, &tap.name);
        let changed = mtu != self.mtu;
        // `tap` may be older than what was set last, so Linux is asked before anybody is blamed.
        if !changed && (tap.mtu <= mtu || links.mtu_now(host).is_some_and(|now| now <= mtu)) {
            self.trouble(TroubleKind::HostMtu, None);
            return;
        }
        let given = links.give_mtu(host, mtu);
        if given.is_ok() {
            self.mtu = mtu;
            self.news.push(if changed {
                News::Good(format!("MTU {mtu}, as its device has it now"))
            } else {
                News::Bad(format!("{name} cannot have a larger MTU than its device: {mtu}"))
            });
        }
        let refused = given
            .err()
            .map(|why| format!("{name} cannot have the device's MTU: {why}; `ip link set {name} mtu {mtu}`"));
        self.trouble(TroubleKind::HostMtu, refused);
    }

    /// Sets the state of the link, and tells it if it is news.
    fn settle(&mut self, state: LinkState) {
        let before = self.state.replace(state);
        if before == Some(state) || before.is_none() && state == LinkState::Up {
            return;
        }
        let device = self.under.as_ref().map_or("its device", |under| under.name.as_str());
        self.news.push(match state {
            LinkState::Up => News::Good("the link is up again".to_owned()),
            LinkState::NoCarrier => {
                News::Bad(format!("{device} has no carrier: no packets pass until the peer is back"))
            }
            LinkState::Down => News::Bad(format!(
                "{device} was set down: no packets pass; `ip link set {device} up` brings it back"
            )),
        });
    }

    /// Lets the users of the host interface see what the link is like.
    pub(super) fn show_carrier(&mut self, links: &mut impl HostLinks) {
        let carrier = !self.is_down();
        // While the host interface is down itself, Linux does not say whether it has a carrier.
        if self.state.is_none() || self.seen != Some((true, !carrier)) {
            return;
        }
        let refused = links.give_carrier(self.host.0, carrier).err();
        let refused = refused.map(|why| format!("cannot set the carrier of {}: {why}", self.host.1));
        self.trouble(TroubleKind::Carrier, refused);
    }

    fn tell_missed(&mut self, missed: u64, now: Instant) {
        let (since, before) = self.told.map_or((None, 0), |(since, before)| (Some(since), before));
        let elapsed = since.map(|since| now.duration_since(since));
        if missed > before && elapsed.is_none_or(|elapsed| elapsed >= PATIENCE) {
            let time = elapsed.map_or_else(String::new, |time| format!(" in the last {}", duration(time)));
            self.news.push(News::Bad(format!(
                "{} missed{time}, {missed} in all: they came faster than they were fetched, or were longer than the MTU",
                counted(missed - before, "packet")
            )));
            self.told = Some((now, missed));
        }
    }
}

#[cfg(test)]
mod tests;
