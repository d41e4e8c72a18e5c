//! What is kept of a connection, whatever its keys look like: half of an IPv4 connection's hot
//! line.

use crate::conn::entry::{Direction, Flags, NONE};
use crate::time::Ticks;

/// A connection's state, without its keys.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Track {
    /// When the connection dies unless another packet comes.
    pub expires: Ticks,
    /// The rules' generation under which the destination was last judged.
    pub rules: u32,
    /// [`sched::DestId`], or [`NONE`] when unknown (learned from a peer).
    pub dest: u32,
    /// Adjacency that requests leave by, or [`NONE`] while unknown; indexed by [`Direction`] with
    /// `hop`.
    pub hops: [u32; 2],
    /// One's-complement sum to add to the IPv4 header checksum of a request (RFC 1624); a reply's
    /// is its inverse.
    pub l3_delta: u16,
    /// The same for the TCP or UDP checksum.
    pub l4_delta: u16,
    /// Due time of this slot's valid record in the timer wheel, which outlives the slot's tenant; 0
    /// while it never had one.
    pub wheel_at: Ticks,
    /// Forwarding method and marks.
    pub flags: Flags,
    /// Number of the protocol's state (`conn::tcp::TcpState`).
    pub state: u8,
    /// Request packets seen, staying at 255.
    pub in_pkts: u8,
}

impl Track {
    /// Of an empty slot.
    pub const VACANT: Self = Self {
        expires: Ticks::new(0),
        rules: 0,
        dest: NONE,
        hops: [NONE; 2],
        l3_delta: 0,
        l4_delta: 0,
        wheel_at: Ticks::new(0),
        flags: Flags::from_bits(0),
        state: 0,
        in_pkts: 0,
    };

    /// What is the slot's and outlives its tenants, taken over from `slot`: all about records in
    /// the wheel.
    #[must_use]
    #[inline]
    pub const fn in_slot_of(self, slot: &Self) -> Self {
        let far = Flags::from_bits(slot.flags.bits() & Flags::FAR.bits());
        Self { wheel_at: slot.wheel_at, flags: self.flags.without(Flags::FAR).with(far), ..self }
    }

    /// What a packet in `direction` adds to its IPv4 header checksum.
    #[inline]
    pub const fn l3_delta(&self, direction: Direction) -> u16 {
        self.l3_delta ^ (direction as u16).wrapping_neg()
    }

    /// What a packet in `direction` adds to its TCP or UDP checksum.
    #[inline]
    pub const fn l4_delta(&self, direction: Direction) -> u16 {
        self.l4_delta ^ (direction as u16).wrapping_neg()
    }
}

const _: () = assert!(size_of::<Track>() == 32);
