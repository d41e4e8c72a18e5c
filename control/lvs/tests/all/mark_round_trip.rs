//! Turns mark rules into words and back: the printed rules are read as the same rules.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use lvs::ipvs::Numeric;
use lvs::mark::{load, text};
use model::{MarkRule, MarkTable, MarkTarget, Multiport, Net, Not, PortSide};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn not<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Not<T>> {
    (value, any::<bool>()).prop_map(|(value, negated)| Not { value, negated })
}

fn net() -> impl Strategy<Value = Option<Not<Net>>> {
    let prefix = (0u32..=32).prop_map(|len| u32::MAX.checked_shl(32 - len).unwrap_or(0));
    let mask = prop_oneof![3 => prefix, 1 => any::<u32>()];
    let net = (any::<u32>(), mask)
        .prop_map(|(addr, mask)| Net::new(Ipv4Addr::from_bits(addr), Ipv4Addr::from_bits(mask)));
    // A network of all addresses is no condition.
    option::of(not(net))
        .prop_map(|term| term.filter(|term| term.negated || !term.value.mask.is_unspecified()))
}

fn ports() -> impl Strategy<Value = (u16, u16)> {
    (any::<u16>(), any::<u16>()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn rule() -> impl Strategy<Value = MarkRule> {
    let side = prop_oneof![Just(PortSide::Source), Just(PortSide::Destination), Just(PortSide::Either)];
    let multiport = (side, vec(ports(), 1..=7)).prop_map(|(side, ports)| Multiport { side, ports });
    let mark = (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| MarkTarget::Mark { value, mask });
    let target = prop_oneof![4 => mark, 1 => Just(MarkTarget::Accept), 1 => Just(MarkTarget::Return)];
    let interface = prop_oneof![Just("wan0"), Just("wan+"), Just("l+")].prop_map(str::to_owned);
    let of_ports = (option::of(not(ports())), option::of(not(ports())), option::of(not(multiport)));
    (net(), net(), option::of(not(interface)), option::of(not(1u8..)), of_ports, target).prop_map(
        |(
            source,
            destination,
            in_interface,
            protocol,
            (source_port, destination_port, multiport),
            target,
        )| {
            let rule = MarkRule { source, destination, in_interface, protocol, ..MarkRule::new(target) };
            match source_port.is_some() || destination_port.is_some() || multiport.is_some() {
                // Only TCP, UDP and SCTP have ports.
                true => MarkRule {
                    protocol: Some(Not { value: [6, 17, 132][target_bits(target) % 3], negated: false }),
                    source_port,
                    destination_port,
                    multiport,
                    ..rule
                },
                false => rule,
            }
        },
    )
}

fn target_bits(target: MarkTarget) -> usize {
    match target {
        MarkTarget::Mark { value, .. } => value as usize,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn saved_rules_are_restored(rules in vec(rule(), 0..8)) {
        for words in [text::save(&rules), text::print(&rules, None)] {
            let mut table = MarkTable::new(vec!["wan0".into(), "lan0".into()], 64);
            prop_assert_eq!(load(&words, &Numeric, &mut table), Ok(()), "{}", words);
            prop_assert_eq!(table.rules(), &rules[..]);
        }
    }
}
