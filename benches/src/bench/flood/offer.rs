//! Load that comes at its own pace, whether or not the director keeps up with it.
//!
//! Arrivals follow a clock that leaves out what the machine gave to others ([`ArrivalClock`]). Time
//! may also be skipped, which brings timeouts and no packets.

use core::net::Ipv4Addr;
use std::collections::VecDeque;

use dataplane::BURST;
use dataplane::io::Burst;
use dataplane::io::PortId;
use dataplane::time::Ticks;
use dataplane::wire::l4::flag;
use dpdk::Mbuf;
use dpdk::Mempool;
use dpdk::tsc;
use sched::Random;
use sched::XorShift;

use crate::bench::args::BenchArgs;
use crate::bench::args::FloodKind;
use crate::bench::args::MOST_FLOWS;
use crate::bench::arrival::ArrivalClock;
use crate::bench::flood::accounts::Accounts;
use crate::bench::flood::accounts::What;
use crate::bench::flood::line::Line;
use crate::bench::flood::line::Rates;
use crate::bench::frame::Record;
use crate::bench::frame::Template;
use crate::bench::frame::tag;
use crate::bench::io::LAN;
use crate::bench::io::PORTS;
use crate::bench::io::WAN;
use crate::bench::rules;
use crate::bench::rules::MACS;

/// Longer than this no poll takes, in microseconds: what is above it was not the director's time.
const LONGEST_POLL: u64 = 50;
/// What a client that means it takes to answer the real server's SYN-ACK, in milliseconds.
const ROUND_TRIP: u64 = 20;

/// Records that are visited in turn, without end.
#[derive(Debug)]
struct Ring {
    records: Vec<Record>,
    next: usize,
}

impl Ring {
    fn next(&mut self) -> Record {
        let record = self.records[self.next];
        self.next += 1;
        if self.next == self.records.len() {
            self.next = 0;
        }
        record
    }
}

/// What is offered to a director, and what becomes of it.
#[derive(Debug)]
pub(in crate::bench) struct Offer {
    lines: [Line; PORTS as usize],
    templates: [Template; What::ALL.len()],
    /// The second packet from each of the flood's senders, where there is one, and the sender that
    /// it is to come from.
    second: Option<Template>,
    begun: Option<Record>,
    requests: Ring,
    replies: Ring,
    services: u32,
    /// Services that the flood is for.
    flooded: u32,
    /// Newcomers so far.
    newcomers: u32,
    /// Their answers that are on their way, oldest first, with the time of their arrival.
    coming: VecDeque<(u64, Record)>,
    /// Their answers that wait in the queue.
    waiting: VecDeque<Record>,
    accounts: Accounts,
    random: XorShift,
    hz: u64,
    clock: ArrivalClock,
    /// Director time at the start.
    start: Ticks,
}

impl Offer {
    /// Silence so far: established connections with these packets, of which the real servers' are
    /// `replies`.
    pub(in crate::bench) fn new(
        args: &BenchArgs,
        (requests, replies): (Vec<Record>, Vec<Record>),
        start: Ticks,
        hz: u64,
    ) -> Self {
        let template = |what: What| {
            let (port, flags) = match what {
                What::Request | What::Ack => (WAN, flag::ACK),
                What::Reply => (LAN, flag::ACK),
                What::Syn | What::Newcomer => (WAN, flag::SYN),
            };
            if what == What::Syn && args.flood_kind() == FloodKind::Udp {
                return Template::datagram(MACS[port.index()], args.frame, what as u8);
            }
            Template::tagged(MACS[port.index()], flags, args.frame, what as u8)
        };
        let pairs = matches!(args.flood_kind(), FloodKind::SynAck | FloodKind::SynAckSticky);
        let ack = || Template::tagged(MACS[WAN.index()], flag::ACK, args.frame, What::Syn as u8);
        Self {
            second: pairs.then(ack),
            begun: None,
            lines: [Line::new(), Line::new()],
            templates: What::ALL.map(template),
            requests: Ring { records: requests, next: 0 },
            replies: Ring { records: replies, next: 0 },
            // Of the datagrams' services there is one.
            flooded: if args.flood_kind() == FloodKind::Udp { 1 } else { args.services },
            services: args.services,
            newcomers: 0,
            coming: VecDeque::with_capacity(4096),
            waiting: VecDeque::with_capacity(4096),
            accounts: Accounts::default(),
            random: XorShift::new(0xf100d),
            hz,
            clock: ArrivalClock::new(tsc()),
            start,
        }
    }

    /// From now on the clients' port is always full of such packets.
    pub(in crate::bench) fn saturate(&mut self, what: What) {
        self.lines[WAN.index()].set_endless(what);
        self.lines[LAN.index()].set_rates(Rates::default());
    }

    /// From now on packets come at these rates, by port.
    pub(in crate::bench) fn set_rates(&mut self, rates: [Rates; PORTS as usize]) {
        self.lines.iter_mut().zip(rates).for_each(|(line, rates)| line.set_rates(rates));
    }

    /// Cycles since the start.
    pub(in crate::bench) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The same as director time.
    pub(in crate::bench) fn ticks(&self) -> Ticks {
        self.start.plus((self.now() / (self.hz / u64::from(Ticks::PER_SECOND)).max(1)) as u32)
    }

    /// Cycles that were somebody else's.
    pub(in crate::bench) fn stolen(&self) -> u64 {
        self.clock.stolen()
    }

    /// Packets that wait.
    pub(in crate::bench) fn waiting(&self) -> usize {
        self.lines.iter().map(Line::len).sum()
    }

    /// What became of all packets.
    pub(in crate::bench) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Lets time pass without packets.
    pub(in crate::bench) fn skip(&mut self, cycles: u64) {
        self.clock.skip(cycles, tsc());
        let now = self.now();
        self.lines.iter_mut().for_each(|line| line.skip(now));
    }

    /// Has a newcomer call.
    pub(in crate::bench) fn call(&mut self) {
        self.lines[WAN.index()].put(What::Newcomer, &mut self.accounts);
    }

    /// Fills `burst` with what waits at `port`; how many packets there were.
    #[inline(never)]
    pub(in crate::bench) fn deliver(&mut self, port: PortId, pool: &Mempool, burst: &mut Burst<Mbuf>) -> u64 {
        let now = self.clock.read(tsc(), self.hz / 1_000_000 * LONGEST_POLL);
        let due = if port == WAN { self.due() } else { 0 };
        let answered = self.lines[port.index()].arrive(now, due as u64, &mut self.random, &mut self.accounts);
        // Which of them were lost makes no difference.
        for (_, record) in self.coming.drain(..due).take(answered as usize) {
            self.waiting.push_back(record);
        }
        if self.lines[port.index()].len() >= BURST && burst.is_empty() {
            // A pool that has run dry leaves packets in the queue.
            let _ = pool.alloc_bulk(burst);
        } else {
            while burst.len() < self.lines[port.index()].len() && !burst.is_full() {
                let Some(frame) = pool.alloc() else { break };
                burst.push(frame);
            }
        }
        for frame in burst.iter_mut() {
            let Some(what) = self.lines[port.index()].pop(&mut self.accounts) else { break };
            match (&self.second, self.begun.filter(|_| what == What::Syn)) {
                (Some(second), Some(record)) => {
                    second.write(&record, frame);
                    self.begun = None;
                }
                _ => {
                    let record = self.record(what);
                    self.templates[what as usize].write(&record, frame);
                    if what == What::Syn {
                        self.begun = Some(record);
                    }
                }
            }
        }
        burst.len() as u64
    }

    /// Counts what the director sends.
    #[inline(never)]
    pub(in crate::bench) fn account(&mut self, burst: &Burst<Mbuf>) {
        for frame in burst {
            if let Some(what) = tag(frame.data()).and_then(What::from_raw) {
                self.accounts.sent[what] += 1;
            }
        }
    }

    /// Newcomers' answers that have come meanwhile.
    fn due(&self) -> usize {
        let now = self.now();
        self.coming.iter().take_while(|(due, _)| *due <= now).count()
    }

    fn record(&mut self, what: What) -> Record {
        match what {
            What::Request => self.requests.next(),
            What::Reply => self.replies.next(),
            What::Syn => anybody(&mut self.random, self.flooded),
            What::Newcomer => {
                let record = rules::client(MOST_FLOWS + self.newcomers, self.services);
                self.newcomers += 1;
                // Whoever was not let in would not answer; whether this one was is not known yet,
                // and an answer without a connection comes to nothing.
                self.coming.push_back((self.now() + self.hz / 1000 * ROUND_TRIP, record));
                record
            }
            What::Ack => self.waiting.pop_front().unwrap_or_else(|| rules::client(0, self.services)),
        }
    }
}

/// A packet to a service from an address and port drawn at random.
fn anybody(random: &mut XorShift, services: u32) -> Record {
    let drawn = random.below_inclusive(u64::MAX);
    let [a, b, c, d, e, f, g, h] = drawn.to_be_bytes();
    // Not 0, 127, multicast, nor above. Products and shifts in place of divisions, which would take a
    // good part of the time of a packet.
    let first = match 1 + ((u16::from(a) * 222) >> 8) as u8 {
        low @ ..127 => low,
        low => low + 1,
    };
    let from = Ipv4Addr::new(first, b, c, d);
    let port = u16::from_be_bytes([e, f]).max(1024);
    let service = (u64::from(u16::from_be_bytes([g, h])) * u64::from(services)) >> 16;
    rules::packet((from, port), service as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_comes_from_addresses_that_may_be_somebodys() {
        let mut random = XorShift::new(3);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100_000 {
            let from = anybody(&mut random, 1).source();
            assert!(!from.is_loopback() && !from.is_multicast() && (1..=223).contains(&from.octets()[0]));
            seen.insert(from);
        }
        assert!(seen.len() > 99_000, "{}", seen.len());
    }
}
