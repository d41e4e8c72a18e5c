//! The hashes that several schedulers share.

use core::net::IpAddr;

/// An address as one word in host order; the four words of an IPv6 address are XORed.
///
/// Linux: `ip_vs_dh_hashkey`, `ip_vs_sh_hashkey`, `ip_vs_mh_hashkey`.
pub(crate) fn fold(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits(),
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            [96, 64, 32, 0].into_iter().fold(0, |word, shift| word ^ (bits >> shift) as u32)
        }
    }
}

/// One of 256 buckets.
///
/// Linux: `include/linux/hash.h: hash_32` with 8 bits.
pub(crate) const fn bucket(word: u32) -> u8 {
    (word.wrapping_mul(0x61C8_8647) >> 24) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_buckets() {
        assert_eq!(bucket(fold("10.0.0.2".parse().unwrap())), 137);
        assert_eq!(bucket(fold("192.168.1.1".parse().unwrap())), 136);
    }

    #[test]
    fn the_words_of_an_ipv6_address_are_xored() {
        let addr = "1:2:30:40:500:600:7000:8000".parse().unwrap();
        assert_eq!(fold(addr), 0x0001_0002 ^ 0x0030_0040 ^ 0x0500_0600 ^ 0x7000_8000);
    }
}
