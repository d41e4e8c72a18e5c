//! A destination as schedulers see it.

use core::net::IpAddr;

/// The stable slot of a destination, unique in the director for as long as any connection names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestId(u32);

impl DestId {
    /// The slot numbered `index`.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The slot's number, for indexing per-destination arrays.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number as stored in a connection.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// One destination of a service as schedulers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dest {
    /// Which destination.
    pub id: DestId,
    /// RIP; enters the `mh` table.
    pub addr: IpAddr,
    /// Real-server port, host order; enters the `mh` table.
    pub port: u16,
    /// 0 (quiesced) ..= 2^31-1.
    pub weight: i32,
    /// The last weight that was not 0; only `mh` reads it.
    ///
    /// Linux: `net/netfilter/ipvs/ip_vs_ctl.c: __ip_vs_update_dest`.
    pub last_weight: i32,
}

impl Dest {
    /// The weight as an unsigned number, for arithmetic; a plan holds no negative weight.
    pub(crate) const fn share(&self) -> u32 {
        if self.weight > 0 { self.weight.unsigned_abs() } else { 0 }
    }
}
