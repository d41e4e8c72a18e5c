//! Keys for the clients' side and the servers' side of a director.
//!
//! A card uses only the low nine bits of the hash to choose an entry of its table (or fewer). What
//! input bit n adds to these comes from bits n+23 to n+31 of the key alone. So the right zeros in a
//! key make addresses or ports add nothing to the entry:
//!
//! ```text
//! what is hashed, in bits       0        32         64           80          96
//!                               |  source |  target  | source port| target port|
//! request CIP -> VIP            |  CIP    |  VIP     | its port   | its port   |
//! reply   RIP -> CIP            |  RIP    |  CIP     | its port   | its port   |
//!
//! key of the clients' side      bits 31..55 and 95..103: only CIP and its port add
//! key of the servers' side      bits 63..87 and 111..119: only CIP and its port add, and the same
//! ```
//!
//! The servers' bits are the clients' bits, moved by 32 for the address and by 16 for the port.
//! Neighbouring windows overlap, so no more bits than these 24 and 8 are free. All others are 0.

use crate::steer::Entry;
use crate::steer::RssKey;
use crate::steer::rank::Rank;

/// The free bits of the clients' key: for the address, and for the port.
const ADDR: core::ops::Range<usize> = 31..55;
const PORT: core::ops::Range<usize> = 95..103;
/// The distance of the servers' bits from the clients' bits.
const ADDR_MOVED: usize = 32;
const PORT_MOVED: usize = 16;

/// The keys of a director's ports, for IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// For ports to which clients' packets come.
    pub clients: RssKey,
    /// For ports to which only real servers' packets come.
    pub servers: RssKey,
}

impl KeyPair {
    /// The same symmetric key on all ports.
    pub const SYMMETRIC: Self = Self { clients: RssKey::SYMMETRIC, servers: RssKey::SYMMETRIC };

    /// A pair under which both directions of a NAT connection lead to the same entry: only the
    /// client's address and port add to it. `random` gives one number after the other. Nobody
    /// should guess them: who knows the keys can send everything to one worker.
    ///
    /// Takes only keys under which neighbouring clients, ports and networks are spread evenly:
    /// the low nine bits of an address, its high 16 bits, and the low nine bits of a port each
    /// reach all 512 entries. About one number in four gives such a key.
    pub fn crafted<E>(mut random: impl FnMut() -> Result<u64, E>) -> Result<Self, E> {
        loop {
            let pair = Self::from_bits(random()?);
            if pair.spreads() {
                return Ok(pair);
            }
        }
    }

    /// The pair with these free bits: 24 for the address, then 8 for the port.
    fn from_bits(bits: u64) -> Self {
        let mut pair = Self { clients: RssKey([0; 40]), servers: RssKey([0; 40]) };
        let address = ADDR.map(|at| (at, ADDR_MOVED));
        let port = PORT.map(|at| (at, PORT_MOVED));
        for (nth, (at, moved)) in address.chain(port).enumerate() {
            if bits >> nth & 1 != 0 {
                pair.clients.set(at);
                pair.servers.set(at + moved);
            }
        }
        pair
    }

    /// Whether neighbouring clients, ports and networks are spread over all entries.
    fn spreads(&self) -> bool {
        let full = |inputs| Rank::of(&self.clients, inputs).is_full();
        full(0..16) && full(32 - 9..32) && full(80 - 9..80)
    }

    /// Whether a client's contribution to the entry is the same as sender with the key `clients`
    /// and as receiver with the key `servers`. If so, a reply's entry is the request's XOR a
    /// constant that depends only on service and real server.
    pub fn is_matched(&self) -> bool {
        let (there, back) =
            (|at| Entry::of(self.clients.window(at)), |at| Entry::of(self.servers.window(at)));
        let same = |at, moved| there(at) == back(at + moved);
        (0..32).all(|at| same(at, 32)) && (64..80).all(|at| same(at, 16))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::conn::key::FlowKey;
    use crate::steer::Toeplitz;

    fn crafted(seed: u64) -> KeyPair {
        let mut number = seed;
        KeyPair::crafted(|| {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            Ok::<u64, ()>(number >> 20)
        })
        .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn requests_and_replies_of_a_crafted_pair_lead_to_one_entry(
            seed: u64,
            [client, vip, rip] in any::<[u32; 3]>(),
            [cport, vport, rport] in any::<[u16; 3]>(),
        ) {
            let pair = crafted(seed);
            let [client, vip, rip] = [client, vip, rip].map(Ipv4Addr::from_bits);
            let request = FlowKey::new(6, client, cport, vip, vport);
            let reply = FlowKey::new(6, rip, rport, client, cport);
            let [there, back] =
                [(pair.clients, request), (pair.servers, reply)].map(|(key, of)| Toeplitz::new(&key).hash(of));
            prop_assert_eq!(Entry::of(there), Entry::of(back));
            // Cards with shorter tables agree too.
            for len in [64, 128, 256] {
                prop_assert_eq!(there % len, back % len);
            }
        }
    }

    #[test]
    fn crafted_pairs_spread_neighbours_over_all_entries() {
        for seed in 0..50 {
            let pair = crafted(seed);
            assert!(pair.is_matched());
            let tables = Toeplitz::new(&pair.clients);
            let all = |hashes: &mut dyn Iterator<Item = u32>| {
                let mut counts = [0; 512];
                hashes.for_each(|hash| counts[Entry::of(hash).index()] += 1);
                counts.iter().all(|count| *count == counts[0])
            };
            assert!(all(&mut (0x0a00_0000..0x0a00_0200).map(|n| tables.source(Ipv4Addr::from_bits(n)))));
            assert!(all(&mut (0..=0xffff_u32).map(|n| tables.source(Ipv4Addr::from_bits(n << 16 | 7)))));
            assert!(all(&mut (1024..1536).map(|port| tables.source_port(port))));
        }
    }

    #[test]
    fn a_pair_that_spreads_badly_is_not_taken() {
        assert!(!KeyPair::from_bits(0).spreads());
        assert!(!KeyPair::from_bits(0x00ff_ffff).spreads(), "ports add nothing");
        let mut numbers = [Ok(0), Ok(0x00ff_ffff), Err("no more")].into_iter();
        assert_eq!(KeyPair::crafted(|| numbers.next().unwrap()), Err("no more"));
    }

    #[test]
    fn one_symmetric_key_is_matched_and_an_ordinary_key_is_not() {
        assert!(KeyPair::SYMMETRIC.is_matched());
        let ordinary = KeyPair { clients: RssKey::MICROSOFT, servers: RssKey::MICROSOFT };
        assert!(!ordinary.is_matched());
    }
}
