//! What it costs to find the mark of a packet, by the number of rules.
//!
//! `cargo run --release -p dataplane --example marks_cost`
//!
//! The rules are those of a director with many virtual addresses, each with a rule for its web
//! ports; packets go to addresses drawn evenly from those, and one in four to a port without a
//! rule. Beside it what trying the rules one by one would cost, and what compiling them takes.

#![allow(clippy::print_stdout, reason = "a program for developers")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use dataplane::conn::key::FlowKey;
use dataplane::io::PortId;
use dataplane::marks::Marks;
use dataplane::marks::rule::Action;
use dataplane::marks::rule::Net;
use dataplane::marks::rule::Ports;
use dataplane::marks::rule::Rule;
use dataplane::marks::rule::Side;
use dataplane::marks::rule::Term;

const PACKETS: usize = 1 << 16;
const ROUNDS: usize = 20;

fn main() {
    println!(
        "{:>6} {:>12} {:>12} {:>12} {:>10}",
        "rules", "compiled ns", "one by one", "compiling ms", "memory kB"
    );
    for count in [1, 10, 100, 1000, 4000] {
        let rules: Vec<_> = (0..count).map(rule).collect();
        let start = Instant::now();
        let Ok(marks) = Marks::compile(&rules) else { return };
        let compiling = start.elapsed().as_secs_f64() * 1e3;
        let packets: Vec<_> = (0..PACKETS as u32).map(|n| packet(n, count)).collect();
        let compiled = measure(&packets, ROUNDS, |key| marks.mark(key, PortId::new(0)));
        let rounds = (ROUNDS / count as usize).max(1);
        let one_by_one = measure(&packets, rounds, |key| naive(&rules, key));
        for key in &packets {
            assert_eq!(marks.mark(*key, PortId::new(0)), naive(&rules, *key));
        }
        let memory = marks.memory_bytes() / 1024;
        println!("{count:>6} {compiled:>12.1} {one_by_one:>12.1} {compiling:>12.2} {memory:>10}");
    }
}

/// The rule of virtual address `n`: TCP to its ports 80 and 443.
fn rule(n: u32) -> Rule {
    let net = Net { addr: address(n), mask: Ipv4Addr::BROADCAST };
    let ports = Ports { side: Side::Destination, ranges: vec![(80, 80), (443, 443)] };
    Rule {
        source: None,
        destination: Some(Term { value: net, negated: false }),
        ingress: None,
        protocol: Some(Term { value: 6, negated: false }),
        ports: vec![Term { value: ports, negated: false }],
        action: Action::Set { value: n + 1, mask: u32::MAX },
    }
}

fn address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a09_0000 + n * 3)
}

fn packet(n: u32, count: u32) -> FlowKey {
    // Scattered, so that neither caches nor branches are spared what real packets do to them.
    let scattered = n.wrapping_mul(0x9e37_79b1) >> 8;
    let port = [80, 443, 80, 8080][scattered as usize % 4];
    let client = Ipv4Addr::from_bits(0xc0a8_0000 + (scattered & 0xffff));
    FlowKey::new(6, client, 1024 + (scattered & 0x7fff) as u16, address((scattered >> 2) % count), port)
}

/// Nanoseconds a packet, the best of the rounds.
fn measure(packets: &[FlowKey], rounds: usize, mark: impl Fn(FlowKey) -> u32) -> f64 {
    let once = || {
        let start = Instant::now();
        let sum = packets.iter().fold(0_u32, |sum, key| sum.wrapping_add(mark(black_box(*key))));
        black_box(sum);
        start.elapsed().as_secs_f64() * 1e9 / packets.len() as f64
    };
    (0..rounds).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn naive(rules: &[Rule], key: FlowKey) -> u32 {
    let mut mark = 0;
    for rule in rules {
        let there = rule.destination.is_none_or(|term| term.value.contains(key.dst()) != term.negated)
            && rule.protocol.is_none_or(|term| (term.value == key.protocol()) != term.negated)
            && rule.ports.iter().all(|term| {
                term.value.ranges.iter().any(|(first, last)| (*first..=*last).contains(&key.dport()))
                    != term.negated
            });
        if let (true, Action::Set { value, mask }) = (there, rule.action) {
            mark = mark & !mask ^ value;
        }
    }
    mark
}
