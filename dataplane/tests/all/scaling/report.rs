//! The tables of `docs/scaling.md`.
#![allow(unreachable_pub, reason = "shared by a test and an example")]
#![allow(clippy::unwrap_used, reason = "a model fails by panicking")]

use std::fmt::Write;
use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::steer::Rss;
use dataplane::steer::RssKey;

use super::model;
use super::model::Handed;
use super::model::Scene;

const WORKERS: u16 = 8;
const CONNECTIONS: u32 = 4000;
pub const CLIENTS: u32 = 10_000;
pub const EACH: u32 = 16;
pub const LOADED: [u16; 7] = [2, 4, 8, 16, 32, 48, 64];

/// A card and what the table calls it.
pub const CARDS: [(&str, Rss); 4] = [
    ("no RSS", Rss::None),
    ("an ordinary key, fixed", Rss::Fixed(RssKey::MICROSOFT)),
    ("a symmetric key, fixed", Rss::Fixed(RssKey::SYMMETRIC)),
    ("a key that can be set", Rss::Settable),
];

pub fn scene(workers: u16, queues: u16, rss: Rss, one_arm: bool, method: Method) -> Scene {
    Scene { workers, queues, rss, one_arm, method, persistence: None, shared: false }
}

/// Packets handed on, by card, queues, arms and method.
pub fn handed() -> String {
    let mut out = String::from(
        "| card | queues | arms | `status` | NAT requests | NAT replies | FULLNAT requests | FULLNAT replies | DR, TUN requests |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, rss) in CARDS {
        for queues in [1, WORKERS] {
            if (rss == Rss::None) != (queues == 1) {
                continue;
            }
            for one_arm in [true, false] {
                let run = |method| {
                    scene(WORKERS, queues, rss, one_arm, method).run(model::connections(CONNECTIONS, 1))
                };
                let [nat, full, direct] = [Method::Masquerade, Method::FullNat, Method::DirectRoute].map(run);
                let arms = if one_arm { 1 } else { 2 };
                let shares = [nat.requests, nat.replies, full.requests, full.replies, direct.requests];
                let shares = shares.map(percent).join(" | ");
                writeln!(out, "| {name} | {queues} | {arms} | `{}` | {shares} |", nat.ports[0].spread)
                    .unwrap();
            }
        }
    }
    out
}

/// Packets handed on where more is asked of the services.
pub fn special() -> String {
    let mut out = String::from("| NAT services | key | requests | replies |\n|---|---|---|---|\n");
    let rows = [
        ("each with its own real servers", None, false),
        ("all with the same real servers", None, true),
        ("`-p`", Some(Ipv4Addr::BROADCAST), false),
        ("`-p -M 255.255.255.0`", Some(Ipv4Addr::new(255, 255, 255, 0)), false),
    ];
    for (name, persistence, shared) in rows {
        for one_arm in [true, false] {
            let plain = scene(WORKERS, WORKERS, Rss::Settable, one_arm, Method::Masquerade);
            let outcome = Scene { persistence, shared, ..plain }.run(model::connections(CONNECTIONS, 1));
            let [requests, replies] = [outcome.requests, outcome.replies].map(percent);
            writeln!(out, "| {name} | `{}` | {requests} | {replies} |", outcome.ports[0].spread).unwrap();
        }
    }
    out
}

/// The greatest load over the mean, by numbers of workers.
pub fn load() -> String {
    let mut out = String::from("| workers |");
    LOADED.iter().for_each(|workers| write!(out, " {workers} |").unwrap());
    out += "\n|---|---|---|---|---|---|---|---|\n";
    for (name, scene) in keys() {
        write!(out, "| {name} |").unwrap();
        for load in model::loads(scene, CLIENTS, EACH, &LOADED) {
            write!(out, " {load:.2} |").unwrap();
        }
        out += "\n";
    }
    out
}

/// Directors whose owners follow the three kinds of keys.
pub fn keys() -> [(&'static str, Scene); 3] {
    let of = |rss, one_arm| scene(2, 2, rss, one_arm, Method::Masquerade);
    [
        ("crafted pair", of(Rss::Settable, false)),
        ("symmetric key", of(Rss::Settable, true)),
        ("an ordinary key", of(Rss::Fixed(RssKey::MICROSOFT), false)),
    ]
}

fn percent(handed: Handed) -> String {
    match handed {
        Handed { handed: 0, .. } => String::from("0"),
        _ => format!("{:.0} %", 100.0 * handed.share()),
    }
}
