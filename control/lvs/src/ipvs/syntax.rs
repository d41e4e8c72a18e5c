//! Collects the values of options in the given order. As in ipvsadm, the meaning of an option may
//! depend on the options before it.

use std::net::IpAddr;

use super::address::{Endpoint, endpoint, host};
use super::command::UsageError;
use super::names::Names;
use super::number::{leading_number, number};
use super::options::{Opt, Token, Verb};
use super::parse::ranged;
use model::{
    DestKey, DestSpec, Family, ForwardingMethod, PersistenceMask, Protocol, ServiceFlags, ServiceKey,
    ServiceSpec, Tunnel, TunnelChecksum, TunnelKind,
};

/// The options given so far.
pub(super) struct Values<'a> {
    verb: Verb,
    names: &'a dyn Names,
    given: u64,
    service: Option<ServiceKey>,
    scheduler: String,
    flags: ServiceFlags,
    sched_flags: String,
    timeout: u32,
    netmask: PersistenceMask,
    engine: Option<String>,
    server: Option<DestKey>,
    method: ForwardingMethod,
    weight: i32,
    upper: u32,
    lower: u32,
    tunnel: Tunnel,
    local_address: Option<IpAddr>,
}

impl<'a> Values<'a> {
    pub(super) fn new(verb: Verb, names: &'a dyn Names) -> Self {
        Self {
            verb,
            names,
            given: 0,
            service: None,
            scheduler: String::new(),
            flags: ServiceFlags::empty(),
            sched_flags: String::new(),
            timeout: 0,
            netmask: PersistenceMask::host(Family::V4),
            engine: None,
            server: None,
            method: ForwardingMethod::DirectRoute,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: Tunnel::default(),
            local_address: None,
        }
    }

    /// Takes one option. Returns `false` if the token is a second command.
    pub(super) fn take(&mut self, token: Token, value: &str, given: bool) -> Result<bool, UsageError> {
        match token {
            Token::Verb(_) | Token::Help | Token::Version => return Ok(false),
            Token::Sort => {}
            Token::Ipv6 => self.set_ipv6()?,
            Token::Tcp => self.set_service(Protocol::Tcp, value)?,
            Token::Udp => self.set_service(Protocol::Udp, value)?,
            Token::Sctp => self.set_service(Protocol::Sctp, value)?,
            Token::Mark => self.set_mark(value)?,
            Token::Gatewaying => self.set_method(ForwardingMethod::DirectRoute)?,
            Token::Ipip => self.set_method(ForwardingMethod::Tunnel)?,
            Token::Masquerading => self.set_method(ForwardingMethod::Masquerade)?,
            Token::FullNat => self.set_method(ForwardingMethod::FullNat)?,
            Token::B if !given => self.set_method(ForwardingMethod::FullNat)?,
            Token::B => {
                self.mark(Opt::SchedFlags)?;
                value.clone_into(&mut self.sched_flags);
            }
            Token::Opt(option) => {
                self.mark(option)?;
                self.set(option, value, given)?;
            }
        }
        Ok(true)
    }

    pub(super) fn has(&self, option: Opt) -> bool {
        self.given & 1 << option as u32 != 0
    }

    /// Reads the value of `-b`, now that the scheduler is known.
    pub(super) fn read_sched_flags(&mut self) -> Result<(), UsageError> {
        for name in self.sched_flags.split(',').filter(|name| !name.is_empty()) {
            let (flag, scheduler) = match name {
                "flag-1" => (ServiceFlags::SCHED_1, None),
                "flag-2" => (ServiceFlags::SCHED_2, None),
                "flag-3" => (ServiceFlags::SCHED_3, None),
                "sh-fallback" => (ServiceFlags::SCHED_1, Some("sh")),
                "sh-port" => (ServiceFlags::SCHED_2, Some("sh")),
                "mh-fallback" => (ServiceFlags::SCHED_1, Some("mh")),
                "mh-port" => (ServiceFlags::SCHED_2, Some("mh")),
                _ => return Err(UsageError::new(format!("invalid scheduler flag `{name}'"))),
            };
            if scheduler.is_some_and(|scheduler| scheduler != self.scheduler) {
                return Err(UsageError::new(format!("incompatible scheduler flag `{name}'")));
            }
            self.flags |= flag;
        }
        Ok(())
    }

    pub(super) fn service_if_given(&self) -> Option<ServiceKey> {
        self.service
    }

    pub(super) fn service(&self) -> Result<ServiceKey, UsageError> {
        self.service.ok_or_else(|| missing(Opt::Service, self.verb))
    }

    pub(super) fn server(&self) -> Result<DestKey, UsageError> {
        self.server.ok_or_else(|| missing(Opt::Server, self.verb))
    }

    pub(super) fn local_address(&self) -> Result<IpAddr, UsageError> {
        self.local_address.ok_or_else(|| missing(Opt::LocalAddress, self.verb))
    }

    /// The service as `-A` and `-E` send it. Missing options get their defaults.
    pub(super) fn service_spec(&mut self) -> Result<ServiceSpec, UsageError> {
        let key = self.service()?;
        let mark = matches!(key, ServiceKey::Mark { .. });
        if !mark && key.port() == 0 && !self.flags.contains(ServiceFlags::PERSISTENT) {
            return Err(UsageError::new("Zero port specified for non-persistent service"));
        }
        if self.flags.contains(ServiceFlags::ONE_PACKET) && !mark && key.protocol() != Protocol::Udp {
            return Err(UsageError::new("One-Packet Scheduling is only for UDP virtual services"));
        }
        if self.scheduler.is_empty() {
            "wlc".clone_into(&mut self.scheduler);
        }
        Ok(ServiceSpec {
            key,
            scheduler: std::mem::take(&mut self.scheduler),
            flags: self.flags,
            timeout: self.timeout,
            netmask: self.netmask,
            engine: self.engine.take(),
        })
    }

    /// The destination as `-a` and `-e` send it.
    pub(super) fn dest_spec(&mut self) -> Result<DestSpec, UsageError> {
        let service = self.service()?;
        let mut key = self.server()?;
        let fixed_port = matches!(self.method, ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel);
        if fixed_port && matches!(service, ServiceKey::Address { .. }) {
            key.port = service.port();
        }
        if Family::of(key.addr) != service.family() && self.method != ForwardingMethod::Tunnel {
            return Err(UsageError::new("Different address family is allowed only for tunneling servers"));
        }
        let tunnel = [Opt::TunType, Opt::TunPort, Opt::TunNoCsum, Opt::TunCsum, Opt::TunRemCsum];
        if self.method == ForwardingMethod::Tunnel {
            self.check_tunnel()?;
        } else if tunnel.into_iter().any(|option| self.has(option)) {
            return Err(UsageError::new("Tunnel options conflict with forward method"));
        }
        let Self { method, weight, upper, lower, tunnel, .. } = *self;
        Ok(DestSpec { key, method, weight, upper, lower, tunnel })
    }

    fn check_tunnel(&self) -> Result<(), UsageError> {
        let (kind, legal): (_, &[Opt]) = match self.tunnel.kind {
            TunnelKind::Ipip => ("ipip", &[]),
            TunnelKind::Gue => ("gue", &[Opt::TunPort, Opt::TunNoCsum, Opt::TunCsum, Opt::TunRemCsum]),
            TunnelKind::Gre => ("gre", &[Opt::TunNoCsum, Opt::TunCsum]),
        };
        let mut first: Option<Opt> = None;
        for option in [Opt::TunPort, Opt::TunNoCsum, Opt::TunCsum, Opt::TunRemCsum] {
            let name = option.name();
            if !self.has(option) {
                if option == Opt::TunPort && self.tunnel.kind == TunnelKind::Gue {
                    let text = format!("You need to supply the '{name}' option for the '{kind}' tunnel type");
                    return Err(UsageError::new(text));
                }
                continue;
            }
            if !legal.contains(&option) {
                return Err(UsageError::new(format!(
                    "Illegal '{name}' option with the '{kind}' tunnel type"
                )));
            }
            if let Some(first) = first.filter(|_| option != Opt::TunPort) {
                let first = first.name();
                let text = format!(
                    "The option '{name}' conflicts with the '{first}' option in the '{kind}' tunnel type"
                );
                return Err(UsageError::new(text));
            }
            if option != Opt::TunPort {
                first = Some(option);
            }
        }
        Ok(())
    }

    fn set(&mut self, option: Opt, value: &str, given: bool) -> Result<(), UsageError> {
        let threshold = 0..=i64::from(i32::MAX);
        match option {
            // The kernel's names have at most 15 characters.
            Opt::Scheduler => self.scheduler = value.chars().take(15).collect(),
            Opt::Persistent => {
                self.flags |= ServiceFlags::PERSISTENT;
                self.timeout = if given { timeout(value, 1)? } else { DEFAULT_TIMEOUT };
            }
            Opt::Netmask => self.netmask = self.read_netmask(value)?,
            Opt::OnePacket => self.flags |= ServiceFlags::ONE_PACKET,
            Opt::Engine => {
                self.engine = Some(value.chars().take(15).collect()).filter(|name: &String| !name.is_empty())
            }
            Opt::Server => self.server = Some(self.read_server(value)?),
            Opt::Weight => {
                let weight = number(value, threshold).and_then(|weight| i32::try_from(weight).ok());
                self.weight = weight.ok_or_else(|| UsageError::new("illegal weight specified"))?;
            }
            Opt::Upper => self.upper = ranged(value, threshold, "illegal u_threshold specified")?,
            Opt::Lower => self.lower = ranged(value, threshold, "illegal l_threshold specified")?,
            Opt::TunType => {
                self.tunnel.kind = match value {
                    "ipip" => TunnelKind::Ipip,
                    "gue" => TunnelKind::Gue,
                    "gre" => TunnelKind::Gre,
                    _ => return Err(UsageError::new("illegal tunnel type specified")),
                }
            }
            Opt::TunPort => {
                let port = ranged(value, 1..=65535, "illegal tunnel port specified")?;
                self.tunnel.port = u16::try_from(port).unwrap_or_default();
            }
            Opt::TunNoCsum => self.tunnel.checksum = TunnelChecksum::None,
            Opt::TunCsum => self.tunnel.checksum = TunnelChecksum::Outer,
            Opt::TunRemCsum => self.tunnel.checksum = TunnelChecksum::Remote,
            Opt::LocalAddress => {
                let found = self.endpoint(value).filter(|found| found.port.is_none());
                let found = found.ok_or_else(|| UsageError::new("illegal local address specified"))?;
                self.local_address = Some(found.addr);
            }
            Opt::SyncId => drop(ranged(value, 0..=255, "illegal syncid specified")?),
            Opt::McastPort => drop(ranged(value, 1..=65535, "illegal mcast-port specified")?),
            Opt::McastTtl => drop(ranged(value, 1..=255, "illegal mcast-ttl specified")?),
            Opt::SyncMaxlen => drop(ranged(value, 1..=65507, "illegal sync-maxlen specified")?),
            Opt::McastGroup => check_group(value)?,
            _ => {}
        }
        Ok(())
    }

    /// Notes that an option is given. It may be given only once.
    fn mark(&mut self, option: Opt) -> Result<(), UsageError> {
        if self.has(option) {
            return Err(UsageError::new(format!("multiple '{}' options specified", option.name())));
        }
        self.given |= 1 << option as u32;
        Ok(())
    }

    fn set_method(&mut self, method: ForwardingMethod) -> Result<(), UsageError> {
        self.mark(Opt::Forward)?;
        self.method = method;
        Ok(())
    }

    fn set_service(&mut self, protocol: Protocol, text: &str) -> Result<(), UsageError> {
        self.mark(Opt::Service)?;
        let illegal = || UsageError::new("illegal virtual server address[:port] specified");
        let found = endpoint(text, protocol, self.names).ok_or_else(illegal)?;
        self.service =
            Some(ServiceKey::Address { protocol, addr: found.addr, port: found.port.unwrap_or(0) });
        if found.addr.is_ipv6() {
            self.netmask = PersistenceMask::host(Family::V6);
        }
        Ok(())
    }

    fn set_mark(&mut self, text: &str) -> Result<(), UsageError> {
        self.mark(Opt::Service)?;
        let mark =
            ranged(text, 1..=i64::from(u32::MAX), &format!("invalid fwmark value `{text}' specified"))?;
        self.service = Some(ServiceKey::Mark { mark, family: Family::V4 });
        Ok(())
    }

    fn set_ipv6(&mut self) -> Result<(), UsageError> {
        let Some(ServiceKey::Mark { mark, .. }) = self.service else {
            return Err(UsageError::new("-6 used before -f\n"));
        };
        self.service = Some(ServiceKey::Mark { mark, family: Family::V6 });
        self.netmask = PersistenceMask::host(Family::V6);
        Ok(())
    }

    /// Reads a mask of the service's family, as far as it is known.
    fn read_netmask(&self, text: &str) -> Result<PersistenceMask, UsageError> {
        match self.service.map_or(Family::V4, |key| key.family()) {
            Family::V4 => host(text, self.names)
                .map(PersistenceMask::V4)
                .ok_or_else(|| UsageError::new("illegal virtual server persistent mask specified")),
            Family::V6 => u32::try_from(leading_number(text))
                .ok()
                .filter(|prefix| (1..=128).contains(prefix))
                .map(PersistenceMask::V6)
                .ok_or_else(|| UsageError::new("illegal ipv6 netmask specified")),
        }
    }

    /// Reads a server. Without a port, it gets the port of the service, if that is known.
    fn read_server(&self, text: &str) -> Result<DestKey, UsageError> {
        let illegal = || UsageError::new("illegal real server address[:port] specified");
        let found = self.endpoint(text).ok_or_else(illegal)?;
        let inherited = self.service.map_or(0, |key| key.port());
        Ok(DestKey::new(found.addr, found.port.unwrap_or(inherited)))
    }

    fn endpoint(&self, text: &str) -> Option<Endpoint> {
        endpoint(text, self.service.map_or(Protocol::Tcp, |key| key.protocol()), self.names)
    }
}

/// Reads seconds, at most 31 days.
pub(super) fn timeout(text: &str, least: i64) -> Result<u32, UsageError> {
    ranged(text, least..=MAX_TIMEOUT, &format!("invalid timeout value `{text}' specified"))
}

fn check_group(text: &str) -> Result<(), UsageError> {
    let multicast = text.parse::<IpAddr>().is_ok_and(|addr| addr.is_multicast());
    let family = if text.contains(':') { "IPv6" } else { "IPv4" };
    if multicast { Ok(()) } else { Err(UsageError::new(format!("invalid {family} mcast-group `{text}'"))) }
}

fn missing(option: Opt, verb: Verb) -> UsageError {
    let text = format!("You need to supply the '{}' option for the '{}' command", option.name(), verb.name());
    UsageError::new(text)
}

const DEFAULT_TIMEOUT: u32 = 360;
const MAX_TIMEOUT: i64 = 31 * 24 * 60 * 60;
