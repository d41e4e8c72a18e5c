//! Changes to links: up, MTU, Ethernet address, IP addresses.

use std::io;

use dataplane::wire::ether::Mac;
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::errno::Errno;

use super::decode;
use super::ethtool::{Channels, Ethtool};
use super::netlink::Requests;
use super::state::Iface;
use super::static_route::StaticRoute;

/// What the kernel has counted on a link since the link was made, and whether an XDP program runs
/// on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames that were received and lost: there was no room, nobody read them, or they were too
    /// long.
    pub rx_lost: u64,
    /// Frames that were broken when they were received.
    pub rx_errors: u64,
    /// Whether an XDP program is on it.
    pub xdp: bool,
}

/// The interface under a device was not found, or could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No such link.
    #[error("there is no interface {name} here; expected one that `ip link` lists")]
    Missing {
        /// The name.
        name: String,
    },
    /// The kernel refused.
    #[error("cannot {what} {name}: {}", explain(source))]
    Refused {
        /// What was to be done.
        what: &'static str,
        /// The name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The Linux interface under an `af_xdp` or `af_packet` device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlying {
    /// Its index.
    pub ifindex: u32,
    /// Its link, which is up now.
    pub iface: Iface,
    /// Its own addresses, without the link-local ones. The kernel answers for them; under AF_XDP
    /// nobody does.
    pub addresses: Vec<IpNet>,
    /// Its receive queues.
    pub channels: Channels,
}

/// Looks at the interface under a device, and changes nothing.
pub fn look_at_underlying(name: &str) -> Result<Underlying, LinkError> {
    look(&mut open(name)?, name)
}

fn open(name: &str) -> Result<Links, LinkError> {
    Links::open().map_err(|source| LinkError::Refused { what: "look for", name: name.to_owned(), source })
}

fn look(links: &mut Links, name: &str) -> Result<Underlying, LinkError> {
    let refused = |what| move |source| LinkError::Refused { what, name: name.to_owned(), source };
    let found = links.find(name).map_err(refused("look for"))?;
    let (ifindex, iface) = found.ok_or_else(|| LinkError::Missing { name: name.to_owned() })?;
    let addresses = links.addresses(ifindex).map_err(refused("read the addresses of"))?;
    let channels = Ethtool::open().and_then(|mut ethtool| ethtool.channels(ifindex)).unwrap_or_else(|why| {
        tracing::debug!("cannot count the receive queues of {name}: {why}");
        Channels::default()
    });
    Ok(Underlying { ifindex, iface, addresses, channels })
}

/// Brings the interface under a device up. Warns when it has IP addresses, because these belong on
/// the host interface.
pub fn prepare_underlying(name: &str) -> Result<Underlying, LinkError> {
    let mut links = open(name)?;
    let mut found = look(&mut links, name)?;
    if !found.iface.up {
        links.change(found.ifindex, None, None, true).map_err(|source| LinkError::Refused {
            what: "bring up",
            name: name.to_owned(),
            source,
        })?;
        found.iface.up = true;
    }
    let addresses = &found.addresses;
    if !addresses.is_empty() {
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let list = list.join(", ");
        tracing::warn!(
            "{name} has addresses of its own ({list}), which stop working while its packets go to the director, and answers to their networks may be lost there; \
             put them on the port's host interface"
        );
    }
    Ok(found)
}

/// The kernel's error in words, with what to do if that is known.
pub(super) fn explain(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "not permitted; run as root or with CAP_NET_ADMIN".to_owned(),
        _ => error.to_string(),
    }
}

/// A socket to ask about links and to change them, in the network namespace of the thread that
/// opened it.
#[derive(Debug)]
pub struct Links(Requests);

impl Links {
    /// Opens the socket.
    pub fn open() -> io::Result<Self> {
        Requests::open().map(Self)
    }

    pub(super) fn find(&mut self, name: &str) -> io::Result<Option<(u32, Iface)>> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.0.ask(Message::GetLink(request)) {
            Ok(Some(Message::NewLink(link))) => Ok(Some(decode::link(&link))),
            Ok(_) => Ok(None),
            Err(e) if e.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets what is given. `up` can bring a link up, and never down.
    pub(super) fn change(
        &mut self,
        ifindex: u32,
        mac: Option<Mac>,
        mtu: Option<u32>,
        up: bool,
    ) -> io::Result<()> {
        let mut request = LinkMessage::default();
        request.header.index = ifindex;
        if up {
            request.header.flags = LinkFlags::Up;
            request.header.change_mask = LinkFlags::Up;
        }
        request.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        request.attributes.extend(mtu.map(LinkAttribute::Mtu));
        self.0.change(Message::SetLink(request), 0)
    }

    /// Tells the users of a virtual link whether there is a peer (`IFLA_CARRIER`; for a TAP
    /// `tun_net_change_carrier`).
    pub fn set_carrier(&mut self, ifindex: u32, carrier: bool) -> io::Result<()> {
        let mut request = LinkMessage::default();
        request.header.index = ifindex;
        request.attributes.push(LinkAttribute::Carrier(u8::from(carrier)));
        self.0.change(Message::SetLink(request), 0)
    }

    /// What the kernel has counted on a link; `None` when there is no such link.
    pub fn counters(&mut self, ifindex: u32) -> io::Result<Option<LinkCounters>> {
        let mut request = LinkMessage::default();
        request.header.index = ifindex;
        match self.0.ask(Message::GetLink(request)) {
            Ok(Some(Message::NewLink(link))) => Ok(Some(decode::counters(&link))),
            Ok(_) => Ok(None),
            Err(e) if e.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether there is a link of that index. If Linux does not say, the answer is yes.
    pub fn exists(&mut self, ifindex: u32) -> bool {
        !matches!(self.counters(ifindex), Ok(None))
    }

    /// The MTU that a link has now, in bytes; `None` when there is no such link.
    pub fn mtu(&mut self, ifindex: u32) -> io::Result<Option<u32>> {
        let mut request = LinkMessage::default();
        request.header.index = ifindex;
        match self.0.ask(Message::GetLink(request)) {
            Ok(Some(Message::NewLink(link))) => Ok(Some(decode::link(&link).1.mtu)),
            Ok(_) => Ok(None),
            Err(e) if e.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sets the MTU, in bytes.
    pub fn set_mtu(&mut self, ifindex: u32, mtu: u32) -> io::Result<()> {
        self.change(ifindex, None, Some(mtu), false)
    }

    pub(super) fn add_address(&mut self, ifindex: u32, net: IpNet) -> io::Result<()> {
        let mut request = AddressMessage::default();
        request.header.index = ifindex;
        request.header.prefix_len = net.prefix_len();
        request.header.family = if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        request.header.scope = AddressScope::Universe;
        request.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
        self.0.change(Message::NewAddress(request), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds a route to the table main. Fails when there is a route to the same net with the same
    /// metric.
    pub(super) fn add_route(&mut self, ifindex: u32, route: &StaticRoute) -> io::Result<()> {
        let mut request = RouteMessage::default();
        let header = &mut request.header;
        header.address_family =
            if route.net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        header.destination_prefix_length = route.net.prefix_len();
        header.table = RouteHeader::RT_TABLE_MAIN;
        header.protocol = RouteProtocol::Static;
        header.scope = if route.via.is_none() && route.net.addr().is_ipv4() {
            RouteScope::Link
        } else {
            RouteScope::Universe
        };
        header.kind = RouteType::Unicast;
        if route.onlink {
            header.flags = RouteFlags::Onlink;
        }
        let attributes = &mut request.attributes;
        attributes.push(RouteAttribute::Oif(ifindex));
        if route.net.prefix_len() > 0 {
            attributes.push(RouteAttribute::Destination(route.net.addr().into()));
        }
        attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
        attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
        attributes.extend(route.metric.map(RouteAttribute::Priority));
        self.0.change(Message::NewRoute(request), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn addresses(&mut self, ifindex: u32) -> io::Result<Vec<IpNet>> {
        let mut found = Vec::new();
        self.0.dump(Message::GetAddress(AddressMessage::default()), |message| {
            if let Message::NewAddress(message) = message
                && let Some(address) = decode::address(&message)
                && address.ifindex == ifindex
                && !is_link_local(address.net)
            {
                found.push(address.net);
            }
        })?;
        Ok(found)
    }
}

fn is_link_local(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    }
}
