//! The owner of a packet.
//!
//! Only the client decides. The contribution of its address and port to the hash chooses the entry,
//! and a constant of the service ([`Rule`]) moves it. Packets in both directions of a connection
//! have the client's address and port, so both lead to the same entry.
//!
//! FULLNAT's replies do not have the client's address. For these the whole reply chooses the entry.
//! The local port is chosen so that the entry is one of the owner's ([`crate::steer::LocalPorts`]).

use core::net::Ipv4Addr;
use core::net::SocketAddrV4;

use crate::conn::entry::Direction;
use crate::conn::key::FlowKey;
use crate::steer::Entry;
use crate::steer::KeyPair;
use crate::steer::OwnerBy;
use crate::steer::Rule;
use crate::steer::Table;
use crate::steer::Toeplitz;
use crate::steer::WorkerId;

/// Finds the owner of every packet. All workers share it, and it never changes. 25 KB.
#[derive(Clone, Debug)]
pub struct Steering {
    /// The hash with the key of the clients' side.
    clients: Toeplitz,
    /// The hash with the key of the servers' side.
    servers: Toeplitz,
    /// [`KeyPair::is_matched`].
    matched: bool,
    /// Whether cards hash ports too, or only addresses.
    hashes_ports: bool,
    table: Table,
}

impl Steering {
    /// Owners by `table`, for cards that hash with `keys`: addresses and ports, or only addresses.
    pub fn new(keys: &KeyPair, hashes_ports: bool, table: Table) -> Self {
        let [clients, servers] = [keys.clients, keys.servers].map(|key| Toeplitz::new(&key));
        Self { clients, servers, matched: keys.is_matched(), hashes_ports, table }
    }

    /// The owner of a packet that goes in `direction`. `rule` is the rule of its service or real
    /// server. For FULLNAT's replies use [`Self::owner_of_local`].
    #[inline]
    pub fn owner(&self, packet: FlowKey, direction: Direction, rule: Rule) -> WorkerId {
        self.table.worker(self.entry(packet, direction, rule))
    }

    /// The entry that leads to [`Self::owner`].
    #[inline]
    pub fn entry(&self, packet: FlowKey, direction: Direction, rule: Rule) -> Entry {
        let (addr, port) = match direction {
            Direction::Request => (packet.src(), packet.sport()),
            Direction::Reply => (packet.dst(), packet.dport()),
        };
        let client = match rule.by {
            OwnerBy::Tuple => self.clients.source(addr) ^ self.clients.source_port(port),
            OwnerBy::Client(netmask) => {
                self.clients.source(Ipv4Addr::from_bits(addr.to_bits() & netmask.to_bits()))
            }
        };
        Entry::of(client).plus(rule.anchor)
    }

    /// The owner of a packet from a real server to a local address (FULLNAT).
    #[inline]
    pub fn owner_of_local(&self, reply: FlowKey) -> WorkerId {
        self.table.worker(Entry::of(self.servers.hash(reply)))
    }

    /// The contribution of everything except the local port to the entry of FULLNAT's replies from
    /// `server` to the local address `local`, for [`crate::steer::LocalPorts`].
    #[inline]
    pub fn apart(&self, server: SocketAddrV4, local: Ipv4Addr) -> Entry {
        Entry::of(self.servers.from(server) ^ self.servers.target(local))
    }

    /// The owner of a packet whose hash the card gives. One of the following two functions gives
    /// the difference between its entry and the owner's. This saves the computation of a hash.
    #[inline]
    pub fn owner_by_hash(&self, hash: u32, difference: Entry) -> WorkerId {
        self.table.worker(Entry::of(hash).plus(difference))
    }

    /// For requests to `service`, which has `rule`: the difference between the entry that a card
    /// under the clients' key chooses and the owner's. [`Entry::ZERO`] unless the service shares a
    /// real server with others. `None` if the difference is not the same for all clients.
    pub fn request_difference(&self, service: SocketAddrV4, rule: Rule) -> Option<Entry> {
        self.is_hashed(rule.by).then(|| self.anchor(service).plus(rule.anchor))
    }

    /// For NAT replies from `server`, which has `rule`, and, with the service in place of the real
    /// server, for replies by direct routing: the difference between the entry that a card under
    /// the servers' key chooses and the owner's. `None` if it is not the same for all clients.
    pub fn reply_difference(&self, server: SocketAddrV4, rule: Rule) -> Option<Entry> {
        let ports = if self.hashes_ports { self.servers.source_port(server.port()) } else { 0 };
        let own = Entry::of(self.servers.source(*server.ip()) ^ ports);
        (self.matched && self.is_hashed(rule.by)).then(|| own.plus(rule.anchor))
    }

    /// The table of owners.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The contribution of `service` to the entries of its requests.
    pub(super) fn anchor(&self, service: SocketAddrV4) -> Entry {
        let ports = if self.hashes_ports { self.clients.target_port(service.port()) } else { 0 };
        Entry::of(self.clients.target(*service.ip()) ^ ports)
    }

    /// The finest [`OwnerBy`] that the cards can distinguish.
    pub(super) fn finest(&self) -> OwnerBy {
        if self.hashes_ports { OwnerBy::Tuple } else { OwnerBy::CLIENT }
    }

    /// Whether a card hashes exactly the values on which the owner depends.
    fn is_hashed(&self, by: OwnerBy) -> bool {
        by == self.finest()
    }
}
