//! Frames and ports that allocate nothing once made.

use dataplane::io::Burst;
use dataplane::io::Frame;
use dataplane::io::HostFrame;
use dataplane::io::PacketIo;
use dataplane::io::PortId;

const ROOM: usize = 256;
const HEADROOM: usize = 64;

/// A frame in a buffer with some room in front.
#[derive(Debug)]
pub struct FixedFrame {
    buffer: Box<[u8; ROOM]>,
    start: usize,
    end: usize,
}

impl FixedFrame {
    /// No bytes yet.
    pub fn empty() -> Self {
        Self { buffer: Box::new([0; ROOM]), start: HEADROOM, end: HEADROOM }
    }

    /// Makes the frame's content `bytes`, as far as they fit.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.start = HEADROOM;
        self.end = HEADROOM;
        for (to, from) in self.buffer[HEADROOM..].iter_mut().zip(bytes) {
            *to = *from;
            self.end += 1;
        }
    }
}

impl Frame for FixedFrame {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn grow_front(&mut self, n: usize) -> bool {
        let room = n <= self.start;
        self.start -= if room { n } else { 0 };
        room
    }

    fn shrink_front(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}

/// Two ports. What is put into `waiting` is received; what is sent comes to lie in `sent`, and
/// nothing is freed.
#[derive(Debug, Default)]
pub struct FixedIo {
    /// To be received next, by port.
    pub waiting: [Burst<FixedFrame>; 2],
    /// What was sent, by port.
    pub sent: [Burst<FixedFrame>; 2],
    /// What went to the host or was dropped.
    pub done: Vec<FixedFrame>,
}

impl FixedIo {
    /// Ports for as many frames in all.
    pub fn with_room_for(frames: usize) -> Self {
        Self { done: Vec::with_capacity(frames), ..Self::default() }
    }
}

impl PacketIo for FixedIo {
    type Frame = FixedFrame;

    fn ports(&self) -> u16 {
        2
    }

    fn receive(&mut self, port: PortId, burst: &mut Burst<FixedFrame>) {
        // Swapping takes hundreds of instructions, which no idle poll of a device takes.
        if !self.waiting[port.index()].is_empty() {
            core::mem::swap(burst, &mut self.waiting[port.index()]);
        }
    }

    fn transmit(&mut self, port: PortId, burst: &mut Burst<FixedFrame>) {
        core::mem::swap(burst, &mut self.sent[port.index()]);
    }

    fn to_host(&mut self, frame: HostFrame<FixedFrame>) -> Result<(), FixedFrame> {
        self.done.push(frame.frame);
        Ok(())
    }

    fn from_host(&mut self) -> Option<(PortId, FixedFrame)> {
        None
    }

    fn release(&mut self, burst: &mut Burst<FixedFrame>) {
        self.done.extend(burst.drain(..));
    }
}
