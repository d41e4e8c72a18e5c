//! The worker's I/O over DPDK: all receive queues and one transmit queue of every port, and the
//! rings to the host.

use std::sync::Arc;
use std::vec::Vec;

use dpdk::Mbuf;
use dpdk::Mempool;
use dpdk::RxQueue;
use dpdk::Sum;
use dpdk::TxQueue;

use crate::BURST;
use crate::host::HostBuffer;
use crate::host::WorkerEnd;
use crate::io::Burst;
use crate::io::Frame;
use crate::io::HostFrame;
use crate::io::HostRequest;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::io::RxChecksum;
pub use crate::port_counts::PortCounts;

impl Frame for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.data()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> bool {
        self.prepend(n).is_some()
    }

    #[inline]
    fn shrink_front(&mut self, n: usize) {
        if n != 0 {
            let cut = self.trim_front(n);
            debug_assert!(cut, "the caller must have checked the length");
        }
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        let cut = Mbuf::truncate(self, len);
        debug_assert!(cut || self.len() <= len, "the frame must be one segment");
    }

    #[inline]
    fn reframe(&mut self, n: usize, len: usize) -> bool {
        let len = len.min(self.len() + n);
        Mbuf::reframe(self, n, len)
    }

    #[inline]
    fn l3_checksum(&self) -> RxChecksum {
        match self.rx_checksum().l3 {
            Sum::Bad => RxChecksum::Bad,
            Sum::Good => RxChecksum::Good,
            _ => RxChecksum::Unknown,
        }
    }

    #[inline]
    fn prefetch(&self) {
        Mbuf::prefetch(self);
    }
}

impl HostBuffer for Mbuf {
    fn space(&mut self) -> &mut [u8] {
        let room = self.tailroom();
        // This cannot fail: the length is the tailroom. After a failure the space would only be
        // empty.
        let _ = self.append(room);
        self.data_mut()
    }
}

/// A port's queues, as one worker uses them.
#[derive(Debug)]
pub struct DpdkPort {
    rx: Vec<RxQueue>,
    /// Index of the receive queue that was read last, if there are several.
    turn: usize,
    tx: TxQueue,
    counts: Arc<PortCounts>,
}

impl DpdkPort {
    /// Receives from all of `rx` and sends through `tx`. Returns `None` if `rx` is empty.
    pub fn new(rx: Vec<RxQueue>, tx: TxQueue, counts: Arc<PortCounts>) -> Option<Self> {
        (!rx.is_empty()).then_some(Self { rx, turn: 0, tx, counts })
    }

    /// Fills the burst from the queues in turn. All packets of a connection are in one queue, so
    /// they stay in order.
    fn receive_in_turn(&mut self, burst: &mut Burst<Mbuf>) {
        for _ in 0..self.rx.len() {
            self.turn = if self.turn + 1 < self.rx.len() { self.turn + 1 } else { 0 };
            self.rx[self.turn].rx_burst(burst);
            if burst.is_full() {
                break;
            }
        }
    }
}

/// A worker's ports and its rings to the host.
pub struct DpdkIo {
    ports: Vec<DpdkPort>,
    host: WorkerEnd<Mbuf>,
    pool: Mempool,
}

impl DpdkIo {
    /// I/O over these ports, in their order. `pool` supplies the buffers that Linux's frames
    /// are written into.
    pub fn new(ports: Vec<DpdkPort>, host: WorkerEnd<Mbuf>, pool: Mempool) -> Self {
        Self { ports, host, pool }
    }

    /// Frees buffers that the host has used and gives the host empty ones. At most a burst of each.
    fn restock(&mut self) {
        let mut spent = Burst::new();
        while !spent.is_full() {
            let Ok(frame) = self.host.spent.pop() else { break };
            spent.push(frame);
        }
        Mbuf::free_bulk(&mut spent);
        let wanted = self.host.blank.slots().min(BURST);
        for _ in 0..wanted {
            let Some(frame) = self.pool.alloc() else { break };
            // The ring has room: its slots were counted above, and only this side adds to it.
            let _ = self.host.blank.push(frame);
        }
    }
}

impl PacketIo for DpdkIo {
    type Frame = Mbuf;

    #[inline]
    fn ports(&self) -> u16 {
        self.ports.len() as u16
    }

    #[inline]
    fn receive(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let port = &mut self.ports[port.index()];
        let held = burst.len();
        match port.rx.as_mut_slice() {
            [only] => {
                only.rx_burst(burst);
            }
            _ => port.receive_in_turn(burst),
        }
        port.counts.received(&burst[held..]);
    }

    #[inline]
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let port = &mut self.ports[port.index()];
        let (offered, bytes) = (burst.len(), port.counts.bytes_of(burst));
        port.tx.tx_burst(burst);
        port.counts.sent(offered, bytes, burst);
    }

    fn to_host(&mut self, frame: HostFrame<Mbuf>) -> Result<(), Mbuf> {
        let ring = match frame.request {
            HostRequest::Deliver => &mut self.host.to_host,
            HostRequest::Resolve { .. } => &mut self.host.to_resolve,
        };
        ring.push(frame).map_err(|rtrb::PushError::Full(item)| item.frame)
    }

    #[inline]
    fn failed(&mut self) -> Option<Mbuf> {
        self.host.failed.pop().ok()
    }

    #[inline]
    fn from_host(&mut self) -> Option<(PortId, Mbuf)> {
        self.host.from_host.pop().ok()
    }

    #[inline]
    fn housekeep(&mut self) {
        if self.host.spent.slots() != 0 || self.host.blank.slots() != 0 {
            self.restock();
        }
    }

    #[inline]
    fn release(&mut self, burst: &mut Burst<Mbuf>) {
        Mbuf::free_bulk(burst);
    }
}
