//! Several workers behind one card. Each has its own connections and gets the packets that the card
//! gives it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dataplane::mem::Abilities;
use dataplane::snapshot::dest::Method;
use dataplane::stats::WorkerStats;
use dataplane::steer::Rss;
use dataplane::steer::RssKey;
use dataplane::verdict::DropReason;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

const CLIENTS: u32 = 1000;

fn client(n: u32) -> (Ipv4Addr, u16) {
    let [.., high, low] = n.to_be_bytes();
    (Ipv4Addr::new(192, 168, high, low), 1024 + (n.wrapping_mul(40_503) % 60_000) as u16)
}

/// Opens a connection for each client: first the SYNs of all, then the answers from the VIP, then
/// the ACKs. With DR the director sees the answers, because it is the real server's gateway.
fn open_all(workers: u16, abilities: Abilities) -> (Rig, DestId) {
    let mut rig = Rig::with_workers(workers, CLIENTS, abilities);
    let service = rig.service(TCP, 80, Kind::Rr);
    let dest = rig.dest(service, 11, 80, Method::DirectRoute, 1);
    let each = |flags, answer| {
        let frame = move |n| match answer {
            true => (LAN, tcp(MACS[1], (VIP, 80), client(n), flags, b"")),
            false => (WAN, tcp(MACS[0], client(n), (VIP, 80), flags, b"")),
        };
        (0..CLIENTS).map(frame)
    };
    for (port, frame) in each(SYN, false).chain(each(SYN | ACK, true)).chain(each(ACK, false)) {
        rig.inject(port, &frame);
        rig.poll();
    }
    rig.assert_accounted();
    (rig, dest)
}

/// The value of `what` for each worker.
fn by_worker<T>(rig: &Rig, what: impl Fn(&WorkerStats) -> T) -> Vec<T> {
    rig.director.workers.iter().map(|worker| what(worker.stats())).collect()
}

fn answers(rig: &Rig, dest: DestId) -> u64 {
    by_worker(rig, |stats| stats.dest(dest).map_or(0, |dest| dest.out_pkts.get())).iter().sum()
}

#[test]
fn with_a_symmetric_key_each_worker_sees_both_directions_of_its_connections() {
    for workers in [2, 5] {
        let (mut rig, dest) = open_all(workers, Abilities::all(workers));
        let held = by_worker(&rig, |stats| stats.connections.get());
        let fair = CLIENTS / u32::from(workers);
        assert_eq!((held.len(), held.iter().sum::<u32>()), (workers.into(), CLIENTS));
        assert!(held.iter().all(|held| (fair / 2..=fair * 2).contains(held)), "{held:?}");
        assert_eq!(answers(&rig, dest), CLIENTS.into(), "each answer belonged to a connection");
        let requests = by_worker(&rig, |stats| stats.dest(dest).map_or(0, |dest| dest.in_pkts.get()));
        assert_eq!(requests.iter().sum::<u64>(), 2 * u64::from(CLIENTS));

        // All connections are listed, and all end.
        let listed: BTreeSet<_> = rig.list().into_iter().map(|view| view.client).collect();
        assert_eq!(listed, (0..CLIENTS).map(client).collect());
        rig.wait(1000);
        assert_eq!(by_worker(&rig, |stats| stats.connections.get()), vec![0; workers.into()]);
        rig.assert_accounted();
    }
}

#[test]
fn with_a_key_that_is_not_symmetric_answers_come_to_other_workers() {
    let fixed = Abilities { rss: Rss::Fixed(RssKey::MICROSOFT), ..Abilities::all(5) };
    let (rig, dest) = open_all(5, fixed);
    let made: u64 = by_worker(&rig, |stats| stats.created.get()).iter().sum();
    assert_eq!(made, CLIENTS.into(), "all packets of a client come to one worker");
    let owners = answers(&rig, dest);
    assert!((100..400).contains(&owners), "about one answer of five comes to its owner: {owners}");
}

#[test]
fn the_first_worker_gets_all_packets_if_the_card_does_not_spread_them() {
    for abilities in
        [Abilities { rss: Rss::None, ..Abilities::all(2) }, Abilities { more_queues: 0, ..Abilities::all(2) }]
    {
        let (rig, dest) = open_all(2, abilities);
        assert_eq!(by_worker(&rig, |stats| stats.connections.get()), [CLIENTS, 0]);
        assert_eq!(answers(&rig, dest), CLIENTS.into());
    }
}

#[test]
fn every_worker_follows_the_rules() {
    let (mut rig, dest) = open_all(2, Abilities::all(2));
    rig.change_dest(dest, |info| info.available = false);
    assert!(!rig.director.rules.settled());
    let now = rig.now();
    rig.director.workers[0].poll(now);
    assert_eq!(rig.director.rules.waits_for(), Some(1));
    rig.poll();
    assert!(rig.director.rules.settled());
    rig.director.rules.reclaim();
    assert_eq!(rig.director.rules.retired(), 0);
}

#[test]
fn the_cards_check_of_checksums_is_used() {
    for (checks_l3, dropped) in [(false, 0), (true, 1)] {
        let mut rig = Rig::with_workers(1, 64, Abilities { checks_l3, ..Abilities::default() });
        let ports = rig.snapshot().paths.ports.iter().map(|port| {
            let mut port = *port;
            port.verify_checksum = false;
            port
        });
        let ports: Vec<_> = ports.collect();
        rig.master().paths_mut().ports = ports.into();
        rig.publish();
        let mut syn = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"");
        rig.put(WAN, &syn).to_host();
        syn[24] ^= 1;
        assert_eq!(rig.put(WAN, &syn).host.len(), 1 - dropped, "{checks_l3}");
        assert_eq!(rig.drops(DropReason::BadChecksum), dropped as u64);
    }
}
