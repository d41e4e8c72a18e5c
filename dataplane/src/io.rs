//! The input and output of a worker: frames in, frames out, and a way to the host interface.
//!
//! The packet path is generic over [`PacketIo`]: DPDK in production, [`crate::mem::MemIo`] in tests
//! and fuzzing. An implementation belongs to one worker.

use core::net::IpAddr;

use arrayvec::ArrayVec;

use crate::BURST;

/// A DPDK port or its in-memory stand-in, numbered in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(u16);

impl PortId {
    /// The port numbered `index`.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The port's number, as an index into arrays of ports.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The port's number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}

/// Frames that travel through the stages together.
pub type Burst<F> = ArrayVec<F, BURST>;

/// What the device says about the IPv4 header checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Wrong.
    Bad,
    /// Right.
    Good,
    /// The device did not check it.
    #[default]
    Unknown,
}

/// One linear frame, owned; dropping it frees it.
pub trait Frame: Sized {
    /// The bytes, from the Ethernet header on.
    fn bytes(&self) -> &[u8];
    /// The bytes. The caller may change them in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Makes room for `n` bytes in front. Their content is arbitrary. Returns false if there is no
    /// room.
    #[must_use]
    fn grow_front(&mut self, n: usize) -> bool;
    /// Cuts `n` bytes off the front. The frame must have as many.
    fn shrink_front(&mut self, n: usize);
    /// Cuts the frame to `len` bytes if it is longer.
    fn truncate(&mut self, len: usize);
    /// Makes room for `n` bytes in front and then cuts the frame to `len` bytes if it is longer.
    /// The content of the `n` bytes is arbitrary. If there is no room, changes nothing and returns
    /// false.
    #[must_use]
    fn reframe(&mut self, n: usize, len: usize) -> bool {
        let grown = self.grow_front(n);
        if grown {
            self.truncate(len);
        }
        grown
    }
    /// What the device says about the IPv4 header checksum.
    fn l3_checksum(&self) -> RxChecksum {
        RxChecksum::Unknown
    }
    /// Has the first cache line of the headers fetched.
    fn prefetch(&self) {}
}

/// A frame that a worker hands to the host pump.
#[derive(Debug)]
pub struct HostFrame<F> {
    /// The port whose host interface shall receive the frame, or the port by which the frame
    /// leaves.
    pub port: PortId,
    /// What the host shall do with the frame.
    pub request: HostRequest,
    /// The frame.
    pub frame: F,
}

/// What the host shall do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRequest {
    /// Linux shall receive the frame on the host interface.
    Deliver,
    /// The frame lacks only its destination MAC. Linux shall resolve `next_hop`, then the frame
    /// leaves by the port.
    Resolve {
        /// The address whose MAC is needed.
        next_hop: IpAddr,
    },
}

/// A worker's input and output.
pub trait PacketIo {
    /// The type of its frames.
    type Frame: Frame;

    /// The number of ports. They are numbered from 0.
    fn ports(&self) -> u16;
    /// Takes waiting frames from `port` until `burst` is full or the queue is empty.
    fn receive(&mut self, port: PortId, burst: &mut Burst<Self::Frame>);
    /// Gives `burst` to `port`'s device. The frames that the device accepts leave the burst, from
    /// its front; the others stay in it.
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Self::Frame>);
    /// Hands a frame to the host. Returns the frame if the ring for it is full.
    fn to_host(&mut self, frame: HostFrame<Self::Frame>) -> Result<(), Self::Frame>;
    /// Takes a frame that Linux sent on a host interface, or one that was waiting for a MAC. It
    /// shall leave by the port that is returned with it.
    #[allow(clippy::wrong_self_convention, reason = "the name of the ring; nothing is converted")]
    fn from_host(&mut self) -> Option<(PortId, Self::Frame)>;
    /// Takes back a frame whose next hop did not answer.
    fn failed(&mut self) -> Option<Self::Frame> {
        None
    }
    /// Does the I/O's own work of a poll. Called once a poll.
    fn housekeep(&mut self) {}
    /// Frees frames in bulk.
    fn release(&mut self, burst: &mut Burst<Self::Frame>) {
        burst.clear();
    }
}
