//! What the owner of a connection depends on.

use core::net::Ipv4Addr;

use crate::steer::Entry;

/// Which packets of clients must share a worker.
///
/// Ordered by coarseness with [`Self::united`]: whatever shares a worker by the finer one shares it
/// by the coarser one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerBy {
    /// Those of one client address and port: a connection.
    Tuple,
    /// Those of all clients that have the same bits of this netmask: a worker has all of them and so
    /// their persistence template. 255.255.255.255 is one client.
    Client(Ipv4Addr),
}

impl OwnerBy {
    /// Of each client address by itself.
    pub const CLIENT: Self = Self::Client(Ipv4Addr::BROADCAST);

    /// The finest that is as coarse as both.
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
    /// Moves the clients of a service to other entries. It is what VIP and port add to a request's
    /// hash, so that requests need no correction.
    pub(super) anchor: Entry,
}

impl Rule {
    /// What the owner depends on.
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
