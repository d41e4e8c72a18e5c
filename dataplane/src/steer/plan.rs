//! What each port is told to do, from what its card can do.
//!
//! Keys are of the whole director: a reply on one port must lead to the owner that a request on
//! another port led to. So all ports are planned together, once, at the start.

use std::vec::Vec;

use crate::steer::ENTRIES;
use crate::steer::KeyPair;
use crate::steer::LocalPorts;
use crate::steer::Reason;
use crate::steer::RssKey;
use crate::steer::Spread;
use crate::steer::Steering;
use crate::steer::Table;

/// Whose key a card hashes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rss {
    /// It does not hash: all frames come to the first receive queue.
    #[default]
    None,
    /// Its own, which cannot be changed.
    Fixed(RssKey),
    /// Whatever key it is given.
    Settable,
}

/// Whose packets come to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Clients' and real servers': a director with one arm.
    Both,
    /// Clients' alone.
    Clients,
    /// Real servers' alone.
    Servers,
}

/// What the card of a port can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAbilities {
    /// Receive queues.
    pub queues: u16,
    /// Whose key it hashes by.
    pub rss: Rss,
    /// Whether it hashes ports of TCP and UDP, or addresses alone.
    pub hashes_ports: bool,
    /// Entries of its redirection table.
    pub table_len: u16,
    /// Whose packets come to it.
    pub side: Side,
}

/// What one port is told, and what `status` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// How its packets find their owners.
    pub spread: Spread,
    /// How many receive queues to set up. Queue n is worker n's.
    pub queues: u16,
    /// The key to set, if one can be set.
    pub key: Option<RssKey>,
    /// Why it does no better; `None` if nothing is better.
    pub why: Option<Reason>,
}

/// What all ports are told, and the owners that come of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// By port.
    pub ports: Vec<PortPlan>,
    /// The keys that owners follow.
    pub keys: KeyPair,
    /// Whether cards are to hash ports. If one cannot, none does, and each client has one worker.
    pub hashes_ports: bool,
    /// The owner of each entry; what to write into cards: [`Table::queues`].
    pub table: Table,
}

impl Plan {
    /// Plans `ports` for that many workers. `random` gives numbers that nobody can guess.
    pub fn new<E>(
        workers: u16,
        ports: &[PortAbilities],
        random: impl FnMut() -> Result<u64, E>,
    ) -> Result<Self, E> {
        let usable = |port: &&PortAbilities| refusal(workers, port).is_none();
        let hashes_ports = ports.iter().filter(usable).all(|port| port.hashes_ports);
        let lens = ports.iter().filter(usable).map(|port| port.table_len);
        let table = Table::new(workers, lens.min().unwrap_or(ENTRIES as u16));
        let (keys, crafted) = match followed(ports.iter().filter(usable)) {
            Some(keys) => (keys, false),
            None => (KeyPair::crafted(random)?, true),
        };
        let plan = |port| {
            let plan = planned(workers, port, keys, crafted);
            let coarse = plan.spread.is_by_card() && !hashes_ports;
            PortPlan { why: if coarse { Some(Reason::AddressesAlone) } else { plan.why }, ..plan }
        };
        Ok(Self { ports: ports.iter().map(plan).collect(), keys, hashes_ports, table })
    }

    /// The owners of this plan.
    pub fn steering(&self) -> Steering {
        Steering::new(&self.keys, self.hashes_ports, self.table.clone())
    }
}

/// Why a card's hash cannot be used at all.
fn refusal(workers: u16, port: &PortAbilities) -> Option<Reason> {
    match *port {
        PortAbilities { rss: Rss::None, .. } => Some(Reason::NoHash),
        PortAbilities { queues: 0 | 1, .. } => Some(Reason::OneQueue),
        PortAbilities { table_len, .. } if !table_len.is_power_of_two() || table_len < workers => {
            Some(Reason::TableLength(table_len))
        }
        _ => None,
    }
}

/// The keys that owners follow, unless a pair can be crafted: that needs a key of each port to be
/// settable, and no port with both sides. If no port hashes at all, the symmetric key is as good
/// as any, and needs no look at the direction.
fn followed<'a>(ports: impl Iterator<Item = &'a PortAbilities> + Clone) -> Option<KeyPair> {
    let own = |wanted: fn(Side) -> bool| {
        ports.clone().find_map(|port| match port.rss {
            Rss::Fixed(key) if wanted(port.side) => Some(key),
            _ => None,
        })
    };
    let one_arm = ports.clone().any(|port| port.side == Side::Both);
    let fixed = own(|_| true).is_some();
    if ports.clone().next().is_some() && !one_arm && !fixed {
        return None;
    }
    let clients = own(|side| side != Side::Servers).unwrap_or(RssKey::SYMMETRIC);
    let servers = own(|side| side == Side::Servers).filter(|_| !one_arm).unwrap_or(clients);
    // FULLNAT's local ports need a key under which they reach all entries.
    let servers = if LocalPorts::new(&servers).is_some() { servers } else { RssKey::SYMMETRIC };
    Some(KeyPair { clients, servers })
}

/// What a port is told under these keys.
fn planned(workers: u16, port: &PortAbilities, keys: KeyPair, crafted: bool) -> PortPlan {
    if workers <= 1 {
        return PortPlan { spread: Spread::Alone, queues: 1, key: None, why: None };
    }
    let wanted = if port.side == Side::Servers { keys.servers } else { keys.clients };
    let queues = port.queues.clamp(1, workers);
    let key = (port.rss == Rss::Settable).then_some(wanted);
    if let Some(reason) = refusal(workers, port) {
        return PortPlan { spread: Spread::Software, queues: 1, key: None, why: Some(reason) };
    }
    let (spread, why) = match port.rss {
        Rss::Fixed(own) if own != wanted => (Spread::Software, Some(Reason::OtherKey)),
        _ if crafted => (Spread::Pair, None),
        rss => {
            let spread = if keys == KeyPair::SYMMETRIC { Spread::Symmetric } else { Spread::Own };
            let why = match rss {
                Rss::Fixed(_) => Reason::FixedKey,
                _ if port.side == Side::Both => Reason::OneArm,
                _ => Reason::OtherPort,
            };
            (spread, Some(why))
        }
    };
    let why = if queues < workers { Some(Reason::FewQueues(queues)) } else { why };
    PortPlan { spread, queues, key, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: PortAbilities = PortAbilities {
        queues: 64,
        rss: Rss::Settable,
        hashes_ports: true,
        table_len: 512,
        side: Side::Clients,
    };
    const SERVERS: PortAbilities = PortAbilities { side: Side::Servers, ..ALL };
    const BOTH: PortAbilities = PortAbilities { side: Side::Both, ..ALL };
    const FIXED: Rss = Rss::Fixed(RssKey::MICROSOFT);
    const OTHER: RssKey = RssKey([0x33; 40]);

    fn plan(workers: u16, ports: &[PortAbilities]) -> Plan {
        let mut numbers = 1_u64..;
        Plan::new(workers, ports, || {
            numbers.next().map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 9).ok_or(())
        })
        .unwrap()
    }

    /// How the ports spread, and why they do no better.
    fn spreads(workers: u16, ports: &[PortAbilities]) -> Vec<(Spread, Option<Reason>)> {
        plan(workers, ports).ports.iter().map(|port| (port.spread, port.why)).collect()
    }

    #[test]
    fn two_arms_whose_keys_can_be_set_get_a_pair() {
        let plan = plan(8, &[ALL, SERVERS, SERVERS]);
        let best = |key| PortPlan { spread: Spread::Pair, queues: 8, key: Some(key), why: None };
        assert_eq!(plan.ports, [best(plan.keys.clients), best(plan.keys.servers), best(plan.keys.servers)]);
        assert_ne!(plan.keys.clients, plan.keys.servers);
        assert!(plan.keys.is_matched() && plan.hashes_ports);
    }

    #[test]
    fn one_arm_gets_the_symmetric_key() {
        let plan = plan(8, &[BOTH]);
        let key = Some(RssKey::SYMMETRIC);
        let why = Some(Reason::OneArm);
        assert_eq!(plan.ports, [PortPlan { spread: Spread::Symmetric, queues: 8, key, why }]);
        assert_eq!(plan.keys, KeyPair::SYMMETRIC);
        let symmetric = |why| (Spread::Symmetric, Some(why));
        assert_eq!(spreads(8, &[BOTH, SERVERS]), [symmetric(Reason::OneArm), symmetric(Reason::OtherPort)]);
        let fixed = Rss::Fixed(RssKey::SYMMETRIC);
        assert_eq!(spreads(8, &[PortAbilities { rss: fixed, ..BOTH }]), [symmetric(Reason::FixedKey)]);
    }

    #[test]
    fn owners_follow_a_key_that_cannot_be_set() {
        let clients = PortAbilities { rss: FIXED, ..ALL };
        let plan = plan(4, &[clients, SERVERS]);
        assert_eq!(plan.keys, KeyPair { clients: RssKey::MICROSOFT, servers: RssKey::MICROSOFT });
        let whys = plan.ports.iter().map(|port| (port.spread, port.key, port.why));
        let own = |key, why| (Spread::Own, key, Some(why));
        let told = [own(None, Reason::FixedKey), own(Some(RssKey::MICROSOFT), Reason::OtherPort)];
        assert_eq!(whys.collect::<Vec<_>>(), told);
        // A second client port with a third key: its owners are computed.
        let third = PortAbilities { rss: Rss::Fixed(OTHER), ..ALL };
        let software = (Spread::Software, Some(Reason::OtherKey));
        assert_eq!(spreads(4, &[clients, third])[1], software);
        // Each side may have its own, if FULLNAT's ports reach all entries under the servers' key.
        let servers = PortAbilities { rss: FIXED, ..SERVERS };
        let symmetric = PortAbilities { rss: Rss::Fixed(RssKey::SYMMETRIC), ..ALL };
        let own = (Spread::Own, Some(Reason::FixedKey));
        assert_eq!(spreads(4, &[symmetric, servers]), [own, own]);
        let bad = PortAbilities { rss: Rss::Fixed(OTHER), ..SERVERS };
        assert!(LocalPorts::new(&OTHER).is_none());
        assert_eq!(spreads(4, &[clients, bad]), [own, software]);
        // One arm has one key, whatever other ports have.
        assert_eq!(spreads(4, &[BOTH, servers])[1], software);
    }

    #[test]
    fn a_card_that_cannot_spread_says_why_and_does_not_hold_back_the_others() {
        let servers = PortAbilities { queues: 16, ..SERVERS };
        for (port, why) in [
            (PortAbilities { rss: Rss::None, ..ALL }, Reason::NoHash),
            (PortAbilities { queues: 1, ..ALL }, Reason::OneQueue),
            (PortAbilities { queues: 0, ..ALL }, Reason::OneQueue),
            (PortAbilities { table_len: 100, ..ALL }, Reason::TableLength(100)),
            (PortAbilities { table_len: 8, hashes_ports: false, ..ALL }, Reason::TableLength(8)),
        ] {
            let plan = plan(16, &[port, servers]);
            let software = PortPlan { spread: Spread::Software, queues: 1, key: None, why: Some(why) };
            assert_eq!((plan.ports[0], plan.ports[1].spread), (software, Spread::Pair));
            assert_eq!((plan.ports[1].why, plan.hashes_ports), (None, true));
        }
        assert_eq!(plan(16, &[PortAbilities { rss: Rss::None, ..BOTH }]).keys, KeyPair::SYMMETRIC);
    }

    #[test]
    fn fewer_queues_than_workers_are_used() {
        let plan = plan(8, &[PortAbilities { queues: 3, ..ALL }, SERVERS]);
        assert_eq!((plan.ports[0].spread, plan.ports[0].queues), (Spread::Pair, 3));
        assert_eq!(plan.ports[0].why, Some(Reason::FewQueues(3)));
    }

    #[test]
    fn the_weakest_card_decides_what_is_hashed_and_how_entries_repeat() {
        let weak = PortAbilities { hashes_ports: false, table_len: 64, ..SERVERS };
        let plan = plan(48, &[ALL, weak]);
        assert!(!plan.hashes_ports);
        assert!(plan.ports.iter().all(|port| port.why == Some(Reason::AddressesAlone)));
        let long: Vec<u16> = plan.table.queues(512, 48).collect();
        let short: Vec<u16> = plan.table.queues(64, 48).collect();
        assert!(long.chunks(64).all(|chunk| chunk == short));
    }

    #[test]
    fn one_worker_has_all_and_asks_for_nothing() {
        let alone = PortPlan { spread: Spread::Alone, queues: 1, key: None, why: None };
        for port in [ALL, BOTH, PortAbilities { rss: FIXED, ..ALL }, PortAbilities { queues: 1, ..ALL }] {
            assert_eq!(plan(1, &[port]).ports, [alone]);
        }
    }

    #[test]
    fn no_random_number_means_no_pair() {
        assert_eq!(Plan::new(4, &[ALL, SERVERS], || Err("no more")).err(), Some("no more"));
        assert!(Plan::new(4, &[BOTH], || Err("no more")).is_ok());
    }
}
