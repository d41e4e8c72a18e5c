//! Power of two choices by distribution: compares a million choices with the exact shares, which
//! are found by enumeration.
#![allow(clippy::unwrap_used, reason = "a test")]

use core::net::IpAddr;
use core::net::Ipv4Addr;

use sched::Ctx;
use sched::Dest;
use sched::DestId;
use sched::Flags;
use sched::Key;
use sched::Kind;
use sched::Loads;
use sched::Plan;
use sched::Stagger;
use sched::State;
use sched::Tuning;
use sched::XorShift;

const PICKS: u32 = 1_000_000;

/// Fixed numbers of active connections.
struct Fixed(Vec<u32>);

impl Loads for Fixed {
    fn active(&self, dest: DestId) -> u32 {
        self.0[dest.index()]
    }

    fn inactive(&self, _: DestId) -> u32 {
        0
    }

    fn overloaded(&self, _: DestId) -> bool {
        false
    }
}

/// The share of each destination. Both tickets run over 0..=T; the second destination drawn wins
/// only if `weight2 * overhead1 > weight1 * overhead2`.
fn shares(weights: &[u64], loads: &[u32]) -> Vec<f64> {
    let total: u64 = weights.iter().sum();
    let holder = |ticket: u64| {
        let mut sum = 0;
        weights
            .iter()
            .position(|weight| {
                sum += weight;
                sum >= ticket
            })
            .unwrap()
    };
    let mut counts = vec![0_u64; weights.len()];
    for one in 0..=total {
        for other in 0..=total {
            let (a, b) = (holder(one), holder(other));
            let second = weights[b] * u64::from(loads[a]) > weights[a] * u64::from(loads[b]);
            counts[if second { b } else { a }] += 1;
        }
    }
    let all = ((total + 1) * (total + 1)) as f64;
    counts.into_iter().map(|count| count as f64 / all).collect()
}

#[test]
fn a_million_choices_fall_as_the_definition_says() {
    for (weights, loads) in [
        (vec![1, 1], vec![0, 0]),
        (vec![4, 3, 2], vec![0, 0, 0]),
        (vec![4, 3, 2], vec![8, 3, 1]),
        (vec![1, 1, 1, 1, 1, 1, 1, 1], vec![0, 1, 2, 3, 4, 5, 6, 7]),
    ] {
        let dest = |(n, weight): (usize, &u64)| Dest {
            id: DestId::new(n as u32),
            addr: IpAddr::V4(Ipv4Addr::new(10, 0, 1, n as u8)),
            port: 80,
            weight: *weight as i32,
            last_weight: *weight as i32,
        };
        let plan =
            Plan::build(Kind::Twos, Flags::NONE, weights.iter().enumerate().map(dest).collect()).unwrap();
        let mut state = State::new(&plan, Stagger::ALONE);
        let mut random = XorShift::new(7);
        let any = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let key = Key { client: any, client_port: 1, target: any, protocol: 6 };
        let fixed = Fixed(loads.clone());
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..PICKS {
            let mut ctx = Ctx { now: 0, random: &mut random, tuning: Tuning::default() };
            counts[state.pick(&plan, &fixed, &key, &mut ctx).unwrap().index()] += 1;
        }
        for ((count, wanted), n) in counts.iter().zip(shares(&weights, &loads)).zip(0..) {
            let got = f64::from(*count) / f64::from(PICKS);
            assert!(
                (got - wanted).abs() < 0.01,
                "weights {weights:?}, loads {loads:?}: {n} has {got}, not {wanted}"
            );
        }
    }
}
