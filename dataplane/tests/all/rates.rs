//! Schedulers that choose by what was measured: response times from the packets themselves, traffic
//! from control's estimator.

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::time::Moment;
use sched::Kind;
use sched::Loads;

use crate::rig::*;

/// Puts a frame in `micros` after the rig's moment, up to which the worker polls as it does while
/// it rests.
fn put_at(rig: &mut Rig, micros: u32, port: PortId, frame: &[u8]) -> Out {
    let begun = Moment::from(rig.now());
    for passed in (0..micros).step_by(800) {
        rig.worker().poll(Moment { micros: begun.micros + passed, ..begun });
    }
    put_late(rig, micros, port, frame)
}

/// Puts a frame in `micros` after the rig's moment, without a poll before.
fn put_late(rig: &mut Rig, micros: u32, port: PortId, frame: &[u8]) -> Out {
    let begun = Moment::from(rig.now());
    rig.inject(port, frame);
    rig.worker().poll(Moment { micros: begun.micros + micros, ..begun });
    rig.out()
}

/// Opens a connection and has its real server answer after `micros`, by its number.
fn open(rig: &mut Rig, cport: u16, micros: impl Fn(u8) -> u32) -> u8 {
    let out = put_at(rig, 0, WAN, &tcp(MACS[0], (CLIENT, cport), (VIP, 80), SYN, b""));
    let n = out.one().1[5];
    let answer = tcp(MACS[1], (rip(n), 80), (CLIENT, cport), SYN | ACK, b"");
    put_at(rig, micros(n), LAN, &answer).one();
    put_at(rig, micros(n) + 1, WAN, &tcp(MACS[0], (CLIENT, cport), (VIP, 80), ACK, b"")).one();
    n
}

#[test]
fn wrt_measures_from_the_syn_to_the_syn_ack_and_smooths() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    assert_eq!(rig.stats.response_time(dest), None);
    open(&mut rig, 5000, |_| 800);
    assert_eq!(rig.stats.response_time(dest), Some(800), "the first sample stands for itself");
    open(&mut rig, 5001, |_| 1600);
    assert_eq!(rig.stats.response_time(dest), Some(900), "later ones count an eighth");
    // Only the first answer of a connection is one.
    let later = tcp(MACS[1], (rip(11), 80), (CLIENT, 5001), ACK, b"data");
    put_at(&mut rig, 90_000, LAN, &later).one();
    assert_eq!(rig.stats.response_time(dest), Some(900));
    // A reset is no answer.
    put_at(&mut rig, 0, WAN, &tcp(MACS[0], (CLIENT, 5002), (VIP, 80), SYN, b"")).one();
    put_at(&mut rig, 5, LAN, &tcp(MACS[1], (rip(11), 80), (CLIENT, 5002), RST | ACK, b"")).one();
    assert_eq!(rig.stats.response_time(dest), Some(900));
}

#[test]
fn wrt_measures_udp_and_fullnat_too_but_not_direct_routing() {
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
            // Once all have been measured, control's next tick has them compared by what was found.
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
fn lt_follows_the_estimator_and_counts_what_came_since() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Lt);
    let dests: Vec<_> = [11, 12, 13].map(|n| rig.dest(service, n, 80, Method::Masquerade, 1)).into();
    // List order is 13, 12, 11. Three connections before, so that one is worth a thousand bytes a
    // second.
    let before: Vec<u8> = (0..3).map(|c| rig.syn_to(4000 + c, 80)).collect();
    assert_eq!(before.len(), 3);
    for (dest, traffic) in dests.iter().zip([2000, 0, 1000]) {
        rig.stats.set_traffic(*dest, traffic);
    }
    rig.stats.tick_rates();
    rig.wait(1);
    let picks: Vec<u8> = (0..6).map(|c| rig.syn_to(5000 + c, 80)).collect();
    // 12 has nothing, then as much as 13, and so on up the stairs.
    assert_eq!(picks[..2], [12, 13]);
    assert_eq!(picks.iter().filter(|n| **n == 12).count(), 3, "{picks:?}");
    assert_eq!(picks.iter().filter(|n| **n == 13).count(), 2, "{picks:?}");
}

#[test]
fn wrt_takes_who_has_not_answered_for_the_fastest_as_soon_as_anybody_has() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    rig.dest(service, 11, 80, Method::Masquerade, 1);
    rig.dest(service, 12, 80, Method::Masquerade, 1);
    // 12 is the first in the list and silent; 11 answers after a millisecond.
    assert_eq!(rig.syn_to(4000, 80), 12);
    assert_eq!(open(&mut rig, 4001, |_| 1000), 11);
    // One active connection each, both taken for as fast: in turns, and not all to the silent one.
    let picks: Vec<u8> = (0..6).map(|c| rig.syn_to(5000 + c, 80)).collect();
    assert_eq!(picks, [12, 11, 12, 11, 12, 11]);
}

/// Opens a connection as [`open`] does; the client is done with it at once.
fn visit(rig: &mut Rig, cport: u16, micros: impl Fn(u8) -> u32) -> u8 {
    let n = open(rig, cport, &micros);
    put_at(rig, micros(n) + 2, WAN, &tcp(MACS[0], (CLIENT, cport), (VIP, 80), RST, b"")).one();
    n
}

#[test]
fn wrt_takes_no_sample_of_a_beginning_that_was_sent_again() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    open(&mut rig, 5000, |_| 800);
    // The first SYN is lost on its way to the server; what comes after the second says nothing of
    // the server.
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
        assert_eq!(rig.stats.response_time(dest), Some(known), "two in a row, or one sent again");
    }
}

#[test]
fn wrt_takes_no_sample_of_its_own_lateness() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    open(&mut rig, 5000, |_| 800);
    put_at(&mut rig, 0, WAN, &tcp(MACS[0], (CLIENT, 5001), (VIP, 80), SYN, b"")).one();
    // 70 ms without a poll.
    put_late(&mut rig, 70_000, LAN, &tcp(MACS[1], (rip(11), 80), (CLIENT, 5001), SYN | ACK, b"")).one();
    assert_eq!(rig.stats.response_time(dest), Some(800));
}

#[test]
fn wrt_forgets_when_it_is_told_to() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let dest = rig.dest(service, 11, 80, Method::Masquerade, 1);
    open(&mut rig, 5000, |_| 800);
    rig.stats.forget_response(dest);
    assert_eq!(rig.stats.response_time(dest), None);
    open(&mut rig, 5001, |_| 1600);
    assert_eq!(rig.stats.response_time(dest), Some(1600), "the first sample stands for itself again");
}

/// How many of so many short connections, one every 10 ms, each of three servers gets; `micros` is
/// told the number of the connection too.
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

/// Between 900 and 1100 µs, by no rule that favours a server.
fn about_a_millisecond(nth: u32, n: u8) -> u32 {
    900 + (nth.wrapping_mul(2_654_435_761) >> 7).wrapping_add(u32::from(n) * 7919) % 200
}

#[test]
fn wrt_gives_a_server_that_stalled_once_its_connections_back() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    for n in [11, 12, 13] {
        rig.dest(service, n, 80, Method::Masquerade, 1);
    }
    let before = shares(&mut rig, 0..3000, about_a_millisecond);
    assert!(before.iter().all(|share| *share > 300), "{before:?}");
    // Whoever is asked next takes 70 ms once.
    let stalled = visit(&mut rig, 20_000, |_| 70_000);
    let after = shares(&mut rig, 3000..6000, about_a_millisecond);
    assert!(after[usize::from(stalled - 11)] > 300, "{stalled} stalled: {after:?}");
}

#[test]
fn wrt_asks_a_server_that_is_really_slow_now_and_then_and_no_more() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Wrt);
    let slow = [11, 12, 13].map(|n| rig.dest(service, n, 80, Method::Masquerade, 1))[2];
    let micros = |nth, n| if n == 13 { 50_000 } else { about_a_millisecond(nth, n) };
    let shares = shares(&mut rig, 0..6000, micros);
    // A minute, and a probe every five seconds at most.
    assert!((5..=13).contains(&shares[2]), "{shares:?}");
    assert_eq!(rig.stats.response_time(slow), Some(50_000));
    assert!(shares[..2].iter().all(|share| *share > 1000), "{shares:?}");
}
