//! The rings between a worker and the host pump.
//!
//! The pump reads and writes host interfaces. That takes system calls, so the pump runs on a
//! control thread. It never touches a packet pool: frames for the host come back to the worker as
//! spent buffers, and frames from the host are written into blank buffers that the worker supplies.
//! There are six single-producer single-consumer rings. Packets that wait for a neighbour have a
//! ring of their own, so that they cannot keep ARP frames from Linux. Packets whose neighbour did
//! not answer come back by another ring.

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::RingBuffer;

use crate::io::Frame;
use crate::io::HostFrame;
use crate::io::PortId;

/// A buffer that the pump can fill.
pub trait HostBuffer: Frame + Send {
    /// The whole room for a frame. Fill it, and then cut it to length with
    /// [`set_len`](Self::set_len).
    fn space(&mut self) -> &mut [u8];
    /// Makes the first `len` bytes of the space the frame. `len` must not be more than the space.
    fn set_len(&mut self, len: usize) {
        self.truncate(len);
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerEnd<F> {
    /// Frames for the host.
    pub to_host: Producer<HostFrame<F>>,
    /// Frames whose next hop Linux must resolve.
    pub to_resolve: Producer<HostFrame<F>>,
    /// Frames whose next hop did not answer.
    pub failed: Consumer<F>,
    /// Buffers that the host has used.
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
    /// Buffers that the host has used.
    pub spent: Producer<F>,
    /// Empty buffers to fill.
    pub blank: Consumer<F>,
    /// Frames from the host, by the port they leave by.
    pub from_host: Producer<(PortId, F)>,
}

/// The ring of frames to be resolved has this fraction of the room of the ring to the host.
const RESOLVE_SHARE: usize = 4;

/// Returns both ends. `frames` is the room of `to_host`, `failed` and `blank`, in frames. The pump
/// can return each frame that it holds by `spent` or by `from_host`. So each of these two has room
/// for `2 * frames`, and they never lack room.
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
