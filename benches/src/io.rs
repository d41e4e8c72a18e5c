//! Frames and ports that allocate nothing after they are made.

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
    /// A frame without bytes.
    pub fn empty() -> Self {
        Self { buffer: Box::new([0; ROOM]), start: HEADROOM, end: HEADROOM }
    }

    /// Replaces the frame's content by `bytes`, as far as they fit.
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

/// Two ports. The worker receives the frames in `waiting`; sent frames go to `sent`. No frame is
/// freed.
#[derive(Debug, Default)]
pub struct FixedIo {
    /// Frames to receive next, by port.
    pub waiting: [Burst<FixedFrame>; 2],
    /// Frames that were sent, by port.
    pub sent: [Burst<FixedFrame>; 2],
    /// Frames that went to the host or were dropped.
    pub done: Vec<FixedFrame>,
}

impl FixedIo {
    /// Ports for up to `frames` frames in all.
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
        // A swap takes hundreds of instructions; an idle poll of a device takes far fewer.
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
