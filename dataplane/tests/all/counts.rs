//! Counts of active and inactive connections in every TCP state, and the choices that schedulers by
//! load make from them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use dataplane::conn::tcp::TcpState;
use dataplane::snapshot::dest::Method;
use sched::Kind;
use sched::XorShift;

use crate::rig::*;

/// The cost of a destination with this many connections, as each scheduler defines it, before it is
/// divided by the weight.
fn cost(kind: Kind, active: u64, inactive: u64) -> u64 {
    match kind {
        Kind::Sed => active + 1,
        Kind::Nq if active == 0 => 0,
        Kind::Nq => active + 1,
        _ => 256 * active + inactive,
    }
}

/// Sends random packets in both directions for `many` real servers. After each packet the counters
/// must match the listing, and each new connection must go to the real server that the counters
/// give.
fn play(kind: Kind, method: Method, many: u8, seen: &mut BTreeSet<&'static str>) {
    let mut random = XorShift::new(12_345);
    let mut below = |n: u64| sched::Random::below_inclusive(&mut random, n - 1);
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, kind);
    let weight = |n: u8| if kind == Kind::Lc { 1 } else { 1 + u64::from((n - 11) % 3) };
    let dests: Vec<_> =
        (11..11 + many).map(|n| (n, rig.dest(service, n, 80, method, weight(n) as i32))).collect();
    let mut open: Vec<(u16, u8)> = Vec::new();
    let mut next = 1000;
    for _ in 0..600 {
        match below(10) {
            0..=3 => {
                // The newest destination is first in the list, and the first of equal ones is
                // taken.
                let mut best = (u64::MAX, 1, 0);
                for (n, dest) in dests.iter().rev() {
                    let (active, inactive, _) = rig.load(*dest);
                    let cost = cost(kind, active.into(), inactive.into());
                    if best.2 == 0 || best.0 * weight(*n) > cost * best.1 {
                        best = (cost, weight(*n), *n);
                    }
                }
                next += 1;
                assert_eq!(rig.syn_to(next, 80), best.2, "{kind:?} {method:?}");
                open.push((next, best.2));
            }
            4..=8 if !open.is_empty() => {
                let (cport, n) = open[below(open.len() as u64) as usize];
                let flags = [ACK, FIN | ACK, RST, SYN | ACK, 0][below(5) as usize];
                if below(2) == 0 {
                    rig.tcp(cport, 80, flags);
                } else if method.is_translated() {
                    rig.reply(n, 80, cport, flags);
                } else {
                    rig.put(LAN, &tcp(MACS[1], (VIP, 80), (CLIENT, cport), flags, b""));
                }
            }
            _ => rig.wait_ticks(below(1500) as u32),
        }
        let list = rig.list();
        for (n, dest) in &dests {
            let states: Vec<_> = list
                .iter()
                .filter(|view| view.dest.0 == rip(*n))
                .map(|view| TcpState::from_raw(view.state))
                .collect();
            let active = states.iter().filter(|state| state.is_active()).count();
            seen.extend(states.iter().map(|state| state.name()));
            assert_eq!(rig.load(*dest), (active as u32, (states.len() - active) as u32, 0));
        }
        open.retain(|(cport, _)| list.iter().any(|view| view.client.1 == *cport));
    }
}

#[test]
fn counts_match_the_table_and_choices_follow_them_in_every_state() {
    let mut seen = BTreeSet::new();
    for kind in [Kind::Sed, Kind::Nq, Kind::Wlc, Kind::Lc] {
        for method in [Method::Masquerade, Method::DirectRoute] {
            for many in [3, 40] {
                play(kind, method, many, &mut seen);
            }
        }
    }
    // All states that packets alone can lead to.
    let states = ["CLOSE", "CLOSE_WAIT", "ESTABLISHED", "FIN_WAIT", "SYN_RECV", "SYN_SENT", "TIME_WAIT"];
    assert_eq!(seen, BTreeSet::from(states));
}
