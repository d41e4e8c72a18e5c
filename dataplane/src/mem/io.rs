//! Frames and queues in ordinary memory.

use std::collections::VecDeque;
use std::vec::Vec;

use crate::io::Burst;
use crate::io::Frame;
use crate::io::HostFrame;
use crate::io::HostRequest;
use crate::io::PacketIo;
use crate::io::PortId;
use crate::io::RxChecksum;

/// Room in front of a frame's bytes, as in an mbuf.
const HEADROOM: usize = 128;

/// A frame in ordinary memory, with headroom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemFrame {
    buffer: Vec<u8>,
    start: usize,
    l3_checksum: RxChecksum,
}

impl MemFrame {
    /// A frame with a copy of `bytes`. No device has checked its checksum.
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(bytes);
        Self { buffer, start: HEADROOM, l3_checksum: RxChecksum::Unknown }
    }

    /// The same frame with this result of the device's check.
    #[must_use]
    pub fn with_l3_checksum(self, l3_checksum: RxChecksum) -> Self {
        Self { l3_checksum, ..self }
    }
}

impl Frame for MemFrame {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    fn grow_front(&mut self, n: usize) -> bool {
        let room = self.start >= n;
        if room {
            self.start -= n;
        }
        room
    }

    fn shrink_front(&mut self, n: usize) {
        self.start = (self.start + n).min(self.buffer.len());
    }

    fn truncate(&mut self, len: usize) {
        self.buffer.truncate(self.start + len);
    }

    fn l3_checksum(&self) -> RxChecksum {
        self.l3_checksum
    }
}

/// One worker's queues, as lists. Put frames into `rx`, and find the sent frames in `tx` and
/// `host`.
#[derive(Debug, Default)]
pub struct MemIo {
    /// Frames that wait to be received, for each port.
    pub rx: Vec<VecDeque<MemFrame>>,
    /// Frames that were sent, for each port.
    pub tx: Vec<Vec<MemFrame>>,
    /// Frames handed to the host.
    pub host: Vec<HostFrame<MemFrame>>,
    /// Frames that the host sends.
    pub from_host: VecDeque<(PortId, MemFrame)>,
    /// Frames whose next hop did not answer.
    pub failed: VecDeque<MemFrame>,
    /// How many frames one `transmit` accepts at most; no limit if `None`.
    pub tx_room: Option<usize>,
    /// How many frames for the host are accepted in all; no limit if `None`.
    pub host_room: Option<usize>,
    /// How many frames to be resolved are accepted in all; no limit if `None`.
    pub resolve_room: Option<usize>,
}

impl MemIo {
    /// I/O with this many ports and no frames.
    pub fn new(ports: u16) -> Self {
        let n = usize::from(ports);
        Self { rx: vec![VecDeque::new(); n], tx: vec![Vec::new(); n], ..Self::default() }
    }
}

impl PacketIo for MemIo {
    type Frame = MemFrame;

    fn ports(&self) -> u16 {
        self.rx.len() as u16
    }

    fn receive(&mut self, port: PortId, burst: &mut Burst<MemFrame>) {
        while !burst.is_full() {
            let Some(frame) = self.rx[port.index()].pop_front() else { break };
            burst.push(frame);
        }
    }

    fn transmit(&mut self, port: PortId, burst: &mut Burst<MemFrame>) {
        let n = self.tx_room.map_or(burst.len(), |room| room.min(burst.len()));
        self.tx[port.index()].extend(burst.drain(..n));
    }

    fn to_host(&mut self, frame: HostFrame<MemFrame>) -> Result<(), MemFrame> {
        let delivers = |request| request == HostRequest::Deliver;
        let kind = delivers(frame.request);
        let taken = self.host.iter().filter(|other| delivers(other.request) == kind).count();
        let room = if kind { self.host_room } else { self.resolve_room };
        if room.is_some_and(|room| taken >= room) {
            return Err(frame.frame);
        }
        self.host.push(frame);
        Ok(())
    }

    fn failed(&mut self) -> Option<MemFrame> {
        self.failed.pop_front()
    }

    fn from_host(&mut self) -> Option<(PortId, MemFrame)> {
        self.from_host.pop_front()
    }
}
