//! Workload "flood": what a flood of new connections leaves of established ones, and how soon it is
//! over. It is made of SYNs, of datagrams, or of pairs of SYN and ACK; "SYN" below stands for a
//! packet of any of these.
//!
//! 1. What established packets cost, and what a SYN from anywhere costs, with room in the table and
//!    with none.
//! 2. The flood: established connections at a moderate rate, some clients that mean it, and
//!    [`FLOOD`] times as many SYNs as the worker could go on making connections of, and ending them
//!    again, had it nothing else to do; or as many as asked for. All wait in receive queues of
//!    [`line::DEPTH`] packets. Nobody answers the flood. Its connections have timed out before, if
//!    it is one of SYNs; else the table is full of them already.
//! 3. The same without the SYNs, until nothing is lost and newcomers are let in. What takes longer
//!    than [`WATCHED`] is found out without packets of established connections, so that minutes
//!    pass in a moment.
//!
//! Making the packets is done by the worker's own core and counts as its work, before the flood as
//! in it.

mod accounts;
mod line;
pub(super) mod offer;
mod recovery;
pub(super) mod report;

use std::sync::Arc;

use dataplane::BURST;
use dataplane::mem;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::verdict::DropReason;
use dataplane::worker::ROUNDS;
use dpdk::tsc;

use crate::bench::args::BenchArgs;
use crate::bench::args::FloodKind;
use crate::bench::error::BenchError;
use crate::bench::established;
use crate::bench::io::LAN;
use crate::bench::io::WAN;
use crate::bench::meter::Samples;
use crate::bench::report::Measured;
use crate::bench::rules::Director;

use self::accounts::Accounts;
use self::accounts::What;
use self::line::Rates;
use self::offer::Offer;
use self::recovery::IN_A_ROW;
use self::recovery::Recovery;
use self::report::Fates;
use self::report::FloodReport;

/// SYNs offered, in terms of those that the worker can make connections of, and end again.
const FLOOD: f64 = 2.0;
/// Established packets offered, in terms of what the worker can carry.
const MODERATE: f64 = 0.2;
/// Clients that mean it, a second.
const NEWCOMERS: f64 = 1000.0;
/// How long after the flood packets come as they did before, in windows.
const WATCHED: u32 = 100;
/// Windows a second: the resolution of the time to recovery.
const WINDOWS: u64 = 100;
/// Longer than any timeout of a connection that was never established, in seconds.
const PATIENCE: u64 = 200;
/// Seconds of silence after which established connections are heard of once.
const HEARD: u64 = 5;
/// Polls in one sample of what a SYN costs, at most, samples of each kind, and the seconds after
/// which there are no more.
const BATCH: u32 = 64;
/// Connections that a poll may make, and samples that there should be before the table is full.
const POLL: u32 = (ROUNDS * BURST) as u32;
const LEAST_SAMPLES: u32 = 4;
const SAMPLES: usize = 500;
/// Polls under a flood that the director does not take for one yet, and seconds until it has
/// forgotten the last.
const SHORT: u32 = 6;
const FORGOTTEN: u64 = 12;
/// Of so many packets at least one makes a connection while there is room: of a pair, one does.
const LEAST_GROWTH: u64 = 3;
const SATURATED: u64 = 5;

/// Slots of the table: half of them for the flood.
pub(super) fn capacity(flows: u32) -> u32 {
    flows.saturating_mul(2)
}

struct Scene<'a> {
    director: &'a mut Director,
    stats: Arc<WorkerStats>,
    hz: u64,
    /// Packets that the director had been given before.
    received: u64,
    /// Established connections.
    flows: u32,
}

/// Measures, floods, and waits for the end of it.
pub(super) fn run(
    director: &mut Director,
    args: &BenchArgs,
    hz: u64,
) -> Result<(Measured, FloodReport), BenchError> {
    let measured = established::run(director, &BenchArgs { seconds: 1, ..args.clone() }, hz)?;
    let io = director.io();
    let records = (io.sources[WAN.index()].take_records(), io.sources[LAN.index()].take_records());
    let translated = !records.1.is_empty();
    // The established connections were measured for about a second.
    let start = mem::START.plus(established::SETUP + 10 * Ticks::PER_SECOND);
    io.flood = Some(Box::new(Offer::new(args, records, start, hz)));
    let stats = director.stats().clone();
    let received = stats.received.get();
    let mut scene = Scene { director, stats, hz, received, flows: args.flows };
    let standing = scene.stats.connections.get();
    let (with_room, when_full) = scene.saturate(args.flows);
    if with_room == 0.0 {
        let wanted = POLL * LEAST_SAMPLES;
        return Err(BenchError::Void(format!(
            "the table was full before a packet of the flood could be timed: expected --flows {wanted} or more"
        )));
    }
    // Half-open connections time out before those that stand do; others stay, and make room.
    let sustained = match args.flood_kind() {
        FloodKind::Syn => with_room + scene.let_time_out(standing)?,
        _ => scene.displace().unwrap_or(with_room),
    };

    let established = MODERATE / measured.whole.0;
    let syns = args.syn_rate.map_or(FLOOD / sustained, |rate| f64::from(rate) / hz as f64);
    let newcomers = NEWCOMERS / hz as f64;
    let rates = |syns: f64| {
        let requests = if translated { established / 2.0 } else { established };
        let wan = Rates::default().with(What::Request, requests).with(What::Newcomer, newcomers);
        let lan = Rates::default().with(What::Reply, established - requests);
        [wan.with(What::Syn, syns), if translated { lan } else { Rates::default() }]
    };
    let memory = (scene.memory_bytes(), resident_kb());
    let (before, drops, stolen) = (*scene.offer().accounts(), scene.drops(), scene.offer().stolen());
    scene.offer().set_rates(rates(syns));
    let filled = scene.run_for(u64::from(args.seconds) * hz);
    let during = scene.offer().accounts().since(&before);
    let drops = scene.drops().into_iter().zip(drops).map(|((word, now), (_, then))| (word, now - then));
    let drops = drops.filter(|(_, count)| *count != 0).collect();
    let connections = scene.stats.connections.get();
    let grown_kb = resident_kb() - memory.1;
    scene.offer().set_rates(rates(0.0));
    let (calm, admitted) = scene.recover();
    scene.check_accounts()?;

    let per_second = |cycles: f64| if cycles > 0.0 { hz as f64 / cycles } else { 0.0 };
    let report = FloodReport {
        kind: args.flood_kind(),
        capacity: scene.director.worker().flows().capacity(),
        established_rate: per_second(measured.whole.0).round(),
        syn_rate_with_room: per_second(with_room).round(),
        syn_rate_sustained: per_second(sustained).round(),
        syn_rate_when_full: when_full.map(|cycles| per_second(cycles).round()),
        offered_established: (established * hz as f64).round(),
        offered_syns: (syns * hz as f64).round(),
        requests: Fates::of(&during, What::Request),
        replies: Fates::of(&during, What::Reply),
        syns: Fates::of(&during, What::Syn),
        newcomers: Fates::of(&during, What::Newcomer),
        opened: during.sent[What::Ack],
        filled_seconds: filled.map(|cycles| cycles as f64 / hz as f64),
        drops,
        connections,
        memory_bytes_before: memory.0,
        memory_bytes_after: scene.memory_bytes(),
        resident_grown_kb: grown_kb,
        lossless_after_seconds: calm,
        admitting_after_seconds: admitted,
        stolen_seconds: (scene.offer().stolen() - stolen) as f64 / hz as f64,
    };
    Ok((measured, report))
}

impl Scene<'_> {
    /// The flood and nothing else, until the table has been full for a while: cycles that one takes
    /// with room in the table for `room` of them, and with none, if it came to that.
    fn saturate(&mut self, room: u32) -> (f64, Option<f64>) {
        let batch = (room / (POLL * LEAST_SAMPLES)).clamp(1, BATCH);
        self.offer().saturate(What::Syn);
        let (mut with_room, mut when_full) = (Samples::default(), Samples::default());
        let end = self.offer().now() + SATURATED * self.hz;
        while when_full.len() < SAMPLES && self.offer().now() < end {
            let (held, begun) = (self.stats.connections.get(), self.offer().now());
            let taken = self.offer().accounts().taken[What::Syn];
            for _ in 0..batch {
                self.poll();
            }
            let (cycles, syns) =
                (self.offer().now() - begun, self.offer().accounts().taken[What::Syn] - taken);
            // Full is what does not grow any more, wherever the director draws the line; and while
            // it holds SYNs back it does not make connections of all.
            let grown = u64::from(self.stats.connections.get().saturating_sub(held));
            if grown == 0 {
                when_full.add(cycles, syns);
            } else if grown >= syns / LEAST_GROWTH {
                with_room.add(cycles, syns);
            }
        }
        let filled = when_full.len() != 0;
        (with_room.median().0, filled.then(|| when_full.median().0))
    }

    /// The flood again, but never for so long that the director holds it back: cycles that a packet
    /// takes whose connection takes the place of another. `None` when most packets make none: with
    /// FULLNAT, when all local ports are taken, only so many a tick take the place of another.
    fn displace(&mut self) -> Option<f64> {
        self.pause(FORGOTTEN);
        let mut samples = Samples::default();
        for _ in 0..SAMPLES {
            self.offer().saturate(What::Syn);
            let (begun, taken) = (self.offer().now(), self.offer().accounts().taken[What::Syn]);
            let made = self.stats.created.get();
            for _ in 0..SHORT {
                self.poll();
            }
            let packets = self.offer().accounts().taken[What::Syn] - taken;
            if self.stats.created.get() - made >= packets / LEAST_GROWTH {
                samples.add(self.offer().now() - begun, packets);
            }
            self.pause(0);
        }
        (samples.len() != 0).then(|| samples.median().0)
    }

    /// Silence for so many seconds.
    fn pause(&mut self, seconds: u64) {
        self.offer().set_rates([Rates::default(); 2]);
        while self.poll() != 0 {}
        for second in 0..seconds {
            if second % HEARD == 0 {
                self.keep_alive();
            }
            let cycles = self.hz;
            self.offer().skip(cycles);
        }
    }

    /// A packet from the client of each established connection: what is silent for long gives up its
    /// place, or its local port, when somebody wants it.
    fn keep_alive(&mut self) {
        let heard = self.offer().accounts().taken[What::Request];
        self.offer().saturate(What::Request);
        while self.offer().accounts().taken[What::Request] - heard < u64::from(self.flows) {
            self.poll();
        }
        self.offer().set_rates([Rates::default(); 2]);
        while self.poll() != 0 {}
    }

    /// Silence until the established connections are alone again: cycles that the end of each of
    /// the others took.
    fn let_time_out(&mut self, flows: u32) -> Result<f64, BenchError> {
        self.offer().set_rates([Rates::default(); 2]);
        let mut ends = Samples::default();
        for second in 0..PATIENCE {
            if second % HEARD == 0 {
                self.keep_alive();
            }
            loop {
                let (begun, expired) = (tsc(), self.stats.expired.get());
                if self.poll() == 0 {
                    break;
                }
                let expired = self.stats.expired.get() - expired;
                if expired != 0 {
                    ends.add(tsc() - begun, expired);
                }
            }
            if self.stats.connections.get() <= flows {
                break;
            }
            let second = self.hz;
            self.offer().skip(second);
        }
        let left = self.stats.connections.get();
        if left == flows {
            return Ok(if ends.len() == 0 { 0.0 } else { ends.median().0 });
        }
        Err(BenchError::Void(format!(
            "{left} connections were left of {flows} after {PATIENCE} s of silence"
        )))
    }

    /// Lets packets come for so many cycles; after how many of them the table was full first.
    fn run_for(&mut self, cycles: u64) -> Option<u64> {
        let (begun, capacity) = (self.offer().now(), self.director.worker().flows().capacity());
        let mut filled = None;
        loop {
            let passed = self.offer().now() - begun;
            if passed >= cycles {
                return filled;
            }
            if filled.is_none() && self.stats.connections.get() >= capacity {
                filled = Some(passed);
            }
            self.poll();
        }
    }

    /// After the flood: seconds until established packets are lost no more, and until newcomers are
    /// let in.
    fn recover(&mut self) -> (Option<f64>, Option<f64>) {
        let (begun, window) = (self.offer().now(), self.hz / WINDOWS);
        let mut calm = Recovery::default();
        let mut admitted = Recovery::default();
        for _ in 0..WATCHED {
            let before = *self.offer().accounts();
            self.run_for(window);
            let (what, now) = (self.offer().accounts().since(&before), self.offer().now() - begun);
            calm.note(what.missing(What::Request) + what.missing(What::Reply) == 0, now);
            admitted.note(what.missing(What::Newcomer) == 0, now);
        }
        self.offer().set_rates([Rates::default(); 2]);
        for nth in 0..PATIENCE * WINDOWS {
            if admitted.in_a_row >= IN_A_ROW {
                break;
            }
            if nth % (HEARD * WINDOWS) == 0 {
                self.keep_alive();
            }
            let before = *self.offer().accounts();
            self.offer().skip(window);
            self.offer().call();
            while self.poll() != 0 {}
            let (what, now) = (self.offer().accounts().since(&before), self.offer().now() - begun);
            admitted.note(what.missing(What::Newcomer) == 0, now);
        }
        (calm.seconds(self.hz), admitted.seconds(self.hz))
    }

    /// Whether all packets of the workload are accounted for, here and in the director.
    fn check_accounts(&mut self) -> Result<(), BenchError> {
        self.director.check_accounts().map_err(|error| BenchError::Void(error.to_string()))?;
        let waiting = self.offer().waiting() as u64;
        let Accounts { offered, lost, taken, sent } = *self.offer().accounts();
        let received = self.stats.received.get() - self.received;
        let all_waited = offered.total() == lost.total() + waiting + taken.total();
        if all_waited && taken.total() == received && sent.total() <= taken.total() {
            return Ok(());
        }
        Err(BenchError::Void(format!(
            "packets do not add up: offered {}, lost {}, waiting {waiting}, taken {}, received {received}",
            offered.total(),
            lost.total(),
            taken.total(),
        )))
    }

    fn poll(&mut self) -> usize {
        let now = self.offer().ticks();
        self.director.worker().poll(now)
    }

    fn offer(&mut self) -> &mut Offer {
        // Set before the scene is.
        match &mut self.director.io().flood {
            Some(offer) => offer,
            None => unreachable!("a scene has an offer"),
        }
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        DropReason::ALL.iter().map(|reason| (reason.word(), self.stats.drops(*reason).get())).collect()
    }

    fn memory_bytes(&self) -> usize {
        self.director.workers[0].flows().memory_bytes()
    }
}

/// Memory of this process that is in use.
fn resident_kb() -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
