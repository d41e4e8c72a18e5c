//! What a worker needs of the outside: frames in, frames out, and a way to the host interface.
//!
//! The packet path is generic over [`PacketIo`]: DPDK in production, [`crate::mem::MemIo`] in tests
//! and fuzzing. An implementation belongs to one worker; its other ends (a device's queues, the
//! rings to the host pump) are its own business.

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

    /// The port's number, for indexing per-port arrays.
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

/// What the device found of the IPv4 header checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Wrong.
    Bad,
    /// Right.
    Good,
    /// The device did not look.
    #[default]
    Unknown,
}

/// One linear frame, owned; dropping it frees it.
pub trait Frame: Sized {
    /// The bytes, from the Ethernet header on.
    fn bytes(&self) -> &[u8];
    /// The bytes, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Makes room for `n` bytes in front (their content is arbitrary); false when there is none.
    #[must_use]
    fn grow_front(&mut self, n: usize) -> bool;
    /// Cuts `n` bytes off the front; the caller has checked that there are as many.
    fn shrink_front(&mut self, n: usize);
    /// Cuts the frame to `len` bytes when it is longer.
    fn truncate(&mut self, len: usize);
    /// Makes room for `n` bytes in front (their content is arbitrary) and cuts what is behind, so
    /// that the frame is `len` bytes then, or shorter if it was. False, and no change, when
    /// there is no such room.
    #[must_use]
    fn reframe(&mut self, n: usize, len: usize) -> bool {
        let grown = self.grow_front(n);
        if grown {
            self.truncate(len);
        }
        grown
    }
    /// What the device says of the IPv4 header checksum.
    fn l3_checksum(&self) -> RxChecksum {
        RxChecksum::Unknown
    }
    /// Asks for the first header line to be brought near.
    fn prefetch(&self) {}
}

/// What a worker hands to control for a host interface.
#[derive(Debug)]
pub struct HostFrame<F> {
    /// The port whose host interface is meant, or through which the frame shall leave.
    pub port: PortId,
    /// What is wanted.
    pub request: HostRequest,
    /// The frame.
    pub frame: F,
}

/// What is wanted of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRequest {
    /// Linux shall receive the frame on the host interface.
    Deliver,
    /// Complete but for the destination MAC: Linux shall resolve `next_hop`, then the frame leaves
    /// by the port.
    Resolve {
        /// The address whose MAC is wanted.
        next_hop: IpAddr,
    },
}

/// A worker's queues.
pub trait PacketIo {
    /// A frame as this I/O holds it.
    type Frame: Frame;

    /// How many ports there are; their numbers are 0 to one less.
    fn ports(&self) -> u16;
    /// Takes waiting frames from `port` until `burst` is full or the queue is empty.
    fn receive(&mut self, port: PortId, burst: &mut Burst<Self::Frame>);
    /// Gives `burst` to `port`'s device: takes what it accepts, in order, and leaves the rest.
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Self::Frame>);
    /// Hands a frame to the host, or to be resolved; gives it back when the ring for that is full.
    fn to_host(&mut self, frame: HostFrame<Self::Frame>) -> Result<(), Self::Frame>;
    /// Takes a frame that Linux sent on a host interface, or that was waiting for a MAC: it leaves
    /// by the port named.
    #[allow(
        clippy::wrong_self_convention,
        reason = "from the host, as the rings call it; nothing is converted"
    )]
    fn from_host(&mut self) -> Option<(PortId, Self::Frame)>;
    /// Takes a frame back whose next hop did not answer.
    fn failed(&mut self) -> Option<Self::Frame> {
        None
    }
    /// Whatever the I/O wants done once a poll.
    fn housekeep(&mut self) {}
    /// Frees frames in bulk.
    fn release(&mut self, burst: &mut Burst<Self::Frame>) {
        burst.clear();
    }
}
