//! A connection's entry in the table: two cache lines.
//!
//! A packet of an established connection reads and writes only the hot line. The cold line is for
//! creation, expiry, persistence and listing.
//!
//! **Two keys, one rewrite.** A connection is known by the packet that comes from the client
//! (`request`) and the packet that comes from the real server (`reply`). To forward a request is to
//! make the packet look like the reverse of `reply`. To forward a reply is to make it look like the
//! reverse of `request`. `reply` is RIP:port → CIP:port with NAT, RIP:port → LIP:port with FULLNAT,
//! and VIP:port → CIP:port with DR and TUN. So with DR and TUN the rewrite changes nothing. The
//! checksum deltas of both rewrites are computed once, when the connection is made.
//!
//! Entries belong to one worker. No other thread sees them.

use core::ops::{Deref, DerefMut};

use crate::conn::key::{FlowKey, FlowKey6, Key};
use crate::conn::track::Track;
use crate::time::Ticks;

/// Stands for "none" in every field that holds an index.
pub const NONE: u32 = u32::MAX;

/// Which way a packet of a connection travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the real server.
    Request = 0,
    /// From the real server to the client.
    Reply = 1,
}

/// A connection's slot in its worker's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ConnId(u32);

impl ConnId {
    /// The slot numbered `index`, which must be less than 2^31.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The slot's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number, as other entries and the wheel store it.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// The hot line: every packet of an established connection touches it. One cache line for IPv4, two
/// for IPv6.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Hot<K = FlowKey> {
    /// The key of the client's packets.
    pub request: K,
    /// The key of the real server's packets.
    pub reply: K,
    /// The connection's state, which is the same for all kinds of keys.
    pub track: Track,
}

/// The cold line: only creation, expiry, persistence and listing touch it. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Cold {
    /// Slot of the template (or FTP control connection) that this connection hangs on, or [`NONE`].
    pub control: u32,
    /// How many connections hang on this one.
    pub controlled: u32,
    /// The timeout that was last set, in ticks; for a template its own timeout.
    pub timeout: u32,
    /// Due time of a second record of this slot in the timer wheel, while [`Flags::FAR`] is set. It
    /// is later than the hot line's `wheel_at`. Both belong to the slot, not to the connection in
    /// it.
    pub wheel_far: Ticks,
    /// Slot of the service, or [`NONE`].
    pub service: u32,
    /// The firewall mark of the packet that made the connection.
    pub fwmark: u32,
    /// RIP, in network byte order as in the packet. With DR and TUN no other field holds it.
    pub daddr: [u8; 4],
    /// Port of the real server, host byte order.
    pub dport: u16,
    /// FULLNAT: slot of the local address in the worker's pool, or [`NONE`].
    pub local: u32,
    /// When the connection was made, in microseconds of director time; valid while
    /// [`Flags::MEASURED`] is set.
    pub asked: u32,
}

/// Bits of a connection. Some are IPVS's and have IPVS's numbers
/// (`include/uapi/linux/ip_vs.h: IP_VS_CONN_F_*`): IPVS sends the low 16 bits when it synchronises
/// connections. The others are our own. Their numbers are those that IPVS does not use, or that
/// have no meaning for a connection in a table: in IPVS each of these has HASHED (0x0040), and none
/// has ONE_PACKET (0x2000). SYNC (0x0020), the bits for sequence numbers (0x0600) and NO_CPORT
/// (0x0800) are kept free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(u16);

impl Flags {
    /// The forwarding method's bits.
    pub const METHOD: Self = Self(0x0007);
    /// No reply has been seen. With DR and TUN none is expected.
    pub const NOOUTPUT: Self = Self(0x0080);
    /// The connection is counted as inactive.
    pub const INACTIVE: Self = Self(0x0100);
    /// A persistence template.
    pub const TEMPLATE: Self = Self(0x1000);

    /// Our own: the response time of the real server is being measured.
    pub const MEASURED: Self = Self(0x0008);
    /// Our own: it hangs on another connection, the cold line's `control`.
    pub const CONTROLLED: Self = Self(0x0010);
    /// Our own: the end of this connection concerns more than its destination. The cold line names
    /// the rest: connections that hang on it, the one that it hangs on, its local port. Without
    /// this bit the end does not read the cold line.
    pub const TIED: Self = Self(0x0040);
    /// Our own: the slot has a second record in the timer wheel, the cold line's `wheel_far`. Like
    /// `wheel_at`, the bit belongs to the slot and outlives the connection in it.
    pub const FAR: Self = Self(0x2000);
    /// Our own: the destination was deleted. It is looked up again whenever the rules change.
    pub const GONE: Self = Self(0x4000);
    /// Our own: the reply key is not in the index yet. No connection has this bit between two
    /// bursts.
    pub const OPENING: Self = Self(0x8000);

    /// All bits that are our own.
    const OWN: Self = Self(
        Self::MEASURED.0 | Self::CONTROLLED.0 | Self::TIED.0 | Self::FAR.0 | Self::GONE.0 | Self::OPENING.0,
    );

    /// Without the bits that are our own. Only these bits are shown or sent.
    #[must_use]
    pub const fn shared(self) -> Self {
        self.without(Self::OWN)
    }

    /// Exactly these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With the bits of `other` cleared.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl<K: Key> Hot<K> {
    /// An empty slot.
    pub const VACANT: Self = Self { request: K::ZERO, reply: K::ZERO, track: Track::VACANT };

    /// The key of packets that go in `direction`.
    #[inline]
    pub fn key(&self, direction: Direction) -> K {
        match direction {
            Direction::Request => self.request,
            Direction::Reply => self.reply,
        }
    }
}

impl<K> Deref for Hot<K> {
    type Target = Track;

    #[inline]
    fn deref(&self) -> &Track {
        &self.track
    }
}

impl<K> DerefMut for Hot<K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Track {
        &mut self.track
    }
}

impl Cold {
    /// An empty slot.
    pub const VACANT: Self = Self {
        control: NONE,
        controlled: 0,
        timeout: 0,
        wheel_far: Ticks::new(0),
        service: NONE,
        fwmark: 0,
        daddr: [0; 4],
        dport: 0,
        local: NONE,
        asked: 0,
    };

    /// Takes the values of a new connection, but keeps the slot's own field `wheel_far`: a record
    /// in the wheel outlives connections. Does not read the line.
    #[inline]
    pub const fn succeed(&mut self, new: &Self) {
        let Self { control, controlled, timeout, wheel_far: _, service, fwmark, daddr, dport, local, asked } =
            *new;
        self.control = control;
        self.controlled = controlled;
        self.timeout = timeout;
        self.service = service;
        self.fwmark = fwmark;
        self.daddr = daddr;
        self.dport = dport;
        self.local = local;
        self.asked = asked;
    }
}

const _: () = assert!(size_of::<Hot>() == 64 && size_of::<Cold>() == 64);
const _: () = assert!(size_of::<Hot<FlowKey6>>() == 128);
