//! Addresses of real servers with NAT or FULLNAT. Packets from them may be replies that must be
//! rewritten.
//!
//! Each address has a count, because several destinations may have the same address. The addresses
//! are in shards that are shared by reference, like services. A deleted destination counts until
//! its slot is freed, because its connections still live.

use core::net::Ipv4Addr;
use std::sync::Arc;
use std::vec::Vec;

use hashbrown::HashMap;

use crate::snapshot::dest::DestInfo;

/// How many shards there are; a power of two.
const SHARDS: usize = 256;

/// The addresses of real servers, each with its number of destinations.
#[derive(Clone, Debug)]
pub struct Servers(Vec<Arc<HashMap<Ipv4Addr, u32>>>);

impl Default for Servers {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }
}

impl Servers {
    /// Whether a destination with NAT or FULLNAT has this address.
    pub fn contains(&self, addr: Ipv4Addr) -> bool {
        self.0[shard(addr)].contains_key(&addr)
    }

    /// Notes that a destination slot held `old` and now holds `new`.
    pub(super) fn follow(&mut self, old: &DestInfo, new: &DestInfo) {
        let addr = |info: &DestInfo| {
            Some(info.addr).filter(|addr| info.method.is_translated() && !addr.is_unspecified())
        };
        let (old, new) = (addr(old), addr(new));
        if old == new {
            return;
        }
        if let Some(addr) = new {
            *Arc::make_mut(&mut self.0[shard(addr)]).entry(addr).or_insert(0) += 1;
        }
        if let Some(addr) = old {
            let shard = Arc::make_mut(&mut self.0[shard(addr)]);
            if let Some(count) = shard.get_mut(&addr) {
                *count -= 1;
                if *count == 0 {
                    shard.remove(&addr);
                }
            }
        }
    }
}

const fn shard(addr: Ipv4Addr) -> usize {
    (addr.to_bits().wrapping_mul(0x9e37_79b1) >> 24) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::dest::Method;

    #[test]
    fn an_address_is_known_while_any_translated_destination_has_it() {
        let (rip, mut servers) = (Ipv4Addr::new(10, 0, 1, 11), Servers::default());
        let none = DestInfo::default();
        let dest = |method| DestInfo { addr: rip, method, available: true, ..none };
        let [nat, fullnat, direct] = [Method::Masquerade, Method::FullNat, Method::DirectRoute].map(dest);
        servers.follow(&none, &direct);
        assert!(!servers.contains(rip));
        servers.follow(&none, &nat);
        servers.follow(&direct, &fullnat);
        servers.follow(&nat, &DestInfo { available: false, ..nat });
        servers.follow(&fullnat, &none);
        assert!(servers.contains(rip), "the deleted destination may still have connections");
        servers.follow(&nat, &none);
        assert!(!servers.contains(rip));
    }
}
