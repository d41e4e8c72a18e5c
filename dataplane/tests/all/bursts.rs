//! Whole bursts against the same packets one by one. The packets that are sent and the counts must
//! be the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::DestId;
use sched::Kind;
use sched::Random;
use sched::XorShift;

use crate::rig::*;

fn syn(cport: u16, port: u16) -> Vec<u8> {
    tcp(MACS[0], (CLIENT, cport), (VIP, port), SYN, b"")
}

/// The TCP packets that a poll has sent, sorted, because the order between connections may differ.
/// ICMP errors are left out, because they have serial numbers.
fn tcp_out(rig: &mut Rig) -> Vec<Vec<u8>> {
    let Out { sent, host } = rig.out();
    let all = sent.into_iter().map(|(_, frame)| frame).chain(host.into_iter().map(|(_, _, frame)| frame));
    let mut all: Vec<_> = all.filter(|frame| frame[23] == 6).collect();
    all.sort();
    all
}

/// Does the same with two directors that have the same rules. The first gets whole bursts, the
/// second one frame in each poll.
fn both(rigs: &mut [Rig; 2], mut act: impl FnMut(&mut Rig)) {
    rigs.iter_mut().for_each(&mut act);
}

fn same_in_bursts(seed: u64, kind: Kind, method: Method, sticky: bool, dests: u8, upper: u32) {
    let mut rigs = [Rig::with_capacity(320), Rig::with_capacity(320)];
    both(&mut rigs, |rig| {
        for port in [80, 81] {
            let service = rig.service_with(TCP, port, kind, |spec| {
                spec.persistence = if sticky { persistence(5) } else { None };
            });
            for n in 1..=dests {
                let id = rig.dest(service, n, port, method, 1 + i32::from(n % 3));
                rig.change_dest(id, |info| info.upper = upper);
            }
        }
        rig.tune(|tunables| {
            tunables.expire_nodest_conn = seed.is_multiple_of(2);
            tunables.expire_quiescent_template = seed.is_multiple_of(3);
            tunables.sloppy_tcp = seed.is_multiple_of(5);
        });
    });
    let ids: Vec<DestId> = (0..2 * u32::from(dests)).map(DestId::new).collect();
    let services = [0, 1].map(dataplane::snapshot::service::ServiceId::new);
    let mut gone: Vec<DestId> = Vec::new();
    let mut random = XorShift::new(seed);
    let mut draw = |n: u64| random.below_inclusive(n - 1);
    for round in 0..300 {
        let ticks = draw(120) as u32;
        both(&mut rigs, |rig| rig.pass(ticks));
        if draw(8) == 0 {
            let id = ids[draw(ids.len() as u64) as usize];
            let service = services[id.index() / usize::from(dests)];
            let n = 1 + (id.index() % usize::from(dests)) as u8;
            let weight = draw(4) as i32;
            let back = gone.contains(&id);
            let delete = !back && draw(3) == 0;
            gone.retain(|other| *other != id);
            if delete {
                gone.push(id);
            }
            both(&mut rigs, |rig| {
                if back {
                    let port = 80 + (id.index() / usize::from(dests)) as u16;
                    rig.dest_as(id, service, n, port, method, weight);
                } else if delete {
                    rig.delete(service, id);
                } else {
                    rig.weight(service, id, weight);
                }
            });
        }
        both(&mut rigs, |rig| rig.settle());
        let port = if draw(3) == 0 && method == Method::Masquerade { LAN } else { WAN };
        let most = if round % 10 == 0 { 150 } else { 32 };
        let frames: Vec<Vec<u8>> = (0..1 + draw(most))
            .map(|_| {
                let client = (Ipv4Addr::new(192, 168, 7, draw(4) as u8), 5000 + draw(30) as u16);
                let vport = 80 + draw(2) as u16;
                let flags = [SYN, SYN, ACK, ACK, FIN | ACK, RST][draw(6) as usize];
                if port == WAN {
                    tcp(MACS[0], client, (VIP, vport), flags, b"")
                } else {
                    tcp(MACS[1], (rip(1 + draw(dests.into()) as u8), vport), client, flags | ACK, b"")
                }
            })
            .collect();
        // In the same poll, frames by the other port come after the first burst.
        let also: Vec<Vec<u8>> = (0..if port == WAN && frames.len() <= 32 { draw(32) } else { 0 })
            .map(|_| {
                let client = (Ipv4Addr::new(192, 168, 7, draw(4) as u8), 5000 + draw(30) as u16);
                let from = (rip(1 + draw(dests.into()) as u8), 80 + draw(2) as u16);
                let flags = [SYN | ACK, ACK, FIN | ACK, RST | ACK][draw(4) as usize];
                tcp(MACS[1], from, client, flags, b"")
            })
            .collect();
        let [whole, single] = &mut rigs;
        for frame in &also {
            whole.inject(LAN, frame);
        }
        for frame in &frames {
            whole.inject(port, frame);
        }
        whole.poll();
        let one = tcp_out(whole);
        let mut other = Vec::new();
        for frame in &frames {
            single.inject(port, frame);
            single.poll();
            other.extend(tcp_out(single));
        }
        for frame in &also {
            single.inject(LAN, frame);
            single.poll();
            other.extend(tcp_out(single));
        }
        other.sort();
        assert_eq!(one, other, "round {round}");
        let counts = |rig: &Rig| {
            let stats = &rig.stats;
            let each: Vec<_> = ids
                .iter()
                .map(|id| {
                    let d = stats.dest(*id).unwrap();
                    let now = (d.active.get(), d.inactive.get(), d.persistent.get(), d.overloaded.get());
                    (now, d.conns.get(), d.in_pkts.get(), d.out_pkts.get())
                })
                .collect();
            let full = rig.drops(DropReason::TableFull);
            (each, stats.connections.get(), stats.half_open.get(), stats.created.get(), stats.dropped(), full)
        };
        assert_eq!(counts(whole), counts(single), "round {round}");
        assert_eq!(rigs[0].drops(DropReason::TableFull), 0);
        if round % 10 == 0 {
            // One slot of the wheel later all expired connections have ended.
            both(&mut rigs, |rig| {
                let over = |rig: &mut Rig| -> Vec<_> {
                    let views = rig.list().into_iter().filter(|view| view.expires_in == 0);
                    views.map(|view| (view.client, view.virt, view.flags)).collect()
                };
                let before = over(rig);
                rig.pass(26);
                rig.settle();
                let after = over(rig);
                assert!(after.iter().all(|one| !before.contains(one)), "round {round}: {before:?} {after:?}");
                let views = rig.list();
                let half = views.iter().filter(|v| [2, 3, 10].contains(&v.state)).count();
                assert_eq!(half as u32, rig.stats.half_open.get());
                assert_eq!(views.len() as u32, rig.connections());
            });
        }
    }
    both(&mut rigs, |rig| {
        rig.wait(2000);
        assert_eq!((rig.connections(), rig.stats.half_open.get()), (0, 0));
        for id in &ids {
            assert_eq!(rig.load(*id), (0, 0, 0));
        }
        rig.assert_accounted();
    });
}

#[test]
fn bursts_and_single_packets_give_the_same_result() {
    let kinds = [
        Kind::Rr,
        Kind::Wrr,
        Kind::Lc,
        Kind::Wlc,
        Kind::Sed,
        Kind::Nq,
        Kind::Twos,
        Kind::Lblc,
        Kind::Lblcr,
        Kind::Sh,
        Kind::Ovf,
        Kind::Fo,
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        for (m, method) in [Method::Masquerade, Method::DirectRoute, Method::FullNat].into_iter().enumerate()
        {
            for (sticky, dests, upper) in [(false, 3, 0), (false, 20, 5), (true, 20, 0), (true, 20, 5)] {
                std::eprintln!("{kind:?} {method:?} {sticky} {dests} {upper}");
                same_in_bursts((n * 10 + m) as u64 + 1, kind, method, sticky, dests, upper);
            }
        }
    }
}

/// A guess is made in two steps, and a connection ends between them. This happens when one burst is
/// forwarded while the next one is looked up.
#[test]
fn a_guess_holds_when_a_connection_ends_meanwhile() {
    use dataplane::conn::entry::{Cold, Hot};
    use dataplane::conn::key::FlowKey;
    use dataplane::conn::table::FlowTable;
    let mut wrong = 0;
    for seed in 0..20_000 {
        let capacity = [9, 12, 15, 18][seed as usize % 4];
        let mut table = FlowTable::new(capacity, seed);
        let key = |n: u16| FlowKey::new(TCP, CLIENT, 5000 + n, VIP, 80);
        let reply = |n: u16| FlowKey::new(TCP, rip(11), 80, CLIENT, 5000 + n);
        let ids: Vec<_> = (0..capacity as u16)
            .filter_map(|n| {
                let hot = Hot { request: key(n), reply: reply(n), ..Hot::VACANT };
                Some((n, table.insert(hot, Cold::VACANT).ok()?))
            })
            .collect();
        let approaches: Vec<_> = ids.iter().map(|(n, _)| table.approach(key(*n))).collect();
        let guesses: Vec<_> = approaches.iter().map(|approach| table.guess(*approach)).collect();
        let ended = (seed / 4) as usize % ids.len();
        table.remove(ids[ended].1);
        for (nth, (((n, id), approach), (candidate, away))) in
            ids.iter().zip(approaches).zip(guesses).enumerate()
        {
            if nth == ended {
                continue;
            }
            let candidate = if away { table.guess_away(approach, candidate) } else { candidate };
            wrong += u32::from(table.confirm(key(*n), candidate).map(|(id, _)| id) != Some(*id));
        }
    }
    assert_eq!(wrong, 0, "connections in the table that were not found");
}

/// The table is full most of the time. Every count must match the listing, and in the end no
/// connection is left.
#[test]
fn counts_hold_in_a_full_table() {
    for seed in 0..60_u64 {
        let method = [Method::Masquerade, Method::DirectRoute, Method::FullNat][seed as usize % 3];
        let mut rig = Rig::with_capacity([1, 2, 3, 20, 60][seed as usize % 5]);
        let mut ids = Vec::new();
        for (port, sticky) in [(80, false), (81, seed % 2 == 0)] {
            let service = rig.service_with(TCP, port, Kind::Wlc, |spec| {
                spec.persistence = if sticky { persistence(5) } else { None };
            });
            for n in 1..=4 {
                // Both services have the same real-server ports, so reply keys collide.
                let id = rig.dest(service, n, 8000, method, 1);
                rig.change_dest(id, |info| info.upper = if seed % 4 == 0 { 6 } else { 0 });
                ids.push(id);
            }
        }
        rig.tune(|tunables| tunables.expire_nodest_conn = seed % 7 == 0);
        let mut random = XorShift::new(seed + 1);
        let mut draw = |n: u64| random.below_inclusive(n - 1);
        for round in 0..300 {
            rig.pass(draw(200) as u32);
            let lan = draw(3) == 0 && method == Method::Masquerade;
            let frames: Vec<Vec<u8>> = (0..1 + draw(100))
                .map(|_| {
                    let client = (Ipv4Addr::new(192, 168, 7, draw(4) as u8), 5000 + draw(30) as u16);
                    let flags = [SYN, SYN, SYN, ACK, FIN | ACK, RST][draw(6) as usize];
                    if lan {
                        tcp(MACS[1], (rip(1 + draw(4) as u8), 8000), client, flags | ACK, b"")
                    } else {
                        tcp(MACS[0], client, (VIP, 80 + draw(2) as u16), flags, b"")
                    }
                })
                .collect();
            rig.burst(if lan { LAN } else { WAN }, &frames);
            rig.settle();
            rig.out();
            let views = rig.list();
            let half = views.iter().filter(|v| [2, 3, 10].contains(&v.state)).count() as u32;
            assert_eq!(
                (views.len() as u32, half),
                (rig.connections(), rig.stats.half_open.get()),
                "{seed} {round}"
            );
            for id in &ids {
                let of = |wanted: bool, inactive: bool| {
                    let template = dataplane::conn::entry::Flags::TEMPLATE;
                    let idle = dataplane::conn::entry::Flags::INACTIVE;
                    let own =
                        views.iter().filter(|v| v.dest_id == id.as_u32() && v.flags.has(template) == wanted);
                    own.filter(|v| wanted || v.flags.has(idle) == inactive).count() as u32
                };
                assert_eq!(
                    rig.load(*id),
                    (of(false, false), of(false, true), of(true, false)),
                    "{seed} {round}"
                );
            }
        }
        rig.wait(2000);
        assert_eq!((rig.connections(), rig.stats.half_open.get()), (0, 0), "{seed}");
        rig.assert_accounted();
    }
}

/// With many destinations the scheduler keeps scores. They must give the same choice as a walk over
/// all destinations just before.
#[test]
fn kept_scores_give_the_same_choice_as_a_walk() {
    let kinds = [Kind::Lc, Kind::Wlc, Kind::Sed, Kind::Nq, Kind::Fo, Kind::Ovf];
    for (seed, kind) in (1..).zip(kinds.into_iter().cycle().take(48)) {
        let mut rig = Rig::with_capacity(4096);
        // The service begins with a scheduler that is not told about loads.
        let mut spec = None;
        let service = rig.service_with(TCP, 80, Kind::Rr, |s| spec = Some(s.clone()));
        let ids: Vec<_> =
            (1..=40).map(|n| rig.dest(service, n, 80, Method::Masquerade, 1 + i32::from(n % 4))).collect();
        for id in &ids {
            rig.change_dest(*id, |info| info.upper = 9 + id.as_u32() % 5);
        }
        for cport in 0..60 {
            rig.syn_to(1000 + cport, 80);
        }
        let dests = rig.snapshot().services.by_id(service).unwrap().plan.dests().to_vec();
        let mut spec = spec.unwrap();
        spec.kind = kind;
        rig.master().set_service(&spec, dests).unwrap();
        rig.publish();
        let mut random = XorShift::new(seed);
        let mut draw = |n: u64| random.below_inclusive(n - 1);
        let mut gone: Vec<DestId> = Vec::new();
        let mut next = 2000_u16;
        for step in 0..3000 {
            match draw(12) {
                0..6 => {
                    // The worker takes the newest rules, which may end an overload.
                    rig.settle();
                    let plan = rig.snapshot().services.by_id(service).unwrap().plan.clone();
                    let mut best: Option<(u128, u128, DestId)> = None;
                    for dest in plan.dests() {
                        let d = rig.stats.dest(dest.id).unwrap();
                        let (a, i, w) =
                            (u128::from(d.active.get()), u128::from(d.inactive.get()), dest.weight as u128);
                        if d.overloaded.get() != 0 || w == 0 {
                            continue;
                        }
                        let (cost, w) = match kind {
                            Kind::Lc => (256 * a + i, 1),
                            Kind::Wlc => (256 * a + i, w),
                            Kind::Sed => (a + 1, w),
                            Kind::Nq => (if a == 0 { 0 } else { a + 1 }, w),
                            Kind::Ovf if a > w => continue,
                            _ => (1, w),
                        };
                        if best.is_none_or(|(c, v, _)| cost * v < c * w) {
                            best = Some((cost, w, dest.id));
                        }
                    }
                    next += 1;
                    let wanted = best.map_or(0, |(_, _, id)| id.as_u32() as u8 + 1);
                    assert_eq!(rig.syn_to(next, 80), wanted, "{kind:?} {seed} {step}");
                }
                6 | 7 => {
                    let cport = next - draw(200) as u16;
                    rig.tcp(cport, 80, [ACK, RST, FIN | ACK][draw(3) as usize]);
                }
                8 => {
                    let cport = next - draw(200) as u16;
                    if let Some(view) = rig.conn(cport) {
                        rig.reply(
                            view.dest.0.octets()[3],
                            80,
                            cport,
                            [SYN | ACK, FIN | ACK, RST][draw(3) as usize],
                        );
                    }
                }
                9 => rig.wait_ticks(draw(800) as u32),
                10 => {
                    let id = ids[draw(40) as usize];
                    if gone.contains(&id) {
                        gone.retain(|other| *other != id);
                        rig.dest_as(
                            id,
                            service,
                            id.as_u32() as u8 + 1,
                            80,
                            Method::Masquerade,
                            draw(4) as i32,
                        );
                    } else if draw(3) == 0 {
                        gone.push(id);
                        rig.delete(service, id);
                    } else {
                        rig.weight(service, id, draw(4) as i32);
                    }
                }
                _ => drop(rig.burst(WAN, &(0..20).map(|n| syn(next - n, 80)).collect::<Vec<_>>())),
            }
        }
    }
}
