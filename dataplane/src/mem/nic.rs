//! A network card in memory: how it spreads frames over its receive queues, and what else it can
//! do.
//!
//! The model only chooses the queue and holds no frames. Receive queue n belongs to worker n;
//! frames wait in that worker's [`crate::mem::MemIo`].

use std::vec::Vec;

use zerocopy::FromBytes;

use crate::io::RxChecksum;
use crate::steer::Rss;
use crate::steer::RssKey;
use crate::wire::checksum;
use crate::wire::ether;
use crate::wire::ether::ETHER_LEN;
use crate::wire::ether::EtherHeader;
use crate::wire::ipv4::FRAGMENT_MASK;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::l4;

/// How many entries a card's redirection table has by default. Many real cards have as many.
const TABLE_LEN: usize = 128;

/// The abilities of a card. By default it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// How many receive queues it has besides the one that every card has.
    pub more_queues: u16,
    /// How it spreads frames over its queues.
    pub rss: Rss,
    /// Whether it hashes the ports of TCP and UDP too, or only the addresses.
    pub hashes_ports: bool,
    /// Whether it checks the checksum of IPv4 headers.
    pub checks_l3: bool,
}

impl Abilities {
    /// All abilities: a queue for each of `workers` workers, any key, ports hashed, checksums
    /// checked.
    pub const fn all(workers: u16) -> Self {
        let more_queues = workers.saturating_sub(1);
        Self { more_queues, rss: Rss::Settable, hashes_ports: true, checks_l3: true }
    }
}

/// A started card.
#[derive(Clone, Debug)]
pub struct Nic {
    abilities: Abilities,
    key: Option<RssKey>,
    /// The receive queue, indexed by the low bits of the hash.
    table: Vec<u16>,
}

impl Nic {
    /// Starts a card with a receive queue for each of `workers` workers, or with as many as it has.
    /// If its key can be set, it hashes with `key`.
    pub fn start(abilities: Abilities, workers: u16, key: RssKey) -> Self {
        let queues = workers.clamp(1, abilities.more_queues.saturating_add(1));
        let key = match abilities.rss {
            Rss::None => None,
            Rss::Fixed(own) => Some(own),
            Rss::Settable => Some(key),
        };
        Self { abilities, key, table: (0..TABLE_LEN).map(|entry| entry as u16 % queues).collect() }
    }

    /// With another redirection table: the receive queue of each entry. Its length is a power of
    /// two, and no queue is beyond those that the card has.
    #[must_use]
    pub fn with_table(mut self, queues: impl IntoIterator<Item = u16>) -> Self {
        self.table.clear();
        self.table.extend(queues);
        let most = self.abilities.more_queues;
        assert!(self.table.len().is_power_of_two(), "a table of {} entries", self.table.len());
        assert!(self.table.iter().all(|queue| *queue <= most), "queues to {most}, table {:?}", self.table);
        self
    }

    /// The receive queue to which `frame` comes.
    pub fn queue(&self, frame: &[u8]) -> u16 {
        self.hash(frame).map_or(0, |hash| self.table[hash as usize % self.table.len()])
    }

    /// The hash of `frame`, if the card hashes frames of its kind.
    pub fn hash(&self, frame: &[u8]) -> Option<u32> {
        let (key, header) = self.key.zip(ipv4(frame))?;
        let mut input = [0; 12];
        input[..8].copy_from_slice(&header.addrs);
        Some(match self.ports(frame, header) {
            Some(ports) => {
                input[8..].copy_from_slice(ports);
                key.hash(&input)
            }
            None => key.hash(&input[..8]),
        })
    }

    /// What the card says about the checksum of the frame's IPv4 header.
    pub fn l3_checksum(&self, frame: &[u8]) -> RxChecksum {
        let header = ipv4(frame).and_then(|header| frame.get(ETHER_LEN..)?.get(..header.header_len()));
        match header {
            Some(header) if self.abilities.checks_l3 && checksum::sum(header) == 0xffff => RxChecksum::Good,
            Some(_) if self.abilities.checks_l3 => RxChecksum::Bad,
            _ => RxChecksum::Unknown,
        }
    }

    /// The ports that the card hashes: those of TCP and UDP, but not of fragments.
    fn ports<'a>(&self, frame: &'a [u8], header: &Ipv4Header) -> Option<&'a [u8]> {
        let whole = header.fragment.get() & FRAGMENT_MASK == 0;
        let has_ports = matches!(header.protocol, l4::TCP | l4::UDP);
        let start = ETHER_LEN + header.header_len();
        frame.get(start..start + 4).filter(|_| self.abilities.hashes_ports && whole && has_ports)
    }
}

/// The IPv4 header of a frame. `None` for other frames, which the card does not hash.
fn ipv4(frame: &[u8]) -> Option<&Ipv4Header> {
    let (ether, packet) = EtherHeader::ref_from_prefix(frame).ok()?;
    let (header, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
    (ether.ethertype.get() == ether::IPV4).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP frame with these addresses and ports, source first.
    fn frame(src: [u8; 4], dst: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
        let mut frame = vec![0; ETHER_LEN + 40];
        frame[12..14].copy_from_slice(&ether::IPV4.to_be_bytes());
        frame[14] = 0x45;
        frame[23] = l4::TCP;
        frame[26..30].copy_from_slice(&src);
        frame[30..34].copy_from_slice(&dst);
        frame[34..36].copy_from_slice(&ports[0].to_be_bytes());
        frame[36..38].copy_from_slice(&ports[1].to_be_bytes());
        let sum = checksum::compute(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum);
        frame
    }

    /// Frames of many clients, each with its answer.
    fn conversations() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        (0..1000_u16).map(|n| {
            let (client, vip) = ([192, 168, n.to_be_bytes()[0], n.to_be_bytes()[1]], [10, 0, 0, 100]);
            let port = 1024 + n.wrapping_mul(40_503) % 60_000;
            (frame(client, vip, [port, 80]), frame(vip, client, [80, port]))
        })
    }

    fn nic(abilities: Abilities, workers: u16) -> Nic {
        Nic::start(abilities, workers, RssKey::SYMMETRIC)
    }

    /// Three rows of the table for IPv4 in Microsoft's "Verifying the RSS Hash Calculation".
    #[test]
    fn the_hash_is_the_toeplitz_hash() {
        let rows = [
            ([66, 9, 149, 187], [161, 142, 100, 80], [2794, 1766], 0x323e_8fc2, 0x51cc_c178),
            ([199, 92, 111, 2], [65, 69, 140, 83], [14230, 4739], 0xd718_262a, 0xc626_b0ea),
            ([24, 19, 198, 95], [12, 22, 207, 184], [12898, 38024], 0xd2d0_a5de, 0x5c2b_394a),
        ];
        for (src, dst, ports, alone, with_ports) in rows {
            let frame = frame(src, dst, ports);
            assert_eq!(RssKey::MICROSOFT.hash(&frame[26..34]), alone);
            assert_eq!(RssKey::MICROSOFT.hash(&frame[26..38]), with_ports);
        }
    }

    #[test]
    fn a_symmetric_key_brings_requests_and_answers_to_the_same_queue() {
        for workers in [1, 2, 5] {
            let nic = nic(Abilities::all(workers), workers);
            let mut counts = vec![0; usize::from(workers)];
            for (there, back) in conversations() {
                assert_eq!(nic.queue(&there), nic.queue(&back));
                counts[usize::from(nic.queue(&there))] += 1;
            }
            let fair = 1000 / usize::from(workers);
            assert!(counts.iter().all(|count| (fair / 2..=fair * 2).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn a_fixed_key_cannot_be_set_and_a_card_without_a_key_uses_one_queue() {
        let apart = |nic: &Nic| conversations().filter(|(a, b)| nic.queue(a) != nic.queue(b)).count();
        let fixed = Abilities { rss: Rss::Fixed(RssKey::MICROSOFT), ..Abilities::all(5) };
        assert!(apart(&nic(fixed, 5)) > 500, "the card took the symmetric key");
        let none = nic(Abilities { rss: Rss::None, ..Abilities::all(5) }, 5);
        assert!(conversations().all(|(there, back)| (none.queue(&there), none.queue(&back)) == (0, 0)));
    }

    #[test]
    fn a_card_with_fewer_queues_than_workers_uses_all_its_queues() {
        let nic = nic(Abilities { more_queues: 1, ..Abilities::all(5) }, 5);
        let used: Vec<u16> = conversations().map(|(there, _)| nic.queue(&there)).collect();
        assert_eq!(used.iter().max(), Some(&1));
    }

    #[test]
    fn ports_are_not_hashed_in_fragments_and_on_cards_that_cannot_read_them() {
        let [one, other] = [[5000, 80], [5001, 80]].map(|ports| frame([1, 2, 3, 4], [10, 0, 0, 100], ports));
        let all = nic(Abilities::all(128), 128);
        assert_ne!(all.queue(&one), all.queue(&other));
        let simple = nic(Abilities { hashes_ports: false, ..Abilities::all(128) }, 128);
        assert_eq!(simple.queue(&one), simple.queue(&other));
        let [one, other] = [one, other].map(|mut frame| {
            frame[20] = 0x20; // more fragments follow
            frame
        });
        assert_eq!(all.queue(&one), all.queue(&other));
    }

    #[test]
    fn frames_that_are_not_ipv4_come_to_the_first_queue() {
        let nic = nic(Abilities::all(5), 5);
        let mut arp = frame([1, 2, 3, 4], [5, 6, 7, 8], [1, 2]);
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!((nic.queue(&arp), nic.queue(&[0xff; 20])), (0, 0));
        assert_eq!(nic.l3_checksum(&arp), RxChecksum::Unknown);
    }
}
