//! The network of the measured director. Packets are made on receipt, and counted and freed on
//! transmission.
//!
//! Buffers come from a DPDK pool and go back to it, so the director handles the same buffers as
//! from a driver. The time spent here is also measured without the director, and subtracted.

use dataplane::BURST;
use dataplane::io::Burst;
use dataplane::io::HostFrame;
use dataplane::io::PacketIo;
use dataplane::io::PortId;
use dpdk::Mbuf;
use dpdk::Mempool;
use dpdk::tsc;

use crate::bench::flood;
use crate::bench::frame;
use crate::bench::frame::Record;
use crate::bench::frame::Template;
use crate::bench::offer::Offer;

/// The clients' side.
pub(super) const WAN: PortId = PortId::new(0);
/// The real servers' side.
pub(super) const LAN: PortId = PortId::new(1);
/// How many sides there are.
pub(super) const PORTS: u16 = 2;

/// What arrives on one port.
#[derive(Debug)]
pub(super) struct Source {
    template: Template,
    records: Vec<Record>,
    /// The part of `records` in use.
    from: usize,
    count: usize,
    /// The next record in that part, and the distance to the one after it.
    next: usize,
    stride: usize,
    /// Packets still to come.
    left: u64,
}

impl Source {
    /// A source without packets.
    pub(super) fn silent(template: Template) -> Self {
        Self { template, records: Vec::new(), from: 0, count: 0, next: 0, stride: 1, left: 0 }
    }

    /// A source that sends packets of all `records` in turn, without end.
    pub(super) fn endless(template: Template, records: Vec<Record>) -> Self {
        let left = if records.is_empty() { 0 } else { u64::MAX };
        Self { template, from: 0, count: records.len(), next: 0, stride: 1, left, records }
    }

    /// Replaces the records. Returns the old ones.
    pub(super) fn set_records(&mut self, records: Vec<Record>) -> Vec<Record> {
        self.left = 0;
        core::mem::replace(&mut self.records, records)
    }

    /// Takes the records out.
    pub(super) fn take_records(&mut self) -> Vec<Record> {
        self.set_records(Vec::new())
    }

    /// Bytes behind the headers of its packets.
    fn payload(&self) -> usize {
        self.template.payload()
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Sends one packet of each of the `count` records from `from` on. From one packet to the next
    /// it goes `stride` records on; `stride` and `count` must have no common divisor.
    pub(super) fn play(&mut self, template: &Template, from: usize, count: usize, stride: usize) {
        debug_assert!(from + count <= self.records.len());
        self.template = template.clone();
        (self.from, self.count) = (from, count);
        (self.next, self.stride) = (0, if count == 0 { 0 } else { stride % count });
        self.left = count as u64;
    }

    /// Fills `burst` with up to `most` packets. Returns how many.
    #[inline]
    fn fill(&mut self, pool: &Mempool, burst: &mut Burst<Mbuf>, most: usize) -> u64 {
        let wanted = self.left.min(most as u64);
        if wanted >= BURST as u64 && burst.is_empty() {
            // If the pool is empty, there are fewer packets.
            let _ = pool.alloc_bulk(burst);
        } else {
            while (burst.len() as u64) < wanted && !burst.is_full() {
                let Some(frame) = pool.alloc() else { break };
                burst.push(frame);
            }
        }
        let part = &self.records[self.from..self.from + self.count];
        for frame in burst.iter_mut() {
            self.template.write(&part[self.next], frame);
            self.next += self.stride;
            if self.next >= part.len() {
                self.next -= part.len();
            }
        }
        self.left -= burst.len() as u64;
        self.look_ahead();
        burst.len() as u64
    }

    /// Prefetches the records of the next burst. Waiting for them is not the director's cost, but
    /// it would be counted as such: without the director the processor prefetches the records
    /// itself, with the director it does not.
    #[inline]
    fn look_ahead(&self) {
        let part = &self.records[self.from..self.from + self.count];
        let mut next = self.next;
        for _ in 0..BURST {
            let Some(record) = part.get(next) else { return };
            dpdk::prefetch(record);
            next += self.stride;
            if next >= part.len() {
                next -= part.len();
            }
        }
    }
}

/// Source and sink of a run.
#[derive(Debug)]
pub(super) struct BenchIo {
    pool: Mempool,
    pub(super) sources: [Source; PORTS as usize],
    /// Packets given to the director.
    pub(super) received: u64,
    /// Packets got back from it.
    pub(super) sent: u64,
    /// Records the answers of real servers to the packets that the director sends them.
    pub(super) answers: Option<Vec<Record>>,
    /// A flood that replaces the sources.
    pub(super) flood: Option<Box<flood::offer::Offer>>,
    /// Packets at a constant rate. Without it, a port always has as many packets as the director
    /// takes.
    pub(super) offer: Option<Offer>,
}

impl BenchIo {
    pub(super) fn new(pool: Mempool, sources: [Source; PORTS as usize]) -> Self {
        Self { pool, sources, received: 0, sent: 0, answers: None, flood: None, offer: None }
    }

    /// Takes a burst from each port and sends it out of the other port: a run without a director.
    /// Returns the number of packets.
    #[inline]
    pub(super) fn pass_through(&mut self) -> usize {
        let mut passed = 0;
        for (from, to) in [(WAN, LAN), (LAN, WAN)] {
            let mut burst = Burst::new();
            self.receive(from, &mut burst);
            if !burst.is_empty() {
                passed += burst.len();
                self.transmit(to, &mut burst);
            }
        }
        passed
    }

    /// Takes the packets that wait at `port`. It is a function of its own so that it does not
    /// change the loops of other workloads.
    #[cold]
    #[inline(never)]
    fn receive_offered(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let Some(offer) = &mut self.offer else { return };
        let now = offer.read_clock(tsc(), self.received - self.sent);
        let Some(queue) = offer.queues.get_mut(port.index()) else { return };
        let waiting = queue.arrive(now);
        if waiting == 0 {
            return;
        }
        self.received += self.sources[port.index()].fill(&self.pool, burst, waiting);
        for frame in burst {
            let Some(due) = queue.take() else { break };
            frame::stamp(frame, due);
        }
    }

    /// Records how long ago each packet was due.
    #[cold]
    #[inline(never)]
    fn record(&mut self, burst: &Burst<Mbuf>) {
        let Some(offer) = &mut self.offer else { return };
        let now = offer.read_clock(tsc(), self.received - self.sent);
        for frame in burst {
            // All packets of a run have the same length, except for headers that the director adds.
            if let Some(age) = frame::age(frame.data(), self.sources[WAN.index()].payload(), now) {
                offer.sent(age);
            }
        }
    }

    #[cold]
    fn take_down(&mut self, burst: &Burst<Mbuf>) {
        if let Some(answers) = &mut self.answers {
            answers.extend(burst.iter().filter_map(|frame| Record::answer(frame.data())));
        }
    }
}

impl PacketIo for BenchIo {
    type Frame = Mbuf;

    #[inline]
    fn ports(&self) -> u16 {
        PORTS
    }

    #[inline]
    fn receive(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        if let Some(flood) = &mut self.flood {
            self.received += flood.deliver(port, &self.pool, burst);
            return;
        }
        if self.offer.is_some() {
            return self.receive_offered(port, burst);
        }
        let source = &mut self.sources[port.index()];
        if source.left != 0 {
            self.received += source.fill(&self.pool, burst, BURST);
        }
    }

    #[inline]
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        if port == LAN && self.answers.is_some() {
            self.take_down(burst);
        }
        if let Some(flood) = &mut self.flood {
            flood.account(burst);
        }
        if self.offer.is_some() {
            self.record(burst);
        }
        self.sent += burst.len() as u64;
        Mbuf::free_bulk(burst);
    }

    /// There is no host: such a packet counts as not forwarded.
    fn to_host(&mut self, _frame: HostFrame<Mbuf>) -> Result<(), Mbuf> {
        Ok(())
    }

    #[inline]
    fn from_host(&mut self) -> Option<(PortId, Mbuf)> {
        None
    }

    #[inline]
    fn release(&mut self, burst: &mut Burst<Mbuf>) {
        Mbuf::free_bulk(burst);
    }
}
