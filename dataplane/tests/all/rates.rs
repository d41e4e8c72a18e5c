//! Schedulers that choose by measured values: response times, measured on the packets, and traffic,
//! measured by control's estimator.

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::time::Moment;
use sched::Kind;
use sched::Loads;

use crate::rig::*;

/// Puts a frame in `micros` microseconds after the rig's time. Until then the worker polls as it
/// does when it rests.
fn put_at(rig: &mut Rig, micros: u32, port: PortId, frame: &[u8]) -> Out {
    let begun = Moment::from(rig.now());
    for passed in (0..micros).step_by(800) {
        rig.worker().poll(Moment { micros: begun.micros + passed, ..begun });
    }
    put_late(rig, micros, port, frame)
}

/// Puts a frame in `micros` microseconds after the rig's time. No poll comes before.
fn put_late(rig: &mut Rig, micros: u32, port: PortId, frame: &[u8]) -> Out {
    let begun = Moment::from(rig.now());
    rig.inject(port, frame);
    rig.worker().poll(Moment { micros: begun.micros + micros, ..begun });
    rig.out()
}

/// Opens a connection. Its real server answers after `micros` microseconds, which depend on its
/// number. Returns the number.
fn open(rig: &mut Rig, cport: u16, micros: impl Fn(u8) -> u32) -> u8 {
    let out = put_at(rig, 0, WAN, &tcp(MACS[0], (CLIENT, cport), (VIP, 80), SYN, b""));
    let n = out.one().1[5];
    let answer = tcp(MACS[1], (rip(n), 80), (CLIENT, cport), SYN | ACK, b"");
    put_at(rig, micros(n), LAN, &answer).one();
    put_at(rig, micros(n) + 1, WAN, &tcp(MACS[0], (CLIENT, cport), (VIP, 80), ACK, b"")).one();
    n
}

#[test]
fn wrt_measures_from_syn_to_syn_ack_and_smooths_the_samples() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    assert_eq!(rig.stats.response_time(dest), None);
    open(&mut rig, 5000, |_| 800);
    assert_eq!(rig.stats.response_time(dest), Some(800), "the first sample is taken completely");
    open(&mut rig, 5001, |_| 1600);
    assert_eq!(rig.stats.response_time(dest), Some(900), "later ones count an eighth");
    // Only the first answer of a connection is measured.
    let later = tcp(MACS[1], (rip(11), 80), (CLIENT, 5001), ACK, b"data");
    put_at(&mut rig, 90_000, LAN, &later).one();
    assert_eq!(rig.stats.response_time(dest), Some(900));
    // A reset does not count as an answer.
    put_at(&mut rig, 0, WAN, &tcp(MACS[0], (CLIENT, 5002), (VIP, 80), SYN, b"")).one();
    put_at(&mut rig, 5, LAN, &tcp(MACS[1], (rip(11), 80), (CLIENT, 5002), RST | ACK, b"")).one();
    assert_eq!(rig.stats.response_time(dest), Some(900));
}

#[test]
fn wrt_measures_udp_and_fullnat_but_not_direct_routing() {
    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Wrt);
    let dest = rig.dest(service, 11, 53, Method::FullNat, 1);
    let out = put_at(&mut rig, 0, WAN, &udp(MACS[0], (CLIENT, 6000), (VIP, 53), b"query"));
    let local = read(out.one().1).src;
    put_at(&mut rig, 250, LAN, &udp(MACS[1], (rip(11), 53), local, b"answer")).one();
    assert_eq!(rig.stats.response_time(dest), Some(250));

    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::DirectRoute, 1);
    rig.tcp(5000, 80, SYN).one();
    rig.put(LAN, &tcp(MACS[1], (VIP, 80), (CLIENT, 5000), SYN | ACK, b""));
    assert_eq!(rig.stats.response_time(dest), None);
}

#[test]
fn wrt_shares_held_connections_by_response_time() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    for n in [11, 12, 13] {
        rig.dest(service, n, 80, Method::Masquerade, 1);
    }
    let micros = |n: u8| match n {
        11 => 1000,
        12 => 5000,
        _ => 20_000,
    };
    let mut shares = [0_u32; 3];
    for cport in 0..500 {
        shares[usize::from(open(&mut rig, 5000 + cport, micros) - 11)] += 1;
        if cport == 10 {
            // Once all are measured, control's next tick makes the scheduler compare them.
            rig.stats.tick_rates();
            rig.wait(1);
        }
    }
    // active + 1 in proportion to 1/S: 20 : 4 : 1.
    let wanted = [400, 80, 20];
    for (got, wanted) in shares.into_iter().zip(wanted) {
        assert!(got.abs_diff(wanted) <= wanted / 10 + 2, "{shares:?}");
    }
}

#[test]
fn lt_follows_the_estimator_and_counts_newer_connections() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Lt);
    let dests: Vec<_> = [11, 12, 13].map(|n| rig.dest(service, n, 80, Method::Masquerade, 1)).into();
    // The list order is 13, 12, 11. Three connections are made first, so that one counts for a
    // thousand bytes a second.
    let before: Vec<u8> = (0..3).map(|c| rig.syn_to(4000 + c, 80)).collect();
    assert_eq!(before.len(), 3);
    for (dest, traffic) in dests.iter().zip([2000, 0, 1000]) {
        rig.stats.set_traffic(*dest, traffic);
    }
    rig.stats.tick_rates();
    rig.wait(1);
    let picks: Vec<u8> = (0..6).map(|c| rig.syn_to(5000 + c, 80)).collect();
    // 12 has no traffic and is chosen until it has as much as 13, and so on.
    assert_eq!(picks[..2], [12, 13]);
    assert_eq!(picks.iter().filter(|n| **n == 12).count(), 3, "{picks:?}");
    assert_eq!(picks.iter().filter(|n| **n == 13).count(), 2, "{picks:?}");
}

#[test]
fn wrt_assumes_that_servers_without_an_answer_are_as_fast_as_the_fastest() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.dest(service, 12, 80, Method::Masquerade, 1);
    // 12 is first in the list and does not answer. 11 answers after a millisecond.
    assert_eq!(rig.syn_to(4000, 80), 12);
    assert_eq!(open(&mut rig, 4001, |_| 1000), 11);
    // Each has one active connection, and both count as equally fast. So they get connections in
    // turn, and not all go to the silent one.
    let picks: Vec<u8> = (0..6).map(|c| rig.syn_to(5000 + c, 80)).collect();
    assert_eq!(picks, [12, 11, 12, 11, 12, 11]);
}

/// Opens a connection as [`open`] does. The client closes it at once.
fn visit(rig: &mut Rig, cport: u16, micros: impl Fn(u8) -> u32) -> u8 {
    let n = open(rig, cport, &micros);
    put_at(rig, micros(n) + 2, WAN, &tcp(MACS[0], (CLIENT, cport), (VIP, 80), RST, b"")).one();
    n
}

#[test]
fn wrt_takes_no_sample_if_the_first_packet_was_repeated() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    open(&mut rig, 5000, |_| 800);
    // The first SYN is lost on its way to the server. An answer after the second SYN says nothing
    // about the server's response time.
    for at in [0, 1_000_000] {
        put_at(&mut rig, at, WAN, &tcp(MACS[0], (CLIENT, 5001), (VIP, 80), SYN, b"")).one();
    }
    put_at(&mut rig, 1_000_900, LAN, &tcp(MACS[1], (rip(11), 80), (CLIENT, 5001), SYN | ACK, b"")).one();
    assert_eq!(rig.stats.response_time(dest), Some(800));

    let mut rig = Rig::new();
    let service = rig.service(UDP, 53, Kind::Wrt);
    let dest = rig.dest(service, 11, 53, Method::Masquerade, 1);
    for (cport, again, answered, known) in [(6000, 100, 900, 900), (6001, 500_000, 500_900, 900)] {
        for at in [0, again] {
            put_at(&mut rig, at, WAN, &udp(MACS[0], (CLIENT, cport), (VIP, 53), b"query")).one();
        }
        put_at(&mut rig, answered, LAN, &udp(MACS[1], (rip(11), 53), (CLIENT, cport), b"answer")).one();
        assert_eq!(rig.stats.response_time(dest), Some(known), "two different datagrams, or a repeated one");
    }
}

#[test]
fn wrt_takes_no_sample_if_the_worker_was_late() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    open(&mut rig, 5000, |_| 800);
    put_at(&mut rig, 0, WAN, &tcp(MACS[0], (CLIENT, 5001), (VIP, 80), SYN, b"")).one();
    // The worker does not poll for 70 ms.
    put_late(&mut rig, 70_000, LAN, &tcp(MACS[1], (rip(11), 80), (CLIENT, 5001), SYN | ACK, b"")).one();
    assert_eq!(rig.stats.response_time(dest), Some(800));
}

#[test]
fn wrt_forgets_response_times_on_request() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    open(&mut rig, 5000, |_| 800);
    rig.stats.forget_response(dest);
    assert_eq!(rig.stats.response_time(dest), None);
    open(&mut rig, 5001, |_| 1600);
    assert_eq!(rig.stats.response_time(dest), Some(1600), "the first sample is taken completely again");
}

/// How many short connections each of three servers gets. One connection is made every 10 ms.
/// `micros` gets the number of the connection and that of the server.
fn shares(rig: &mut Rig, connections: std::ops::Range<u32>, micros: impl Fn(u32, u8) -> u32) -> [u32; 3] {
    let mut shares = [0; 3];
    for nth in connections {
        if nth % 200 == 0 {
            rig.stats.tick_rates();
        }
        let n = visit(rig, 5000 + nth as u16, |n| micros(nth, n));
        shares[usize::from(n - 11)] += 1;
        rig.wait_ticks(1);
    }
    shares
}

/// Between 900 and 1100 µs, in a way that favours no server.
fn about_a_millisecond(nth: u32, n: u8) -> u32 {
    900 + (nth.wrapping_mul(2_654_435_761) >> 7).wrapping_add(u32::from(n) * 7919) % 200
}

#[test]
fn a_server_that_stalled_once_gets_its_share_of_connections_again() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    for n in [11, 12, 13] {
        rig.dest(service, n, 80, Method::Masquerade, 1);
    }
    let before = shares(&mut rig, 0..3000, about_a_millisecond);
    assert!(before.iter().all(|share| *share > 300), "{before:?}");
    // The server that is asked next takes 70 ms once.
    let stalled = visit(&mut rig, 20_000, |_| 70_000);
    let after = shares(&mut rig, 3000..6000, about_a_millisecond);
    assert!(after[usize::from(stalled - 11)] > 300, "{stalled} stalled: {after:?}");
}

#[test]
fn a_slow_server_gets_only_a_probe_now_and_then() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let slow = [11, 12, 13].map(|n| rig.dest(service, n, 80, Method::Masquerade, 1))[2];
    let micros = |nth, n| if n == 13 { 50_000 } else { about_a_millisecond(nth, n) };
    let shares = shares(&mut rig, 0..6000, micros);
    // This lasts a minute, with at most one probe every five seconds.
    assert!((5..=13).contains(&shares[2]), "{shares:?}");
    assert_eq!(rig.stats.response_time(slow), Some(50_000));
    assert!(shares[..2].iter().all(|share| *share > 1000), "{shares:?}");
}
