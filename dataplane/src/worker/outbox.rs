//! The way of frames out of a worker: transmit buffers and the rings to the host. Every frame is
//! counted here.
//!
//! Every frame that enters a worker (received, sent by Linux, or an ICMP error of the director)
//! ends in exactly one of these counts: transmitted, host, resolve, or one of the drop reasons. A
//! packet that is answered by an error counts as dropped, and the error counts as another frame.

use std::boxed::Box;

use crate::io::Burst;
use crate::io::HostFrame;
use crate::io::HostRequest;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::stats::WorkerStats;
use crate::verdict::DropReason;
use crate::verdict::Egress;
use crate::verdict::Verdict;

/// Frames on their way out of a worker.
#[derive(Debug)]
pub struct Outbox<F> {
    ports: Box<[Burst<F>]>,
    dropped: Burst<F>,
}

impl<F> Outbox<F> {
    /// Empty buffers for `ports` ports.
    pub fn new(ports: u16) -> Self {
        Self { ports: (0..ports).map(|_| Burst::new()).collect(), dropped: Burst::new() }
    }

    /// Sends or drops a frame as `verdict` says.
    #[inline]
    pub fn post<Io>(&mut self, io: &mut Io, stats: &WorkerStats, ingress: PortId, frame: F, verdict: Verdict)
    where
        Io: PacketIo<Frame = F>,
    {
        let egress = match verdict {
            Verdict::Forward(egress) => egress,
            Verdict::Answer(reason, egress) => {
                stats.drops(reason).add(1);
                egress
            }
            Verdict::Drop(reason) => return self.drop(io, stats, frame, reason),
        };
        let (port, request, (count, full)) = match egress {
            Egress::Port(port) => return self.send(io, stats, port, frame),
            Egress::Host => (ingress, HostRequest::Deliver, (&stats.host, DropReason::HostFull)),
            Egress::Resolve(port, next_hop) => {
                let request = HostRequest::Resolve { next_hop: next_hop.into() };
                (port, request, (&stats.resolve, DropReason::ResolveFull))
            }
        };
        match io.to_host(HostFrame { port, request, frame }) {
            Ok(()) => count.add(1),
            Err(frame) => self.drop(io, stats, frame, full),
        }
    }

    /// Queues a frame for `port`.
    #[inline(always)]
    pub fn send<Io>(&mut self, io: &mut Io, stats: &WorkerStats, port: PortId, frame: F)
    where
        Io: PacketIo<Frame = F>,
    {
        let Some(buffer) = self.ports.get_mut(port.index()) else {
            return self.drop(io, stats, frame, DropReason::NoRoute);
        };
        buffer.push(frame);
        if buffer.is_full() {
            self.flush_port(io, stats, port);
        }
    }

    /// Gives all waiting frames to the devices, and frees the dropped ones.
    pub fn flush<Io>(&mut self, io: &mut Io, stats: &WorkerStats)
    where
        Io: PacketIo<Frame = F>,
    {
        for port in 0..self.ports.len() {
            if !self.ports[port].is_empty() {
                self.flush_port(io, stats, PortId::new(port as u16));
            }
        }
        if !self.dropped.is_empty() {
            io.release(&mut self.dropped);
        }
    }

    #[inline(never)]
    fn flush_port<Io>(&mut self, io: &mut Io, stats: &WorkerStats, port: PortId)
    where
        Io: PacketIo<Frame = F>,
    {
        let buffer = &mut self.ports[port.index()];
        let offered = buffer.len();
        io.transmit(port, buffer);
        let refused = buffer.len();
        stats.transmitted.add((offered - refused) as u64);
        if refused != 0 {
            stats.drops(DropReason::TxFull).add(refused as u64);
            io.release(buffer);
        }
    }

    /// Counts a frame as dropped. It is freed later, with others.
    #[inline(never)]
    pub fn drop<Io>(&mut self, io: &mut Io, stats: &WorkerStats, frame: F, reason: DropReason)
    where
        Io: PacketIo<Frame = F>,
    {
        stats.drops(reason).add(1);
        self.dropped.push(frame);
        if self.dropped.is_full() {
            io.release(&mut self.dropped);
        }
    }
}
