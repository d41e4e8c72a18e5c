//! Services that must agree on the owner of a client.
//!
//! A NAT reply names the real server and the client, but not the service. If a real server's port
//! belongs to several services, its replies lead to one owner, so the requests to all of these
//! services must lead to that owner as well. Such services are one group, with one [`Rule`].

use core::net::Ipv4Addr;
use core::net::SocketAddrV4;
use std::vec::Vec;

use hashbrown::HashMap;
use hashbrown::HashSet;

use crate::snapshot::service::Selector;
use crate::steer::Entry;
use crate::steer::OwnerBy;
use crate::steer::Rule;
use crate::steer::Steering;

/// The part of a service on which owners depend.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Which packets it serves.
    pub selector: Selector,
    /// Its persistence netmask, if it is persistent.
    pub persistence: Option<Ipv4Addr>,
    /// Address and port of its destinations by NAT; port 0 means that the port is not changed.
    /// Deleted destinations are included while they have connections.
    pub servers: &'a [SocketAddrV4],
}

/// The rules of all services and real servers.
#[derive(Clone, Debug)]
pub struct Groups {
    services: Vec<Rule>,
    servers: HashMap<Endpoint, Rule>,
}

/// A port of a real server. Protocol 0 stands for all protocols, port 0 for all ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    addr: Ipv4Addr,
    protocol: u8,
    port: u16,
}

impl Groups {
    /// Unites `services` that share a real server's port. The first service of a group needs no
    /// correction of the card's choice: control should keep their order.
    pub fn unite(steering: &Steering, services: &[Member<'_>]) -> Self {
        let mut sets = Sets((0..services.len()).collect());
        let whole = whole_addresses(services);
        let mut first: HashMap<Endpoint, usize> = HashMap::new();
        for (nth, service) in services.iter().enumerate() {
            for endpoint in endpoints(service, &whole) {
                sets.unite(nth, *first.entry(endpoint).or_insert(nth));
            }
        }
        // The smallest number of each set comes first and represents the set.
        let mut rules: Vec<Rule> = Vec::with_capacity(services.len());
        for (nth, service) in services.iter().enumerate() {
            let (rule, head) = (rule(steering, service), sets.head(nth));
            rules.push(rule);
            if head != nth {
                let by = rules[head].by.united(rule.by);
                // Without an anchor of its own, a member has packets whose VIP or port vary.
                let anchored = has_anchor(service.selector);
                let anchor = if anchored { rules[head].anchor } else { Entry::ZERO };
                rules[head] = Rule { by, anchor };
            }
        }
        for nth in 0..rules.len() {
            rules[nth] = rules[sets.head(nth)];
        }
        let servers = first.into_iter().map(|(endpoint, nth)| (endpoint, rules[nth])).collect();
        Self { services: rules, servers }
    }

    /// The rule of the `nth` of the united services.
    pub fn service(&self, nth: usize) -> Option<Rule> {
        self.services.get(nth).copied()
    }

    /// The rule of packets of `protocol` from `server`, if it is a real server by NAT.
    #[inline]
    pub fn server(&self, protocol: u8, server: SocketAddrV4) -> Option<Rule> {
        let (addr, port) = (*server.ip(), server.port());
        let exact = self.servers.get(&Endpoint { addr, protocol, port });
        exact.or_else(|| self.servers.get(&Endpoint { addr, protocol: 0, port: 0 })).copied()
    }
}

/// Disjoint sets of services; each points to a smaller member of its set, or to itself.
struct Sets(Vec<usize>);

impl Sets {
    /// The smallest member of the set of `nth`. Shortens the path for the next search.
    fn head(&mut self, mut nth: usize) -> usize {
        while self.0[nth] != nth {
            self.0[nth] = self.0[self.0[nth]];
            nth = self.0[nth];
        }
        nth
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.head(one), self.head(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// The rule of a service that shares no real server.
fn rule(steering: &Steering, service: &Member<'_>) -> Rule {
    let by = service.persistence.map_or(OwnerBy::Tuple, OwnerBy::Client).united(steering.finest());
    let anchor = match service.selector {
        Selector::Address { addr, port, .. } if port != 0 => steering.anchor(SocketAddrV4::new(addr, port)),
        _ => Entry::ZERO,
    };
    Rule { by, anchor }
}

/// Whether all packets of a service with this selector go to one address and port.
fn has_anchor(selector: Selector) -> bool {
    selector.port() != 0
}

/// Whether packets of a service with this selector may reach any port of a real server: those to a
/// service without a port or with a mark do, and the data connections of FTP.
fn reaches_any_port(selector: Selector) -> bool {
    matches!(selector.port(), 0 | FTP)
}

/// Addresses whose every port may be a real server's. Each is treated as one endpoint.
fn whole_addresses(services: &[Member<'_>]) -> HashSet<Ipv4Addr> {
    let any_port = services.iter().filter(|service| reaches_any_port(service.selector));
    any_port.flat_map(|service| service.servers).map(|server| *server.ip()).collect()
}

/// The endpoints of a service.
fn endpoints(service: &Member<'_>, whole: &HashSet<Ipv4Addr>) -> impl Iterator<Item = Endpoint> {
    let selector = service.selector;
    service.servers.iter().map(move |server| {
        let (addr, port) = (*server.ip(), server.port());
        match selector {
            Selector::Address { protocol, port: own, .. } if !whole.contains(&addr) => {
                Endpoint { addr, protocol, port: if port == 0 { own } else { port } }
            }
            _ => Endpoint { addr, protocol: 0, port: 0 },
        }
    })
}

const FTP: u16 = 21;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::KeyPair;
    use crate::steer::Table;

    const NET: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

    fn steering(hashes_ports: bool) -> Steering {
        Steering::new(&KeyPair::SYMMETRIC, hashes_ports, Table::new(4, 512))
    }

    fn tcp(vip: u8, port: u16) -> Selector {
        Selector::Address { protocol: 6, addr: Ipv4Addr::new(10, 0, 0, vip), port }
    }

    fn rs(n: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, n), port)
    }

    fn member(selector: Selector, servers: &[SocketAddrV4]) -> Member<'_> {
        Member { selector, persistence: None, servers }
    }

    fn rules(groups: &Groups, count: usize) -> Vec<Rule> {
        (0..count).map(|nth| groups.service(nth).unwrap()).collect()
    }

    #[test]
    fn services_that_share_a_real_servers_port_have_one_rule_the_coarsest() {
        let servers = [rs(1, 80), rs(2, 80), rs(2, 81)];
        let (one, both, two, apart) = (&servers[..1], &servers[..2], &servers[1..2], &servers[2..]);
        let mut services = [
            member(tcp(1, 80), one),
            member(tcp(2, 80), apart),
            member(tcp(3, 80), two),
            member(tcp(4, 80), both),
        ];
        services[2].persistence = Some(NET);
        services[3].persistence = Some(Ipv4Addr::BROADCAST);
        let steering = steering(true);
        let groups = Groups::unite(&steering, &services);
        let [a, b, c, d] = rules(&groups, 4)[..] else { unreachable!("four services") };
        assert_eq!((a, a, a.by()), (c, d, OwnerBy::Client(NET)));
        assert_eq!(
            (b.by(), b.anchor),
            (OwnerBy::Tuple, steering.anchor(SocketAddrV4::new([10, 0, 0, 2].into(), 80)))
        );
        assert_eq!(a.anchor, steering.anchor(SocketAddrV4::new([10, 0, 0, 1].into(), 80)));
        assert_eq!(
            [rs(1, 80), rs(2, 80), rs(2, 81)].map(|rs| groups.server(6, rs)),
            [Some(a), Some(a), Some(b)]
        );
        assert_eq!(
            (groups.server(17, rs(1, 80)), groups.server(6, rs(3, 80)), groups.service(4)),
            (None, None, None)
        );
    }

    #[test]
    fn a_service_without_a_port_is_united_with_all_at_the_address() {
        for selector in [tcp(9, 0), Selector::Mark(7), tcp(9, 21)] {
            let [a, b, c] = [[rs(1, 80)], [rs(1, 0)], [rs(2, 80)]];
            let services = [member(tcp(1, 80), &a), member(selector, &b), member(tcp(2, 80), &c)];
            let groups = Groups::unite(&steering(true), &services);
            let rules = rules(&groups, 3);
            assert_eq!(rules[0], rules[1], "{selector:?}");
            assert_ne!(rules[0], rules[2]);
            assert_eq!(rules[0].anchor == Entry::ZERO, selector.port() == 0, "{selector:?}");
            assert_eq!(groups.server(17, rs(1, 12_345)), Some(rules[0]));
            assert_eq!(groups.server(6, rs(2, 81)), None);
        }
    }

    #[test]
    fn a_destination_that_keeps_the_port_has_the_services() {
        let servers = [rs(1, 0)];
        let groups = Groups::unite(&steering(true), &[member(tcp(1, 8080), &servers)]);
        assert_eq!(groups.server(6, rs(1, 8080)), groups.service(0));
        assert_eq!(groups.server(6, rs(1, 80)), None);
    }

    #[test]
    fn no_rule_is_finer_than_the_hash_of_the_cards() {
        let servers = [rs(1, 80)];
        let groups =
            Groups::unite(&steering(false), &[member(tcp(1, 80), &servers), member(tcp(2, 80), &[])]);
        assert!(rules(&groups, 2).iter().all(|rule| rule.by() == OwnerBy::CLIENT));
    }

    #[test]
    fn a_long_chain_becomes_one_group() {
        let servers: Vec<[SocketAddrV4; 2]> = (0..2000_u16).map(|n| [rs(1, n + 1), rs(1, n + 2)]).collect();
        let order = (0..2000).map(|n| n * 7 % 2000);
        let services: Vec<Member<'_>> = order.map(|n| member(tcp(1, n as u16 + 1000), &servers[n])).collect();
        let groups = Groups::unite(&steering(true), &services);
        assert!(rules(&groups, 2000).iter().all(|rule| Some(*rule) == groups.service(0)));
    }
}
