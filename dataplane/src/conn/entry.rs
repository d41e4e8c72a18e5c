//! One connection: two cache lines.
//!
//! The hot line is all that a packet of an established connection reads and writes; the cold line
//! holds what creation, expiry, persistence, listing and synchronisation want. What few connections
//! have (sequence deltas of helpers, persistence-engine data) lives in a side table, found by
//! [`Cold::side`].
//!
//! **Two keys, one rewrite.** A connection is known by the packet that comes from the client
//! (`request`) and the packet that comes from the real server (`reply`). Forwarding a request means
//! making the packet look like the reverse of `reply`; forwarding a reply means making it look like
//! the reverse of `request`. For NAT `reply` is RIP:port → CIP:port, for FULLNAT RIP:port → LIP:port,
//! for DR and TUN VIP:port → CIP:port, which makes the rewrite the identity. The checksum deltas of
//! both rewrites are computed once, when the connection is made.
//!
//! Entries belong to one worker and are never seen by another thread.

use crate::conn::key::FlowKey;
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

/// What every packet of an established connection touches: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Hot {
    /// The client's packet.
    pub request: FlowKey,
    /// The real server's packet.
    pub reply: FlowKey,
    /// When the connection dies unless another packet comes.
    pub expires: Ticks,
    /// The rules' generation under which the destination was last judged.
    pub rules: u32,
    /// [`sched::DestId`], or [`NONE`] when unknown (learned from a peer).
    pub dest: u32,
    /// Adjacency that requests leave by, or [`NONE`] while unknown; indexed by [`Direction`] with `hop`.
    pub hops: [u32; 2],
    /// One's-complement sum to add to the IPv4 header checksum of a request (RFC 1624); a reply's is its inverse.
    pub l3_delta: u16,
    /// The same for the TCP or UDP checksum.
    pub l4_delta: u16,
    /// Due time of this slot's valid record in the timer wheel, which outlives the slot's tenant; 0 while it never had one.
    pub wheel_at: Ticks,
    /// Forwarding method and marks.
    pub flags: Flags,
    /// Number of the protocol's state (`conn::tcp::TcpState`).
    pub state: u8,
    /// Request packets seen, staying at 255 (defences and synchronisation count further in the cold line).
    pub in_pkts: u8,
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
    /// Due time of a later record that the hot line's `wheel_at` came before. It still lies in the wheel until then, and
    /// belongs to the slot like that one.
    pub wheel_far: Ticks,
    /// Slot of the service, or [`NONE`].
    pub service: u32,
    /// The firewall mark of the packet that made the connection.
    pub fwmark: u32,
    /// RIP, network byte order as in the packet; DR and TUN have it nowhere else.
    pub daddr: [u8; 4],
    /// Real-server port, host order.
    pub dport: u16,
    /// Sync flags of the last message about this connection (dataplane specification §15.3).
    pub sync_state: u8,
    /// Address family of the destination, where it may be another; 0 = IPv4.
    pub family: u8,
    /// FULLNAT: slot of the local address in the worker's pool, or [`NONE`].
    pub local: u32,
    /// Request packets beyond the 255 the hot line counts.
    pub more_in_pkts: u32,
    /// Side-table slot for rare things, or [`NONE`].
    pub side: u32,
    /// When the connection was made.
    pub created: Ticks,
    /// When synchronisation last spoke of it.
    pub synced: Ticks,
    /// When the first packet was forwarded, in microseconds, while [`Flags::MEASURED`] is set.
    pub asked: u32,
}

/// Bits of a connection, numbered as IPVS numbers them: the low 16 go over the wire in synchronisation
/// (`include/uapi/linux/ip_vs.h: IP_VS_CONN_F_*`).
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
    /// Its end concerns more than its destination: the cold line says what hangs on it or it on, and whose port it has.
    /// Without this the cold line need not be read then. Ours alone, never sent.
    pub const TIED: Self = Self(0x0040);
    /// The slot has a second record in the timer wheel: the cold line's `wheel_far`. The slot's and not its tenant's, like
    /// `wheel_at`. Ours alone, never sent.
    pub const FAR: Self = Self(0x0200);
    /// The reply direction has not been seen (and for DR and TUN is not expected).
    pub const NOOUTPUT: Self = Self(0x0080);
    /// Counted among the inactive connections.
    pub const INACTIVE: Self = Self(0x0100);
    /// A persistence template.
    pub const TEMPLATE: Self = Self(0x1000);
    /// One-packet scheduling.
    pub const ONE_PACKET: Self = Self(0x2000);
    /// The destination was deleted; looked up again whenever the rules change. Ours alone, never sent.
    pub const GONE: Self = Self(0x4000);
    /// A persistence template whose connection was established (IPVS keeps this as the template's state).
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

impl Hot {
    /// An empty slot.
    pub const VACANT: Self = Self {
        request: FlowKey::ZERO,
        reply: FlowKey::ZERO,
        expires: Ticks::new(0),
        rules: 0,
        dest: NONE,
        hops: [NONE; 2],
        l3_delta: 0,
        l4_delta: 0,
        wheel_at: Ticks::new(0),
        flags: Flags(0),
        state: 0,
        in_pkts: 0,
    };

    /// What is the slot's and outlives its tenants, taken over from `slot`: all about records in the wheel.
    #[must_use]
    #[inline]
    pub const fn in_slot_of(self, slot: &Self) -> Self {
        let far = Flags(slot.flags.0 & Flags::FAR.0);
        Self { wheel_at: slot.wheel_at, flags: self.flags.without(Flags::FAR).with(far), ..self }
    }

    /// The key of packets that travel in `direction`.
    #[inline]
    pub fn key(&self, direction: Direction) -> FlowKey {
        match direction {
            Direction::Request => self.request,
            Direction::Reply => self.reply,
        }
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
        sync_state: 0,
        family: 0,
        local: NONE,
        more_in_pkts: 0,
        side: NONE,
        created: Ticks::new(0),
        synced: Ticks::new(0),
        asked: 0,
    };

    /// Takes a new tenant's values, but keeps what is the slot's: a record in the wheel outlives tenants. Reads nothing.
    #[inline]
    pub const fn succeed(&mut self, new: &Self) {
        let Self {
            control,
            controlled,
            timeout,
            wheel_far: _,
            service,
            fwmark,
            daddr,
            dport,
            sync_state,
            family,
            local,
            more_in_pkts,
            side,
            created,
            synced,
            asked,
        } = *new;
        self.control = control;
        self.controlled = controlled;
        self.timeout = timeout;
        self.service = service;
        self.fwmark = fwmark;
        self.daddr = daddr;
        self.dport = dport;
        self.sync_state = sync_state;
        self.family = family;
        self.local = local;
        self.more_in_pkts = more_in_pkts;
        self.side = side;
        self.created = created;
        self.synced = synced;
        self.asked = asked;
    }
}

const _: () = assert!(size_of::<Hot>() == 64 && size_of::<Cold>() == 64);
