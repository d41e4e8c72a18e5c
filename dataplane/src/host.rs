//! The rings between a worker and the host pump.
//!
//! The pump reads and writes host interfaces, which takes system calls, so it runs on a control
//! thread. It never touches a packet pool: frames for the host come back as spent buffers, and
//! frames from the host are written into blank buffers that the worker supplies. Single-producer
//! single-consumer rings, six of them: what waits for a neighbour has one of its own, so that it
//! cannot keep ARP from Linux, and what waited in vain comes back by another.

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::RingBuffer;

use crate::io::Frame;
use crate::io::HostFrame;
use crate::io::PortId;

/// A buffer that the pump can fill.
pub trait HostBuffer: Frame + Send {
    /// All the room there is for a frame, to be filled and then cut to length with
    /// [`set_len`](Self::set_len).
    fn space(&mut self) -> &mut [u8];
    /// Makes the first `len` bytes of the space the frame. `len` is no more than the space.
    fn set_len(&mut self, len: usize) {
        self.truncate(len);
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerEnd<F> {
    /// Frames for the host.
    pub to_host: Producer<HostFrame<F>>,
    /// Frames whose next hop the host shall resolve.
    pub to_resolve: Producer<HostFrame<F>>,
    /// Frames whose next hop did not answer.
    pub failed: Consumer<F>,
    /// Buffers the host is done with.
    pub spent: Consumer<F>,
    /// Empty buffers for the host to fill.
    pub blank: Producer<F>,
    /// Frames from the host, by the port they leave by.
    pub from_host: Consumer<(PortId, F)>,
}

/// The pump's end.
#[derive(Debug)]
pub struct PumpEnd<F> {
    /// Frames for the host.
    pub to_host: Consumer<HostFrame<F>>,
    /// Frames whose next hop is to be resolved.
    pub to_resolve: Consumer<HostFrame<F>>,
    /// Frames whose next hop did not answer.
    pub failed: Producer<F>,
    /// Buffers the host is done with.
    pub spent: Producer<F>,
    /// Empty buffers to fill.
    pub blank: Consumer<F>,
    /// Frames from the host, by the port they leave by.
    pub from_host: Producer<(PortId, F)>,
}

/// Part of the room for frames to the host that there is for those to be resolved.
const RESOLVE_SHARE: usize = 4;

/// Both ends; `frames` is the room of each ring. A frame handed to the host may also come back
/// through `from_host`, so that ring and `spent` never lack room for what the pump holds when they
/// are as large as the others together.
pub fn channel<F>(frames: usize) -> (WorkerEnd<F>, PumpEnd<F>) {
    let (to_host, host_takes) = RingBuffer::new(frames);
    let (to_resolve, host_resolves) = RingBuffer::new(frames / RESOLVE_SHARE);
    let (give_up, failed) = RingBuffer::new(frames);
    let (give_back, spent) = RingBuffer::new(frames * 2);
    let (blank, take_blank) = RingBuffer::new(frames);
    let (send, from_host) = RingBuffer::new(frames * 2);
    (
        WorkerEnd { to_host, to_resolve, failed, spent, blank, from_host },
        PumpEnd {
            to_host: host_takes,
            to_resolve: host_resolves,
            failed: give_up,
            spent: give_back,
            blank: take_blank,
            from_host: send,
        },
    )
}
