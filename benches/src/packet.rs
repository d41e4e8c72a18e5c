//! Packets of clients, and answers of real servers.

use core::net::Ipv4Addr;

use dataplane::conn::key::FlowKey;
use dataplane::snapshot::dest::Method;
use dataplane::wire::ether::Mac;
use dataplane::wire::l4;

/// The director's MAC on both ports.
pub const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// The port of every service.
pub const PORT: u16 = 80;

/// The smallest Ethernet packet.
pub type Packet = [u8; 60];

/// A client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The client's number; its address and port follow from it.
    pub client: u32,
    /// The method of the client's service.
    pub method: Method,
    /// TCP or UDP.
    pub protocol: u8,
}

impl Flow {
    /// The key of the client's packets.
    pub fn key(self) -> FlowKey {
        let client = Ipv4Addr::from_bits(0x6440_0001 + self.client / 50_000);
        let port = 1024 + (self.client % 50_000) as u16;
        FlowKey::new(self.protocol, client, port, vip(self.method), PORT)
    }

    /// A packet of the client.
    pub fn packet(self, flags: u8) -> Packet {
        packet(self.key(), flags)
    }
}

/// The address of the services that forward by `method`.
pub const fn vip(method: Method) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + method as u8)
}

/// A packet with this key. Its checksums are wrong; nobody checks them.
pub fn packet(key: FlowKey, flags: u8) -> Packet {
    let mut bytes = [0; 60];
    bytes[..6].copy_from_slice(&MAC.0);
    bytes[12..18].copy_from_slice(&[8, 0, 0x45, 0, 0, 46]);
    bytes[20] = 0x40;
    bytes[22..24].copy_from_slice(&[64, key.protocol()]);
    bytes[26..34].copy_from_slice(&key.wire_addrs());
    bytes[34..38].copy_from_slice(&key.wire_ports());
    if key.protocol() == l4::TCP {
        bytes[46..48].copy_from_slice(&[0x50, flags]);
    } else {
        // A checksum of 0 would not be adjusted (RFC 768).
        bytes[38..42].copy_from_slice(&[0, 26, 1, 1]);
    }
    bytes
}

/// Turns a packet for a real server into the server's answer. Returns `false` if the answer does
/// not pass the director.
pub fn turn_round(bytes: &mut [u8], flags: u8) -> bool {
    // Only for NAT and FULLNAT: other packets have another header in front, or the VIP as their
    // destination.
    let translated = bytes.len() == 60 && bytes[30] == 10;
    if translated {
        bytes[..6].copy_from_slice(&MAC.0);
        bytes[26..34].rotate_left(4);
        bytes[34..38].rotate_left(2);
        if bytes[23] == l4::TCP {
            bytes[47] = flags;
        }
    }
    translated
}
