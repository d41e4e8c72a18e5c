//! One connection: two cache lines.
//!
//! The hot line is all that a packet of an established connection reads and writes; the cold line
//! holds what creation, expiry, persistence and listing want.
//!
//! **Two keys, one rewrite.** A connection is known by the packet that comes from the client
//! (`request`) and the packet that comes from the real server (`reply`). Forwarding a request means
//! making the packet look like the reverse of `reply`; forwarding a reply means making it look like
//! the reverse of `request`. For NAT `reply` is RIP:port → CIP:port, for FULLNAT RIP:port →
//! LIP:port, for DR and TUN VIP:port → CIP:port, which makes the rewrite the identity. The checksum
//! deltas of both rewrites are computed once, when the connection is made.
//!
//! Entries belong to one worker and are never seen by another thread.

use core::ops::{Deref, DerefMut};

use crate::conn::key::{FlowKey, FlowKey6, Key};
use crate::conn::track::Track;
use crate::time::Ticks;

/// Index meaning "none" in any field that holds an index.
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
    /// The slot numbered `index`; less than 2^31.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The slot's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number as stored in other entries and in the wheel.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// What every packet of an established connection touches: one cache line for IPv4, two for IPv6.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Hot<K = FlowKey> {
    /// The client's packet.
    pub request: K,
    /// The real server's packet.
    pub reply: K,
    /// What is kept of the connection, whatever its keys look like.
    pub track: Track,
}

/// What only creation, expiry, persistence and listing touch: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Cold {
    /// The template (or FTP control connection) that this one hangs on, or [`NONE`].
    pub control: u32,
    /// How many connections hang on this one.
    pub controlled: u32,
    /// The timeout in ticks that was last set; a template's own timeout.
    pub timeout: u32,
    /// Due time of a later record that the hot line's `wheel_at` came before. It still lies in the
    /// wheel until then, and belongs to the slot like that one.
    pub wheel_far: Ticks,
    /// Slot of the service, or [`NONE`].
    pub service: u32,
    /// The firewall mark of the packet that made the connection.
    pub fwmark: u32,
    /// RIP, network byte order as in the packet; DR and TUN have it nowhere else.
    pub daddr: [u8; 4],
    /// Real-server port, host order.
    pub dport: u16,
    /// FULLNAT: slot of the local address in the worker's pool, or [`NONE`].
    pub local: u32,
    /// When the first packet was forwarded, in microseconds, while [`Flags::MEASURED`] is set.
    pub asked: u32,
}

/// Bits of a connection, numbered as IPVS numbers them: the low 16 go over the wire in
/// synchronisation (`include/uapi/linux/ip_vs.h: IP_VS_CONN_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(u16);

impl Flags {
    /// The forwarding method's bits.
    pub const METHOD: Self = Self(0x0007);
    /// How long the real server takes to answer is being measured. Ours alone, never sent.
    pub const MEASURED: Self = Self(0x0008);
    /// It hangs on another one: the cold line's `control`. Ours alone, never sent.
    pub const CONTROLLED: Self = Self(0x0010);
    /// Its reply key is not in the index yet. Ours alone, and of no connection between two bursts.
    pub const OPENING: Self = Self(0x0020);
    /// Its end concerns more than its destination: the cold line says what hangs on it or it on,
    /// and whose port it has. Without this the cold line need not be read then. Ours alone,
    /// never sent.
    pub const TIED: Self = Self(0x0040);
    /// The slot has a second record in the timer wheel: the cold line's `wheel_far`. The slot's and
    /// not its tenant's, like `wheel_at`. Ours alone, never sent.
    pub const FAR: Self = Self(0x0200);
    /// The reply direction has not been seen (and for DR and TUN is not expected).
    pub const NOOUTPUT: Self = Self(0x0080);
    /// Counted among the inactive connections.
    pub const INACTIVE: Self = Self(0x0100);
    /// A persistence template.
    pub const TEMPLATE: Self = Self(0x1000);
    /// One-packet scheduling.
    pub const ONE_PACKET: Self = Self(0x2000);
    /// The destination was deleted; looked up again whenever the rules change. Ours alone, never
    /// sent.
    pub const GONE: Self = Self(0x4000);
    /// A persistence template whose connection was established (IPVS keeps this as the template's
    /// state).
    pub const ASSURED: Self = Self(0x8000);

    /// Those that nobody else knows, whatever IPVS means by their numbers.
    const OWN: Self = Self(
        Self::MEASURED.0 | Self::CONTROLLED.0 | Self::OPENING.0 | Self::TIED.0 | Self::FAR.0 | Self::GONE.0,
    );

    /// Without what is ours alone: to be shown or sent.
    #[must_use]
    pub const fn shared(self) -> Self {
        self.without(Self::OWN)
    }

    /// These bits alone.
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

    /// The key of packets that travel in `direction`.
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

    /// Takes a new tenant's values, but keeps what is the slot's: a record in the wheel outlives
    /// tenants. Reads nothing.
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
