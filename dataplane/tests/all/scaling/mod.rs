//! Packets find the worker that owns their connection, whatever the cards can do: the simulation
//! behind `docs/scaling.md`.

mod model;
mod report;

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::steer::Rss;
use dataplane::steer::RssKey;
use dataplane::steer::Spread;

use model::Outcome;
use model::Scene;
use report::CARDS;
use report::scene;

const METHODS: [Method; 4] = [Method::Masquerade, Method::FullNat, Method::DirectRoute, Method::Tunnel];

/// Every scene with one queue, and with a queue for each worker.
fn every_scene() -> impl Iterator<Item = Scene> {
    (1..=64_u16).flat_map(|workers| {
        let queues = [1, workers].into_iter().take(if workers == 1 { 1 } else { 2 });
        queues.flat_map(move |queues| {
            CARDS.into_iter().flat_map(move |(_, rss)| {
                [true, false].into_iter().flat_map(move |one_arm| {
                    METHODS.into_iter().map(move |method| scene(workers, queues, rss, one_arm, method))
                })
            })
        })
    })
}

/// What each way of spreading promises of requests and replies: at most this share is handed on, on
/// average over services and real servers. All of these have a difference of their own between the
/// card's choice and the owner.
fn promised(scene: &Scene, spread: Spread) -> (f64, f64) {
    let others = f64::from(scene.workers - 1) / f64::from(scene.workers);
    match spread {
        Spread::Alone | Spread::Pair => (0.0, 0.0),
        Spread::Symmetric | Spread::Own if scene.method == Method::FullNat => (0.0, 0.0),
        Spread::Symmetric | Spread::Own => (0.0, others),
        Spread::Software => (others, others),
    }
}

/// Nothing is lost, and no more is handed on than promised: nothing at all, or what chance allows.
fn check(scene: &Scene, outcome: &Outcome) {
    assert_eq!(outcome.lost, 0, "{scene:?}");
    let (requests, replies) = promised(scene, outcome.ports[0].spread);
    for (handed, promised) in [(outcome.requests, requests), (outcome.replies, replies)] {
        // Four standard deviations of as many throws of a coin.
        let chance = (promised * (1.0 - promised) / f64::from(handed.packets.max(1))).sqrt();
        assert!(handed.share() <= promised + 4.0 * chance, "{scene:?}: {handed:?} of {promised}");
    }
}

#[test]
fn every_packet_finds_its_owner_and_no_more_are_handed_on_than_promised() {
    for scene in every_scene() {
        check(&scene, &scene.run(model::connections(60, 1)));
    }
}

#[test]
fn a_card_does_as_well_as_it_can() {
    for workers in [2, 3, 8, 33, 64] {
        let spread = |rss, one_arm| {
            let scene = scene(workers, workers, rss, one_arm, Method::Masquerade);
            let outcome = scene.run(model::connections(1500, 1));
            check(&scene, &outcome);
            let by_hash = outcome.by_hash == outcome.requests.packets + outcome.replies.packets;
            (outcome.ports[0].spread, by_hash, outcome.replies.handed > 0)
        };
        for one_arm in [true, false] {
            assert_eq!(spread(Rss::None, one_arm), (Spread::Software, false, true));
            assert_eq!(spread(Rss::Fixed(RssKey::MICROSOFT), one_arm), (Spread::Own, false, true));
            assert_eq!(spread(Rss::Fixed(RssKey::SYMMETRIC), one_arm), (Spread::Symmetric, true, true));
        }
        assert_eq!(spread(Rss::Settable, true), (Spread::Symmetric, true, true));
        assert_eq!(spread(Rss::Settable, false), (Spread::Pair, true, false));
    }
}

#[test]
fn persistence_and_shared_real_servers_cost_hand_offs_and_lose_nothing() {
    let masks = [None, Some(Ipv4Addr::BROADCAST), Some(Ipv4Addr::new(255, 255, 0, 0))];
    for (_, rss) in CARDS {
        for (persistence, shared) in masks.into_iter().flat_map(|mask| [(mask, false), (mask, true)]) {
            for (workers, one_arm) in [(2, true), (7, false), (64, true), (64, false)] {
                for method in METHODS {
                    let scene = scene(workers, workers, rss, one_arm, method);
                    let outcome = Scene { persistence, shared, ..scene }.run(model::connections(100, 2));
                    assert_eq!(outcome.lost, 0, "{scene:?} {persistence:?} {shared}");
                    let pair = outcome.ports[0].spread == Spread::Pair;
                    if pair && persistence.is_none() {
                        assert_eq!((outcome.requests.handed, outcome.replies.handed), (0, 0));
                    }
                }
            }
        }
    }
}

#[test]
fn fewer_queues_than_workers_hand_on_only_what_others_own() {
    for rss in [Rss::Settable, Rss::Fixed(RssKey::MICROSOFT)] {
        let outcome = scene(8, 4, rss, false, Method::FullNat).run(model::connections(4000, 1));
        assert_eq!(outcome.lost, 0);
        for handed in [outcome.requests, outcome.replies] {
            assert!((0.45..0.55).contains(&handed.share()), "half of the workers have no queue: {handed:?}");
        }
    }
}

#[test]
fn no_worker_has_much_more_than_the_mean() {
    let all: Vec<u16> = (1..=64).collect();
    for (name, scene) in report::keys() {
        // A card's own key is not of our choice.
        let most = if matches!(scene.rss, Rss::Fixed(_)) { 1.2 } else { 1.15 };
        for (workers, load) in (1..).zip(model::loads(scene, report::CLIENTS, report::EACH, &all)) {
            assert!(load <= most, "{name}: {load:.3} with {workers} workers");
        }
    }
}

/// `cargo run --release -p dataplane --example scaling` prints them.
#[test]
fn the_tables_of_the_document_are_those_of_the_simulation() {
    let document = include_str!("../../../../docs/scaling.md");
    for table in [report::handed(), report::special(), report::load()] {
        assert!(document.contains(&table), "docs/scaling.md does not have this table:\n{table}");
    }
}
