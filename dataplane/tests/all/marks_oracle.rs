//! Compiled mark rules against rules that are compared one after the other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use dataplane::conn::key::FlowKey;
use dataplane::io::PortId;
use dataplane::marks::MOST;
use dataplane::marks::Marks;
use dataplane::marks::rule::Action;
use dataplane::marks::rule::Net;
use dataplane::marks::rule::Ports;
use dataplane::marks::rule::Rule;
use dataplane::marks::rule::Side;
use dataplane::marks::rule::Term;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// The algorithm of iptables, slow and obvious.
fn oracle(rules: &[Rule], key: FlowKey, ingress: PortId) -> u32 {
    let mut mark = 0;
    for rule in rules.iter().filter(|rule| matches(rule, key, ingress)) {
        match rule.action {
            Action::Set { value, mask } => mark = (mark & !mask) ^ value,
            Action::End => break,
        }
    }
    mark
}

fn matches(rule: &Rule, key: FlowKey, ingress: PortId) -> bool {
    let within = |net: &Net, addr: Ipv4Addr| {
        net.addr.to_bits() & net.mask.to_bits() == addr.to_bits() & net.mask.to_bits()
    };
    let in_any =
        |ranges: &[(u16, u16)], port: u16| ranges.iter().any(|(first, last)| *first <= port && port <= *last);
    let port = |ports: &Ports| match ports.side {
        Side::Source => in_any(&ports.ranges, key.sport()),
        Side::Destination => in_any(&ports.ranges, key.dport()),
        Side::Either => in_any(&ports.ranges, key.sport()) || in_any(&ports.ranges, key.dport()),
    };
    rule.source.is_none_or(|term| within(&term.value, key.src()) != term.negated)
        && rule.destination.is_none_or(|term| within(&term.value, key.dst()) != term.negated)
        && rule.protocol.is_none_or(|term| (term.value == key.protocol()) != term.negated)
        && rule.ingress.as_ref().is_none_or(|term| term.value.contains(&ingress) != term.negated)
        && rule.ports.iter().all(|term| port(&term.value) != term.negated)
}

/// Few different values, so that packets often match rules. The smallest and the largest value are
/// among them.
fn addr() -> impl Strategy<Value = Ipv4Addr> {
    let near = (0u32..16).prop_map(|low| Ipv4Addr::from_bits(0x0a00_0000 + low));
    let edge = prop_oneof![Just(Ipv4Addr::UNSPECIFIED), Just(Ipv4Addr::BROADCAST)];
    prop_oneof![8 => near, 1 => edge, 1 => any::<u32>().prop_map(Ipv4Addr::from_bits)]
}

fn net() -> impl Strategy<Value = Net> {
    let prefix = (0u32..=32).prop_map(|len| u32::MAX.checked_shl(32 - len).unwrap_or(0));
    let low = (28u32..=32).prop_map(|len| u32::MAX.checked_shl(32 - len).unwrap_or(0));
    let odd = prop_oneof![Just(0xffff_fffd), Just(0x0000_0003), Just(0xff00_00ff), any::<u32>()];
    let mask = prop_oneof![4 => low, 2 => prefix, 1 => odd];
    (addr(), mask).prop_map(|(addr, mask)| Net { addr, mask: Ipv4Addr::from_bits(mask) })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 1u16..8, 1 => Just(0), 1 => Just(u16::MAX), 1 => any::<u16>()]
}

fn ports() -> impl Strategy<Value = Ports> {
    let side = prop_oneof![Just(Side::Source), Just(Side::Destination), Just(Side::Either)];
    let range = (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (side, vec(range, 0..4)).prop_map(|(side, ranges)| Ports { side, ranges })
}

fn term<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Term<T>> {
    (value, prop::bool::weighted(0.3)).prop_map(|(value, negated)| Term { value, negated })
}

fn rule() -> impl Strategy<Value = Rule> {
    let protocol = prop_oneof![Just(6u8), Just(17), Just(1)];
    let number = || prop_oneof![any::<u32>(), 0u32..4];
    let set = (number(), prop_oneof![Just(u32::MAX), number()]);
    let action =
        prop_oneof![6 => set.prop_map(|(value, mask)| Action::Set { value, mask }), 1 => Just(Action::End)];
    (
        option::of(term(net())),
        option::of(term(net())),
        option::weighted(0.3, term(vec((0u16..3).prop_map(PortId::new), 0..3))),
        option::of(term(protocol)),
        vec(term(ports()), 0..3),
        action,
    )
        .prop_map(|(source, destination, ingress, protocol, ports, action)| Rule {
            source,
            destination,
            ingress,
            protocol,
            ports,
            action,
        })
}

fn packet() -> impl Strategy<Value = (FlowKey, PortId)> {
    let protocol = prop_oneof![Just(6u8), Just(17)];
    (protocol, addr(), port(), addr(), port(), 0u16..3).prop_map(
        |(protocol, src, sport, dst, dport, ingress)| {
            (FlowKey::new(protocol, src, sport, dst, dport), PortId::new(ingress))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_few_rules(rules in vec(rule(), 0..12), packets in vec(packet(), 1..40)) {
        let marks = Marks::compile(&rules).unwrap();
        for (key, ingress) in packets {
            prop_assert_eq!(marks.mark(key, ingress), oracle(&rules, key, ingress), "{:?} {:?}", key, ingress);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn many_rules(rules in vec(rule(), 200..400), packets in vec(packet(), 1..40)) {
        let marks = Marks::compile(&rules).unwrap();
        for (key, ingress) in packets {
            prop_assert_eq!(marks.mark(key, ingress), oracle(&rules, key, ingress), "{:?} {:?}", key, ingress);
        }
    }
}

fn to(n: u32, value: u32) -> Rule {
    let net = Net { addr: Ipv4Addr::from_bits(0x0a09_0000 + n), mask: Ipv4Addr::BROADCAST };
    Rule {
        source: None,
        destination: Some(Term { value: net, negated: false }),
        ingress: None,
        protocol: None,
        ports: Vec::new(),
        action: Action::Set { value, mask: u32::MAX },
    }
}

#[test]
fn the_largest_number_of_boxes_compiles_and_one_more_does_not() {
    let mut rules: Vec<_> = (0..MOST as u32).map(|n| to(n, n + 1)).collect();
    let marks = Marks::compile(&rules).unwrap();
    for n in [0, 1, 63, 64, 4032, MOST as u32 - 1] {
        let key = FlowKey::new(6, Ipv4Addr::LOCALHOST, 1, Ipv4Addr::from_bits(0x0a09_0000 + n), 80);
        assert_eq!(marks.mark(key, PortId::new(0)), n + 1);
    }
    let other = FlowKey::new(6, Ipv4Addr::LOCALHOST, 1, Ipv4Addr::LOCALHOST, 80);
    assert_eq!(marks.mark(other, PortId::new(0)), 0);
    rules.push(to(1, 1));
    assert!(Marks::compile(&rules).is_err());
}

#[test]
fn rules_without_conditions_match_every_packet() {
    let all = |value, mask| Rule { destination: None, action: Action::Set { value, mask }, ..to(0, 0) };
    let rules: Vec<_> = (0..70).map(|n| all(1 << (n % 32), 0)).collect();
    let marks = Marks::compile(&rules).unwrap();
    let key = FlowKey::new(17, Ipv4Addr::LOCALHOST, 1, Ipv4Addr::LOCALHOST, 80);
    assert_eq!(marks.mark(key, PortId::new(5)), oracle(&rules, key, PortId::new(5)));
    assert_eq!(Marks::compile(&[]).unwrap().mark(key, PortId::new(0)), 0);
}

#[test]
fn a_rule_is_applied_once_even_if_both_ports_match() {
    let ports = Ports { side: Side::Either, ranges: vec![(1, 100)] };
    let rule = Rule {
        ports: vec![Term { value: ports, negated: false }],
        action: Action::Set { value: 5, mask: 0 },
        ..to(0, 0)
    };
    let key = FlowKey::new(6, Ipv4Addr::LOCALHOST, 50, Ipv4Addr::from_bits(0x0a09_0000), 60);
    assert_eq!(Marks::compile(&[rule]).unwrap().mark(key, PortId::new(0)), 5);
}
