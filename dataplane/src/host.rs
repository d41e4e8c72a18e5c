//! The rings between a worker and the host pump.
//!
//! The pump reads and writes host interfaces, which takes system calls, so it runs on a control thread. It never
//! touches a packet pool: frames for the host come back as spent buffers, and frames from the host are
//! written into blank buffers that the worker supplies. Four single-producer single-consumer rings.

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::RingBuffer;

use crate::io::Frame;
use crate::io::HostFrame;
use crate::io::PortId;

/// A buffer that the pump can fill.
pub trait HostBuffer: Frame + Send {
    /// All the room there is for a frame, to be filled and then cut to length with [`set_len`](Self::set_len).
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
    /// Buffers the host is done with.
    pub spent: Producer<F>,
    /// Empty buffers to fill.
    pub blank: Consumer<F>,
    /// Frames from the host, by the port they leave by.
    pub from_host: Producer<(PortId, F)>,
}

/// Both ends; `frames` is the room of each ring. A frame handed to the host may also come back through
/// `from_host`, so that ring and `spent` never lack room for what the pump holds when they are as large
/// as the others together.
pub fn channel<F>(frames: usize) -> (WorkerEnd<F>, PumpEnd<F>) {
    let (to_host, host_takes) = RingBuffer::new(frames);
    let (give_back, spent) = RingBuffer::new(frames * 2);
    let (blank, take_blank) = RingBuffer::new(frames);
    let (send, from_host) = RingBuffer::new(frames * 2);
    (
        WorkerEnd { to_host, spent, blank, from_host },
        PumpEnd { to_host: host_takes, spent: give_back, blank: take_blank, from_host: send },
    )
}
