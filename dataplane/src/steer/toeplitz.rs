//! The Toeplitz hash by tables. It takes a dozen loads; a card computes it bit by bit.
//!
//! The hash is linear: the hash of a packet is the XOR of the contributions of its bytes. So there
//! is a table for each of the twelve bytes that are hashed. The contribution of an address or a
//! port can be computed by itself.

use core::net::Ipv4Addr;
use core::net::SocketAddrV4;
use std::boxed::Box;

use crate::conn::key::FlowKey;
use crate::steer::RssKey;

/// Where the parts of an IPv4 packet begin in the input of the hash, in bytes.
const SOURCE: usize = 0;
const TARGET: usize = 4;
const SOURCE_PORT: usize = 8;
const TARGET_PORT: usize = 10;
/// How many bytes are hashed: two addresses and two ports.
const INPUT: usize = 12;

/// The hash of IPv4 packets with one key. 12 KB.
#[derive(Clone)]
pub struct Toeplitz(Box<[[u32; 256]; INPUT]>);

impl Toeplitz {
    /// The tables of `key`.
    pub fn new(key: &RssKey) -> Self {
        let mut tables = Box::new([[0; 256]; INPUT]);
        for (place, table) in tables.iter_mut().enumerate() {
            let bits: [u32; 8] = core::array::from_fn(|bit| key.window(8 * place + 7 - bit));
            for value in 1..256_usize {
                // The contribution of the value without its lowest set bit, and that of this bit.
                table[value] = table[value & (value - 1)] ^ bits[value.trailing_zeros() as usize];
            }
        }
        Self(tables)
    }

    /// The hash of addresses and ports of a packet with `key`.
    #[inline]
    pub fn hash(&self, key: FlowKey) -> u32 {
        self.addrs(key) ^ self.part(SOURCE_PORT, key.wire_ports())
    }

    /// The hash of the addresses alone.
    #[inline]
    pub fn addrs(&self, key: FlowKey) -> u32 {
        self.part(SOURCE, key.wire_addrs())
    }

    /// The contribution of a source address.
    #[inline]
    pub fn source(&self, addr: Ipv4Addr) -> u32 {
        self.part(SOURCE, addr.octets())
    }

    /// The contribution of a source port (host byte order).
    #[inline]
    pub fn source_port(&self, port: u16) -> u32 {
        self.part(SOURCE_PORT, port.to_be_bytes())
    }

    /// The contribution of a destination address.
    #[inline]
    pub fn target(&self, addr: Ipv4Addr) -> u32 {
        self.part(TARGET, addr.octets())
    }

    /// The contribution of a destination port (host byte order).
    #[inline]
    pub fn target_port(&self, port: u16) -> u32 {
        self.part(TARGET_PORT, port.to_be_bytes())
    }

    /// The contribution of the sender: its address and port.
    #[inline]
    pub fn from(&self, end: SocketAddrV4) -> u32 {
        self.source(*end.ip()) ^ self.source_port(end.port())
    }

    /// The contribution of the receiver: its address and port.
    #[inline]
    pub fn to(&self, end: SocketAddrV4) -> u32 {
        self.target(*end.ip()) ^ self.target_port(end.port())
    }

    /// The contribution of `bytes` at `place`. All places are constants, so no bound is checked.
    #[inline(always)]
    fn part<const N: usize>(&self, place: usize, bytes: [u8; N]) -> u32 {
        let mut hash = 0;
        let mut nth = 0;
        while nth < N {
            hash ^= self.0[place + nth][usize::from(bytes[nth])];
            nth += 1;
        }
        hash
    }
}

impl core::fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Toeplitz")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end([a, b, c, d]: [u8; 4], port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port)
    }

    fn key(from: SocketAddrV4, to: SocketAddrV4) -> FlowKey {
        FlowKey::new(6, *from.ip(), from.port(), *to.ip(), to.port())
    }

    /// The table for IPv4 in Microsoft's "Verifying the RSS Hash Calculation".
    #[test]
    fn the_tables_give_the_hashes_that_microsoft_publishes() {
        let rows = [
            (end([66, 9, 149, 187], 2794), end([161, 142, 100, 80], 1766), 0x323e_8fc2, 0x51cc_c178),
            (end([199, 92, 111, 2], 14230), end([65, 69, 140, 83], 4739), 0xd718_262a, 0xc626_b0ea),
            (end([24, 19, 198, 95], 12898), end([12, 22, 207, 184], 38024), 0xd2d0_a5de, 0x5c2b_394a),
            (end([38, 27, 205, 30], 48228), end([209, 142, 163, 6], 2217), 0x8298_9176, 0xafc7_327f),
            (end([153, 39, 163, 191], 44251), end([202, 188, 127, 2], 1303), 0x5d18_09c5, 0x10e8_28a2),
        ];
        let tables = Toeplitz::new(&RssKey::MICROSOFT);
        for (from, to, alone, with_ports) in rows {
            assert_eq!((tables.addrs(key(from, to)), tables.hash(key(from, to))), (alone, with_ports));
        }
    }

    /// Results of `rte_softrss` of DPDK 22.11: with the symmetric key, then with a pair of keys for
    /// the two sides of a director.
    #[test]
    fn the_tables_give_the_hashes_that_dpdk_computes() {
        let key_of = |bytes: &[(usize, u8)]| {
            let mut key = RssKey([0; 40]);
            bytes.iter().for_each(|(at, byte)| key.0[*at] = *byte);
            Toeplitz::new(&key)
        };
        let tables = [
            Toeplitz::new(&RssKey::SYMMETRIC),
            key_of(&[(4, 0xdd), (5, 0x30), (6, 0x22), (12, 0x8c)]),
            key_of(&[(8, 0xdd), (9, 0x30), (10, 0x22), (14, 0x8c)]),
        ];
        let rows = [
            (
                end([66, 9, 149, 187], 2794),
                end([161, 142, 100, 80], 1766),
                [0x9fcc_9fcc, 0xe301_018c, 0xc20e_396f],
            ),
            (
                end([199, 92, 111, 2], 14230),
                end([65, 69, 140, 83], 4739),
                [0x60d7_60d7, 0x47df_6444, 0x9c3f_19a2],
            ),
            (
                end([192, 168, 7, 2], 50_000),
                end([10, 0, 0, 100], 80),
                [0xb6ef_b6ef, 0xad7c_d1fa, 0x4b75_47ce],
            ),
        ];
        for (from, to, hashes) in rows {
            assert_eq!(tables.each_ref().map(|tables| tables.hash(key(from, to))), hashes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_tables_agree_with_the_definition_of_the_hash(
            own in any::<[u8; 40]>(),
            addrs in any::<[u8; 8]>(),
            ports in any::<[u8; 4]>(),
        ) {
            for key in [RssKey(own), RssKey::SYMMETRIC, RssKey::MICROSOFT] {
                let (tables, packet) = (Toeplitz::new(&key), FlowKey::from_wire(addrs, ports, 6));
                let mut input = [0; INPUT];
                input[..8].copy_from_slice(&addrs);
                input[8..].copy_from_slice(&ports);
                prop_assert_eq!(tables.hash(packet), key.hash(&input));
                prop_assert_eq!(tables.addrs(packet), key.hash(&addrs));
                let from = SocketAddrV4::new(packet.src(), packet.sport());
                let to = SocketAddrV4::new(packet.dst(), packet.dport());
                prop_assert_eq!(tables.from(from) ^ tables.to(to), tables.hash(packet));
            }
        }
    }
}
