//! Workload "connections": whole TCP connections, from the SYN to the timeout.
//!
//! Connections go through their stages in groups: all SYNs of a group, then all SYN-ACKs, and so
//! on. So packets of all other connections lie between two packets of one connection. Meanwhile
//! director time passes evenly, [`GROUP_TIME`] a group. While one group is carried, all connections
//! of the [`HELD`] groups before it are still in the table, and those of older groups time out.

use dataplane::BURST;
use dataplane::conn::wheel::SLOT_TICKS;
use dataplane::mem;
use dataplane::time::Ticks;
use dataplane::wire::l4::flag;
use dataplane::worker::ROUNDS;
use dpdk::tsc;

use crate::bench::args::BenchArgs;
use crate::bench::error::BenchError;
use crate::bench::established::nothing_lost;
use crate::bench::frame::Template;
use crate::bench::io::LAN;
use crate::bench::io::WAN;
use crate::bench::meter::Samples;
use crate::bench::report::Measured;
use crate::bench::rules;
use crate::bench::rules::Director;
use crate::bench::rules::MACS;

/// Groups whose connections are in the table at the same time.
const HELD: u32 = 16;
/// Groups after which clients' ports are used again.
const GROUPS: u32 = 20;
/// Ticks that pass with each group: [`HELD`] groups take the 120 s of TIME_WAIT and the time of a
/// group.
const GROUP_TIME: u32 = 8 * Ticks::PER_SECOND;
/// Ticks within which every connection times out.
const DRAIN_TIME: u32 = 1000 * Ticks::PER_SECOND;
/// Packets that one poll takes from a port.
const POLL: u32 = (ROUNDS * BURST) as u32;
/// One group in this many is measured without the director.
const WITHOUT: u32 = 4;

/// Connections in a group.
fn group(flows: u32) -> u32 {
    (flows / HELD).next_multiple_of(32).max(32)
}

/// Slots that the table needs: for the held groups, the present group, and one group that is
/// ending.
pub(super) fn capacity(flows: u32) -> u32 {
    group(flows) * (HELD + 2)
}

/// The packets of one connection: the port each arrives at, and its TCP flags.
fn stages(translated: bool) -> Vec<(usize, u8)> {
    use flag::{ACK, FIN, SYN};
    let (client, server) = (WAN.index(), LAN.index());
    let all = [
        (client, SYN),
        (server, SYN | ACK),
        (client, ACK),
        (client, ACK), // request
        (server, ACK), // reply
        (client, FIN | ACK),
        (server, FIN | ACK),
        (client, ACK),
    ];
    all.into_iter().filter(|stage| translated || stage.0 == client).collect()
}

/// Director time, which advances a little with every poll.
struct Pace {
    /// In 2^-32 ticks.
    elapsed: u128,
    step: u128,
}

impl Pace {
    fn tick(&mut self) -> Ticks {
        self.elapsed += self.step;
        mem::START.plus((self.elapsed >> 32) as u32)
    }
}

struct Script {
    /// One template for each stage, with its port.
    templates: Vec<(usize, Template)>,
    size: usize,
    /// The distance from one flow to the next, in all stages but the first.
    stride: usize,
    translated: bool,
    pace: Pace,
}

/// Warms up, measures, lets all connections time out, and checks that no packet was lost.
pub(super) fn run(director: &mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Measured, BenchError> {
    let size = group(args.flows);
    let translated = args.method.method().is_translated();
    let templates: Vec<_> = stages(translated)
        .into_iter()
        .map(|(port, flags)| (port, Template::new(MACS[port], flags, args.frame)))
        .collect();
    let stages = templates.len();
    let polls = size.div_ceil(POLL) as u128 * stages as u128;
    let pace = Pace { elapsed: 0, step: (u128::from(GROUP_TIME) << 32) / polls };
    let stride = coprime(size as usize);
    let mut script = Script { templates, size: size as usize, stride, translated, pace };
    let clients = (0..size * GROUPS).map(|n| rules::client(n, args.services)).collect();
    director.io().sources[WAN.index()].set_records(clients);

    for nth in 0..GROUPS {
        script.carry(director, nth);
    }
    nothing_lost(director, "before measuring")?;
    let (mut with, mut without) = (Samples::default(), Samples::default());
    let end = tsc() + u64::from(args.seconds) * tsc_hz;
    let created = director.stats().created.get();
    let packets_in_group = u64::from(size) * stages as u64;
    let mut nth = 0;
    while tsc() < end || with.len() < 3 {
        let start = tsc();
        script.carry(director, nth);
        with.add(tsc() - start, packets_in_group);
        if nth % WITHOUT == 0 {
            let start = tsc();
            script.pass_through(director, nth);
            without.add(tsc() - start, packets_in_group);
        }
        nth += 1;
    }
    let connections = director.stats().created.get() - created;
    nothing_lost(director, "while measuring")?;
    if connections != u64::from(nth) * u64::from(size) {
        return Err(BenchError::Void(format!("{connections} connections came of {} SYNs", nth * size)));
    }
    script.drain(director)?;
    Ok(Measured {
        packets: u64::from(nth) * packets_in_group,
        connections,
        whole: with.median(),
        source_sink: without.median().0,
        packets_per_connection: Some(stages as f64),
        bytes_per_connection: rules::bytes_per_connection(director),
    })
}

impl Script {
    /// Takes group `nth` through all stages, with the director.
    fn carry(&mut self, director: &mut Director, nth: u32) {
        for stage in 0..self.templates.len() {
            let packets = self.set_scene(director, nth, stage);
            for _ in 0..packets.div_ceil(POLL as usize) {
                director.worker().poll(self.pace.tick());
            }
        }
    }

    /// The same packets without the director.
    fn pass_through(&self, director: &mut Director, nth: u32) {
        for stage in 0..self.templates.len() {
            let packets = self.set_scene(director, nth, stage);
            let io = director.io();
            for _ in 0..packets.div_ceil(BURST) {
                io.pass_through();
            }
        }
    }

    /// Lets the packets of one stage arrive. Returns how many there are.
    fn set_scene(&self, director: &mut Director, nth: u32, stage: usize) -> usize {
        let io = director.io();
        let Some((port, template)) = self.templates.get(stage) else { return 0 };
        if stage == 0 && self.translated {
            // The servers' packets of the last group have all been sent, so their memory is used
            // again.
            let mut answers = io.sources[LAN.index()].take_records();
            answers.clear();
            answers.reserve(self.size);
            io.answers = Some(answers);
        } else if let Some(answers) = io.answers.take() {
            io.sources[LAN.index()].set_records(answers);
        }
        let source = &mut io.sources[*port];
        let from = if *port == WAN.index() { (nth % GROUPS) as usize * self.size } else { 0 };
        // An answer is missing only if a packet was lost; `nothing_lost` finds that later.
        let count = self.size.min(source.len() - from);
        source.play(template, from, count, if stage == 0 { 1 } else { self.stride });
        count
    }

    /// Lets all remaining connections time out.
    fn drain(&mut self, director: &mut Director) -> Result<(), BenchError> {
        let now = self.pace.tick();
        for slot in 0..=DRAIN_TIME / SLOT_TICKS {
            if director.stats().connections.get() == 0 {
                break;
            }
            // A poll checks at least 32 timers, and at most a group's timers come due in one slot
            // of the wheel.
            for _ in 0..=self.size / 32 {
                director.worker().poll(now.plus(slot * SLOT_TICKS));
            }
        }
        let (created, expired) = (director.stats().created.get(), director.stats().expired.get());
        if created != expired {
            return Err(BenchError::Void(format!("{expired} of {created} connections timed out")));
        }
        Ok(())
    }
}

/// A number below `size`, not near 0 or `size`, that has no common divisor with it.
fn coprime(size: usize) -> usize {
    let common = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = size * 618 / 1000;
    (golden..size).find(|&n| common(n, size) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_visits_every_flow_once() {
        for flows in [1, 1000, 65_536, 1_000_000] {
            let size = group(flows) as usize;
            let (mut seen, mut at) = (vec![false; size], 0);
            for _ in 0..size {
                assert!(!core::mem::replace(&mut seen[at], true));
                at = (at + coprime(size)) % size;
            }
        }
    }

    #[test]
    fn one_direction_alone_has_five_packets() {
        assert_eq!((stages(true).len(), stages(false).len()), (8, 5));
    }
}
