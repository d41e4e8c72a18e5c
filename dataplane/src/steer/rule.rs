//! The rule of a service: what the owner of its connections depends on.

use core::net::Ipv4Addr;

use crate::steer::Entry;

/// Which packets of clients must share a worker.
///
/// [`Self::united`] gives the coarser one: packets that share a worker by the finer one share it by
/// the coarser one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerBy {
    /// Packets of one client address and port: a connection.
    Tuple,
    /// Packets of all clients whose addresses are equal in the bits of this netmask. So one worker
    /// has all of these clients and their persistence template. 255.255.255.255 is one client.
    Client(Ipv4Addr),
}

impl OwnerBy {
    /// Packets of one client address.
    pub const CLIENT: Self = Self::Client(Ipv4Addr::BROADCAST);

    /// The finest one that is at least as coarse as both.
    #[must_use]
    pub const fn united(self, other: Self) -> Self {
        match (self, other) {
            (Self::Tuple, by) | (by, Self::Tuple) => by,
            (Self::Client(one), Self::Client(two)) => {
                Self::Client(Ipv4Addr::from_bits(one.to_bits() & two.to_bits()))
            }
        }
    }
}

/// How the owner of a packet is found, once its service or its real server is known.
/// [`crate::steer::Groups`] makes one for each service and for each real server by NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) by: OwnerBy,
    /// Moves the clients of a service to other entries, by the contribution of VIP and port to a
    /// request's hash. So requests need no correction.
    pub(super) anchor: Entry,
}

impl Rule {
    /// The packets that must share a worker.
    pub const fn by(self) -> OwnerBy {
        self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarser_wins() {
        let net = OwnerBy::Client(Ipv4Addr::new(255, 255, 255, 0));
        let other = OwnerBy::Client(Ipv4Addr::new(255, 0, 255, 255));
        assert_eq!(OwnerBy::Tuple.united(OwnerBy::Tuple), OwnerBy::Tuple);
        for (one, two, both) in [
            (OwnerBy::Tuple, net, net),
            (OwnerBy::CLIENT, net, net),
            (OwnerBy::Tuple, OwnerBy::CLIENT, OwnerBy::CLIENT),
            (net, other, OwnerBy::Client(Ipv4Addr::new(255, 0, 255, 0))),
        ] {
            assert_eq!((one.united(two), two.united(one)), (both, both));
        }
    }
}
