//! A port's queues, which receive and send packets in bursts.
//!
//! One thread at a time uses a queue: `&mut self` and the lack of `Sync` ensure it. A queue may
//! change threads between bursts. A queue keeps its port running.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::mbuf::Mbuf;
use crate::port::PortId;
use crate::port::QueueId;
use crate::port::Running;

/// A queue that receives packets.
#[must_use]
#[derive(Debug)]
pub struct RxQueue {
    port: PortId,
    queue: QueueId,
    _running: Arc<Running>,
    _one_thread: PhantomData<Cell<()>>,
}

impl RxQueue {
    pub(crate) fn new(queue: u16, running: &Arc<Running>) -> Self {
        let (port, queue) = (running.id, QueueId::new(queue));
        Self { port, queue, _running: Arc::clone(running), _one_thread: PhantomData }
    }

    /// Appends received packets to `out` as far as there is room, and returns how many.
    ///
    /// Call it with room for a whole burst: some drivers work in groups of 4, 8 or even 32 packets,
    /// and give none when there is less room.
    #[inline]
    pub fn rx_burst<const N: usize>(&mut self, out: &mut ArrayVec<Mbuf, N>) -> usize {
        const { assert!(N <= u16::MAX as usize, "A burst's length is 16 bits") };
        let (held, room) = (out.len(), out.remaining_capacity());
        // SAFETY: `held` is at most the capacity.
        let free = unsafe { out.as_mut_ptr().add(held) };
        // Mbuf is a transparent NonNull<rte_mbuf>: an array of the one is an array of the other.
        // SAFETY: the port runs (`_running`), this queue is set up and ours alone (`&mut self`),
        // and `free` has space for `room` pointers.
        let count = unsafe {
            dpdk_sys::rte_eth_rx_burst(self.port.as_u16(), self.queue.as_u16(), free.cast(), room as u16)
        };
        let count = usize::from(count);
        debug_assert!(count <= room);
        // SAFETY: the driver wrote `count` packets that are now ours, at most `room`, behind the
        // `held` ones.
        unsafe { out.set_len(held + count) };
        count
    }

    /// The port's number.
    #[inline]
    pub fn port(&self) -> PortId {
        self.port
    }

    /// The queue's number.
    #[inline]
    pub fn queue(&self) -> QueueId {
        self.queue
    }
}

/// A queue that sends packets.
#[must_use]
#[derive(Debug)]
pub struct TxQueue {
    port: PortId,
    queue: QueueId,
    _running: Arc<Running>,
    _one_thread: PhantomData<Cell<()>>,
}

impl TxQueue {
    pub(crate) fn new(queue: u16, running: &Arc<Running>) -> Self {
        let (port, queue) = (running.id, QueueId::new(queue));
        Self { port, queue, _running: Arc::clone(running), _one_thread: PhantomData }
    }

    /// Sends packets from the front of `frames` and returns how many the device took. The rest
    /// stays, in order.
    #[inline]
    pub fn tx_burst<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>) -> usize {
        const { assert!(N <= u16::MAX as usize, "A burst's length is 16 bits") };
        let offered = frames.len();
        let start = frames.as_mut_ptr();
        // SAFETY: the port runs (`_running`), this queue is set up and ours alone (`&mut self`), and
        // `start` points to `offered` packets (Mbuf is a transparent NonNull<rte_mbuf>).
        let taken = unsafe {
            dpdk_sys::rte_eth_tx_burst(self.port.as_u16(), self.queue.as_u16(), start.cast(), offered as u16)
        };
        let taken = usize::from(taken);
        debug_assert!(taken <= offered);
        let left = offered - taken;
        if left > 0 {
            // SAFETY: `taken` is below the length.
            let rest = unsafe { start.add(taken) };
            // SAFETY: moves the last `left` of `offered` packets to the front, over those the
            // device owns now.
            unsafe { ptr::copy(rest, start, left) };
        }
        // SAFETY: the first `left` are the packets that are still ours; the others are forgotten,
        // not freed.
        unsafe { frames.set_len(left) };
        taken
    }

    /// The port's number.
    #[inline]
    pub fn port(&self) -> PortId {
        self.port
    }

    /// The queue's number.
    #[inline]
    pub fn queue(&self) -> QueueId {
        self.queue
    }
}
