//! The state of a connection without its keys. It is half of an IPv4 connection's hot line, and the
//! same for both address families.

use crate::conn::entry::{Direction, Flags, NONE};
use crate::time::Ticks;

/// A connection's state, without its keys.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Track {
    /// When the connection ends if no other packet comes.
    pub expires: Ticks,
    /// The generation of the rules under which the connection was last judged.
    pub rules: u32,
    /// The destination's [`sched::DestId`], or [`NONE`] if it is not known.
    pub dest: u32,
    /// The adjacencies by which packets leave, indexed by [`Direction`]; [`NONE`] while one is not
    /// known.
    pub hops: [u32; 2],
    /// The one's-complement sum that a request adds to its IPv4 header checksum (RFC 1624). A reply
    /// adds the inverse.
    pub l3_delta: u16,
    /// The same for the TCP or UDP checksum.
    pub l4_delta: u16,
    /// Due time of this slot's valid record in the timer wheel; 0 if the slot never had one. The
    /// record belongs to the slot and outlives the connection.
    pub wheel_at: Ticks,
    /// The forwarding method and further bits.
    pub flags: Flags,
    /// For TCP the number of its state (`conn::tcp::TcpState`). For UDP 1 once a reply was seen.
    /// For a template 0 or [`ASSURED`].
    pub state: u8,
    /// How many request packets were seen; stays at 255.
    pub in_pkts: u8,
}

/// State of a template of which a connection was established or answered
/// (`include/net/ip_vs.h: IP_VS_CTPL_S_ASSURED`).
pub const ASSURED: u8 = 1;

impl Track {
    /// The state of an empty slot.
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

    /// With the values of `slot` that belong to the slot and outlive its connections: those about
    /// records in the wheel.
    #[must_use]
    #[inline]
    pub const fn in_slot_of(self, slot: &Self) -> Self {
        let far = Flags::from_bits(slot.flags.bits() & Flags::FAR.bits());
        Self { wheel_at: slot.wheel_at, flags: self.flags.without(Flags::FAR).with(far), ..self }
    }

    /// The sum that a packet in `direction` adds to its IPv4 header checksum.
    #[inline]
    pub const fn l3_delta(&self, direction: Direction) -> u16 {
        self.l3_delta ^ (direction as u16).wrapping_neg()
    }

    /// The sum that a packet in `direction` adds to its TCP or UDP checksum.
    #[inline]
    pub const fn l4_delta(&self, direction: Direction) -> u16 {
        self.l4_delta ^ (direction as u16).wrapping_neg()
    }
}

const _: () = assert!(size_of::<Track>() == 32);
