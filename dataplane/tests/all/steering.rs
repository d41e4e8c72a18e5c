//! The owner of a connection: all of its packets lead to one worker, whatever keys the ports hash
//! with.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::net::SocketAddrV4;

use dataplane::conn::entry::Direction;
use dataplane::conn::key::FlowKey;
use dataplane::snapshot::service::Selector;
use dataplane::steer::Entry;
use dataplane::steer::Groups;
use dataplane::steer::KeyPair;
use dataplane::steer::LocalPorts;
use dataplane::steer::Member;
use dataplane::steer::OwnerBy;
use dataplane::steer::RssKey;
use dataplane::steer::Rule;
use dataplane::steer::Runs;
use dataplane::steer::Steering;
use dataplane::steer::Table;
use proptest::prelude::*;

use crate::rig::TCP;

const ORDINARY: KeyPair = KeyPair { clients: RssKey::MICROSOFT, servers: RssKey::MICROSOFT };

fn keys() -> impl Strategy<Value = KeyPair> {
    let crafted = |seed: u64| {
        let mut numbers = seed..;
        let random = || numbers.next().map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 9).ok_or(());
        KeyPair::crafted(random).unwrap()
    };
    prop_oneof![Just(KeyPair::SYMMETRIC), Just(ORDINARY), (1..1_u64 << 40).prop_map(crafted)]
}

/// Keys, whether ports are hashed, and how many workers there are.
fn steering() -> impl Strategy<Value = (KeyPair, bool, Steering)> {
    (keys(), any::<bool>(), 1..=64_u16).prop_map(|(keys, hashes_ports, workers)| {
        (keys, hashes_ports, Steering::new(&keys, hashes_ports, Table::new(workers, 512)))
    })
}

fn end() -> impl Strategy<Value = SocketAddrV4> {
    (any::<u32>(), 1..=u16::MAX).prop_map(|(addr, port)| SocketAddrV4::new(Ipv4Addr::from_bits(addr), port))
}

fn netmask() -> impl Strategy<Value = Option<Ipv4Addr>> {
    prop_oneof![
        Just(None),
        Just(Some(Ipv4Addr::BROADCAST)),
        (0..=32_u32).prop_map(|len| Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - len).unwrap_or(0)))),
    ]
}

fn packet(from: SocketAddrV4, to: SocketAddrV4) -> FlowKey {
    FlowKey::new(TCP, *from.ip(), from.port(), *to.ip(), to.port())
}

fn service(vip: SocketAddrV4) -> Selector {
    Selector::Address { protocol: TCP, addr: *vip.ip(), port: vip.port() }
}

/// The rule of a service with one real server.
fn rule(steering: &Steering, vip: SocketAddrV4, persistence: Option<Ipv4Addr>, rs: SocketAddrV4) -> Rule {
    let member = Member { selector: service(vip), persistence, servers: &[rs] };
    let groups = Groups::unite(steering, &[member]);
    assert_eq!(groups.server(TCP, rs), groups.service(0));
    groups.service(0).unwrap()
}

/// The hash of a card with `key`, computed by the definition.
fn hash(key: &RssKey, hashes_ports: bool, packet: FlowKey) -> u32 {
    let input = [&packet.wire_addrs()[..], &packet.wire_ports()[..]].concat();
    key.hash(if hashes_ports { &input } else { &input[..8] })
}

proptest! {
    #[test]
    fn both_directions_have_one_owner_in_every_method(
        (_, _, steering) in steering(),
        client in end(), vip in end(), rs in end(), netmask in netmask(),
    ) {
        let rule = rule(&steering, vip, netmask, rs);
        let owner = steering.owner(packet(client, vip), Direction::Request, rule);
        // NAT, then direct routing and tunnelling through the director.
        for reply in [packet(rs, client), packet(vip, client)] {
            prop_assert_eq!(steering.owner(reply, Direction::Reply, rule), owner);
        }
    }

    #[test]
    fn the_choice_of_the_local_port_brings_fullnats_replies_to_the_owner(
        (keys, _, steering) in steering(),
        client in end(), vip in end(), rs in end(), lip in any::<u32>(), nth: u32, netmask in netmask(),
    ) {
        let Some(ports) = LocalPorts::new(&keys.servers) else { return Err(TestCaseError::fail("no ports")) };
        let (lip, rule) = (Ipv4Addr::from_bits(lip), rule(&steering, vip, netmask, rs));
        let entry = steering.entry(packet(client, vip), Direction::Request, rule);
        let owner = steering.table().worker(entry);
        let apart = steering.apart(rs, lip);
        let by_entry = ports.of_entry(Runs::ALL, entry, apart, nth).unwrap();
        let by_worker = ports.of_worker(Runs::ALL, steering.table(), owner, apart, nth).unwrap();
        for port in [by_entry, by_worker] {
            let reply = packet(rs, SocketAddrV4::new(lip, port));
            prop_assert_eq!(steering.owner_of_local(reply), owner);
            prop_assert_eq!(steering.owner_by_hash(hash(&keys.servers, true, reply), Entry::ZERO), owner);
        }
    }

    #[test]
    fn the_cards_hash_and_a_constant_give_the_owner(
        (keys, hashes_ports, steering) in steering(),
        clients in proptest::collection::vec(end(), 20),
        vip in end(), rs in end(), netmask in netmask(),
    ) {
        let rule = rule(&steering, vip, netmask, rs);
        let (there, back) = (steering.request_difference(vip, rule), steering.reply_difference(rs, rule));
        let finest = if hashes_ports { OwnerBy::Tuple } else { OwnerBy::CLIENT };
        prop_assert_eq!(there, (rule.by() == finest).then_some(Entry::ZERO));
        prop_assert_eq!(back.is_some(), there.is_some() && keys != ORDINARY);
        let direct = steering.reply_difference(vip, rule);
        for client in clients {
            let owner = steering.owner(packet(client, vip), Direction::Request, rule);
            for (key, packet, difference) in [
                (keys.clients, packet(client, vip), there),
                (keys.servers, packet(rs, client), back),
                (keys.servers, packet(vip, client), direct),
            ] {
                if let Some(difference) = difference {
                    let hash = hash(&key, hashes_ports, packet);
                    prop_assert_eq!(steering.owner_by_hash(hash, difference), owner);
                }
            }
        }
    }

    #[test]
    fn clients_that_may_share_a_template_share_an_owner(
        (_, _, steering) in steering(),
        client in end(), others: [(u32, u16); 20], vip in end(), rs in end(), len in 0..=32_u32,
    ) {
        let netmask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        let rule = rule(&steering, vip, Some(Ipv4Addr::from_bits(netmask)), rs);
        let owner = steering.owner(packet(client, vip), Direction::Request, rule);
        for (other, port) in others {
            let addr = client.ip().to_bits() & netmask | other & !netmask;
            let other = SocketAddrV4::new(Ipv4Addr::from_bits(addr), port);
            prop_assert_eq!(steering.owner(packet(other, vip), Direction::Request, rule), owner);
        }
    }

    #[test]
    fn replies_of_a_shared_real_server_lead_to_the_owner_whatever_the_service(
        (_, _, steering) in steering(),
        client in end(), vips in proptest::collection::vec((end(), netmask(), any::<bool>()), 1..8),
        shared in end(), other in end(),
    ) {
        let servers = [shared, other];
        let members: Vec<Member<'_>> = vips
            .iter()
            .map(|(vip, persistence, both)| {
                let servers = if *both { &servers[..] } else { &servers[..1] };
                Member { selector: service(*vip), persistence: *persistence, servers }
            })
            .collect();
        let groups = Groups::unite(&steering, &members);
        for (nth, member) in members.iter().enumerate() {
            let request = packet(client, vips[nth].0);
            let owner = steering.owner(request, Direction::Request, groups.service(nth).unwrap());
            for rs in member.servers {
                let rule = groups.server(TCP, *rs).unwrap();
                prop_assert_eq!(steering.owner(packet(*rs, client), Direction::Reply, rule), owner);
            }
        }
    }
}
