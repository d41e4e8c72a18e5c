//! Workload "established": packets of standing connections, in random order.

use dataplane::BURST;
use dataplane::mem;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::wire::l4::flag;
use dpdk::tsc;
use sched::DestId;
use sched::Random;
use sched::XorShift;

use crate::bench::args::BenchArgs;
use crate::bench::error::BenchError;
use crate::bench::frame::Record;
use crate::bench::frame::Template;
use crate::bench::io::LAN;
use crate::bench::io::Source;
use crate::bench::io::WAN;
use crate::bench::meter::Clock;
use crate::bench::meter::Samples;
use crate::bench::report::Measured;
use crate::bench::rules;
use crate::bench::rules::Director;
use crate::bench::rules::MACS;

/// Director time over which the connections are set up, in ticks. It is the wheel's horizon, so
/// that later the timers come due evenly, like those of connections that came one by one.
pub(super) const SETUP: u32 = 64 * Ticks::PER_SECOND;
/// Polls in one measurement: about half a millisecond.
const BATCH: usize = 128;
/// Measurements in a row with and without the director. The first of each row is not counted.
const WITH: usize = 120;
const WITHOUT: usize = 40;

/// Sets up, measures, and checks that no packet was lost.
pub(super) fn run(director: &mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Measured, BenchError> {
    let mut clock = prepare(director, args, tsc_hz)?;
    measure(director, args.flows, &mut clock, u64::from(args.seconds) * tsc_hz)
}

/// Opens all connections and lets packets of all of them wait. Returns the director's clock.
pub(super) fn prepare(director: &mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Clock, BenchError> {
    let replies = set_up(director, args)?;
    aim(director, args, replies);
    Ok(Clock::new(mem::START.plus(SETUP), tsc(), tsc_hz))
}

/// Measures for `cycles`, and checks that no packet was lost.
pub(super) fn measure(
    director: &mut Director,
    flows: u32,
    clock: &mut Clock,
    cycles: u64,
) -> Result<Measured, BenchError> {
    let begin = tsc();
    let end = begin + cycles;
    let (mut with, mut without) = (Samples::default(), Samples::default());
    let mut packets = 0;
    let mut now = begin;
    while now < end {
        let before = director.io().received;
        for nth in 0..=WITH {
            let (start, received) = (tsc(), director.io().received);
            now = start;
            for _ in 0..BATCH {
                director.worker().poll(clock.at(now));
                now = tsc();
            }
            if nth != 0 {
                with.add(now - start, director.io().received - received);
            }
        }
        packets += director.io().received - before;
        let io = director.io();
        for nth in 0..=WITHOUT {
            let (start, received) = (tsc(), io.received);
            for _ in 0..BATCH {
                io.pass_through();
            }
            now = tsc();
            if nth != 0 {
                without.add(now - start, io.received - received);
            }
        }
    }
    nothing_lost(director, "while measuring")?;
    Ok(Measured {
        packets,
        connections: u64::from(flows),
        whole: with.median(),
        source_sink: without.median().0,
        packets_per_connection: None,
        bytes_per_connection: rules::bytes_per_connection(director),
    })
}

/// Opens all connections through the worker, a burst at a time. Returns the real servers' packets.
fn set_up(director: &mut Director, args: &BenchArgs) -> Result<Vec<Record>, BenchError> {
    let translated = args.method.method().is_translated();
    let to_director = |port: usize, flags| Template::new(MACS[port], flags, args.frame);
    let syn = to_director(0, flag::SYN);
    let syn_ack = to_director(1, flag::SYN | flag::ACK);
    let ack = to_director(0, flag::ACK);
    let mut replies = Vec::with_capacity(if translated { args.flows as usize } else { 0 });
    let clients = (0..args.flows).map(|n| rules::client(n, args.services)).collect();
    director.io().sources[WAN.index()].set_records(clients);
    for first in (0..args.flows as usize).step_by(BURST) {
        let count = BURST.min(args.flows as usize - first);
        let elapsed = u64::from(SETUP) * first as u64 / u64::from(args.flows);
        let now = mem::START.plus(elapsed as u32);
        let io = director.io();
        io.answers = translated.then(Vec::new);
        io.sources[WAN.index()].play(&syn, first, count, 1);
        director.worker().poll(now);
        let io = director.io();
        if let Some(answers) = io.answers.take() {
            replies.extend_from_slice(&answers);
            let answered = answers.len();
            io.sources[LAN.index()].set_records(answers);
            io.sources[LAN.index()].play(&syn_ack, 0, answered, 1);
            director.worker().poll(now);
        }
        director.io().sources[WAN.index()].play(&ack, first, count, 1);
        director.worker().poll(now);
    }
    nothing_lost(director, "while setting up")?;
    let open: u64 = (0..args.services * args.destinations).map(|n| active(director.stats(), n)).sum();
    if open != u64::from(args.flows) {
        return Err(BenchError::Void(format!("{open} of {} connections were established", args.flows)));
    }
    Ok(replies)
}

/// Points both sources at all flows, in random order.
fn aim(director: &mut Director, args: &BenchArgs, mut replies: Vec<Record>) {
    let io = director.io();
    let mut random = XorShift::new(0xca5e);
    let mut requests = io.sources[WAN.index()].take_records();
    shuffle(&mut requests, &mut random);
    shuffle(&mut replies, &mut random);
    let template = |port: usize| Template::new(MACS[port], flag::ACK, args.frame);
    io.sources = [Source::endless(template(0), requests), Source::endless(template(1), replies)];
}

fn shuffle(records: &mut [Record], random: &mut XorShift) {
    for last in (1..records.len()).rev() {
        records.swap(last, random.below_inclusive(last as u64) as usize);
    }
}

fn active(stats: &WorkerStats, dest: u32) -> u64 {
    stats.dest(DestId::new(dest)).map_or(0, |stats| u64::from(stats.active.get()))
}

/// Checks that every packet that the director received was sent.
pub(super) fn nothing_lost(director: &mut Director, when: &str) -> Result<(), BenchError> {
    let io = director.io();
    let (received, sent) = (io.received, io.sent);
    if received == sent {
        return Ok(());
    }
    Err(BenchError::dropped(when, received - sent, received, director.stats()))
}
