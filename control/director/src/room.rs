//! What runs out: the connection table, and FULLNAT's local ports; and what an operator is told of
//! these.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use model::{ForwardingMethod, ServiceKey};

use crate::answer::connection_count;
use crate::compile::Director;
use crate::statistics::Collector;
use api::Observed;

/// From this share in use on, in percent, an operator is told.
const NEARLY: u64 = 90;
/// How long the log does not repeat the same shortage.
const SILENT: Duration = Duration::from_secs(60);

/// Something that is running out, or is less than it may seem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The connection table.
    Table {
        /// Connections and templates.
        used: u64,
        /// Slots.
        most: u64,
    },
    /// The local ports of a service's real server.
    Ports {
        /// The service.
        service: ServiceKey,
        /// The real server.
        server: (IpAddr, u16),
        /// Its connections.
        used: u64,
        /// Ports that the service's local addresses have for it.
        most: u64,
    },
    /// A local address that is Linux's too.
    Shared {
        /// The local address (LIP).
        addr: IpAddr,
        /// The first of the ports that are Linux's.
        first: u16,
        /// The last of them.
        last: u16,
        /// How many ports of the address are left.
        ports: u32,
    },
}

/// All shortages that there are now.
pub fn shortages(director: &Director, collector: &Collector, max_connections: u32) -> Vec<Shortage> {
    let most = u64::from(max_connections);
    let used = connection_count(collector);
    let table = is_nearly(used, most).then_some(Shortage::Table { used, most });
    let shared = director.locals().filter_map(|local| {
        let left = local.left_to_linux()?;
        let (addr, ports) = (IpAddr::V4(local.addr), local.ports());
        Some(Shortage::Shared { addr, first: *left.start(), last: *left.end(), ports })
    });
    table.into_iter().chain(ports(director, collector)).chain(shared).collect()
}

/// Compares, for each real server of each service, the ports of the service's local addresses with
/// the connections that the real server has. The result is exact unless another service uses the
/// same addresses for the same real server and port.
fn ports(director: &Director, collector: &Collector) -> Vec<Shortage> {
    let each: HashMap<_, _> =
        director.locals().map(|local| (IpAddr::V4(local.addr), local.ports())).collect();
    let model = director.model();
    let mut all = Vec::new();
    for (_, service) in model.services().filter(|(_, service)| !service.local_addresses.is_empty()) {
        let sum =
            |addrs: &[IpAddr]| addrs.iter().filter_map(|addr| each.get(addr)).map(|n| u64::from(*n)).sum();
        let most = sum(&service.local_addresses);
        for (id, dest) in
            model.destinations(service).filter(|(_, dest)| dest.spec.method == ForwardingMethod::FullNat)
        {
            let load = collector.load(id);
            let used = u64::from(load.active) + u64::from(load.inactive);
            if is_nearly(used, most) {
                let server = (dest.spec.key.addr, dest.spec.key.port);
                all.push(Shortage::Ports { service: service.spec.key, server, used, most });
            }
        }
    }
    all
}

const fn is_nearly(used: u64, most: u64) -> bool {
    used != 0 && used * 100 >= most * NEARLY
}

impl Shortage {
    /// Names what runs out, without numbers, so that the same shortage is recognised.
    fn subject(&self) -> String {
        match self {
            Self::Table { .. } => "table".to_owned(),
            Self::Ports { service, server, .. } => format!("{service} {server:?}"),
            // Told again when its numbers change.
            Self::Shared { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |used, most| if used >= most { "full" } else { "nearly full" };
        match self {
            Self::Table { used, most } => write!(
                f,
                "the connection table is {}: {used} of {most} connections; when it is full, connections that never \
                 led to anything make room first, then silent ones; set `max_connections` higher, unless this is a flood \
                 (see `displaced` and `half_open` in `vipline stats`)",
                how(used, most)
            ),
            Self::Ports { service, server: (addr, port), used, most } => write!(
                f,
                "{service}: {used} of the {most} local ports for the real server {} are taken; give the service \
                 another local address (`vipline ipvsadm -P`)",
                std::net::SocketAddr::new(*addr, *port)
            ),
            Self::Shared { addr, first, last, ports } => write!(
                f,
                "local address {addr} is Linux's too: ports {first} to {last} are left to Linux \
                 (`net.ipv4.ip_local_port_range`), so each port of a real server has {ports}; a narrower range leaves more"
            ),
        }
    }
}

/// Which shortages the log has been told of, and when.
#[derive(Debug, Default)]
pub struct Told(HashMap<String, Instant>);

impl Told {
    /// The shortages that the log is to be told of now: each at most once a minute, and a shared
    /// address only once.
    pub fn due(&mut self, shortages: Vec<Shortage>, now: Instant) -> Vec<Shortage> {
        let lasting: Vec<_> = shortages.iter().map(Shortage::subject).collect();
        // A shortage that ends and comes again within the minute is not told again.
        self.0.retain(|subject, at| lasting.contains(subject) || now.duration_since(*at) < SILENT);
        let mut due = Vec::new();
        for (shortage, subject) in shortages.into_iter().zip(lasting) {
            let told = self.0.get(&subject);
            let once = matches!(shortage, Shortage::Shared { .. });
            if told.is_none_or(|at| !once && now.duration_since(*at) >= SILENT) {
                self.0.insert(subject, now);
                due.push(shortage);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use dataplane::stats::WorkerStats;
    use linux::{Address, MirrorState};
    use lvs::ipvs;
    use model::ModelOptions;
    use sched::{DestId, MhSize};

    use super::*;

    const LIP: &str = "10.0.1.200";
    const RULES: &str = "-A -t 10.0.0.100:80 -s rr
-P -t 10.0.0.100:80 -z 10.0.1.200
-a -t 10.0.0.100:80 -r 10.0.1.11:8080 -b
-a -t 10.0.0.100:80 -r 10.0.1.12:8080 -m
";

    fn director() -> (Director, Collector, Arc<WorkerStats>) {
        let (mut director, _) = Director::new(ModelOptions::served(16, MhSize::default()), Vec::new(), 1);
        let rules = ipvs::rules(RULES, &ipvs::System::default()).unwrap_or_default();
        assert_eq!(rules.len(), 4);
        assert!(director.change(rules.into_iter().map(|rule| rule.change).collect()).is_ok());
        let stats = Arc::new(WorkerStats::new(16));
        (director, Collector::new(vec![Arc::clone(&stats)]), stats)
    }

    fn world(addr: &str) -> Arc<MirrorState> {
        let net: ipnet::IpNet = format!("{addr}/32").parse().unwrap_or_else(|_| unreachable!("{addr}"));
        let address = Address {
            ifindex: 1,
            net,
            subnet: net,
            scope: 0,
            secondary: false,
            deprecated: false,
            tentative: false,
        };
        Arc::new(MirrorState { addresses: vec![address].into(), ..MirrorState::default() })
    }

    #[test]
    fn a_table_that_fills_is_told_from_ninety_percent_on() {
        let (director, collector, stats) = director();
        for (connections, told) in [(899, false), (900, true), (1000, true)] {
            stats.connections.set(connections);
            let all = shortages(&director, &collector, 1000);
            let used = u64::from(connections);
            let expected = told.then_some(Shortage::Table { used, most: 1000 });
            assert_eq!(all, Vec::from_iter(expected));
        }
    }

    #[test]
    fn ports_that_linux_uses_are_left_to_it_where_it_has_the_address() {
        let (mut director, collector, stats) = director();
        director.leave_to_linux(32_768..=60_999);
        assert_eq!(shortages(&director, &collector, 1000), []);
        director.follow(world(LIP));
        let shared = |first, last, ports| {
            let addr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 200));
            Shortage::Shared { addr, first, last, ports }
        };
        assert_eq!(shortages(&director, &collector, 1000), [shared(32_768, 60_999, 36_280)]);
        // The range of ports is followed. Addresses that come and go are followed too, and so are
        // those that are added later.
        director.leave_to_linux(60_000..=60_999);
        assert_eq!(shortages(&director, &collector, 1000), [shared(60_000, 60_999, 63_512)]);
        let full: Vec<_> = (0..2).map(DestId::new).filter_map(|id| stats.dest(id)).collect();
        full.iter().for_each(|dest| dest.active.set(63_000));
        let all = shortages(&director, &collector, 1_000_000);
        let told: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(
            told[0].contains("63000 of the 63512 local ports for the real server 10.0.1.11:8080"),
            "{}",
            told[0]
        );
        director.follow(world("10.0.1.1"));
        full.iter().for_each(|dest| dest.active.set(0));
        assert_eq!(shortages(&director, &collector, 1000), []);
    }

    #[test]
    fn the_log_is_told_once_a_minute() {
        let (mut told, start) = (Told::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let table = |used| Shortage::Table { used, most: 10 };
        let addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let shared = |ports| Shortage::Shared { addr, first: 1, last: 2, ports };
        assert_eq!(told.due(vec![table(9), shared(5)], at(0)), [table(9), shared(5)]);
        assert_eq!(told.due(vec![table(10), shared(5)], at(59)), []);
        assert_eq!(told.due(vec![shared(5)], at(59)), []);
        assert_eq!(told.due(vec![table(10), shared(5)], at(60)), [table(10)]);
        assert_eq!(told.due(vec![table(10), shared(6)], at(61)), [shared(6)]);
        assert_eq!(told.due(vec![table(10), shared(6)], at(120)), [table(10)]);
    }
}
