//! The order of listings: ipvsadm's, including its flaw.
//!
//! ipvsadm compares 32-bit words by the sign of their wrapped difference. Words that are 2^31 or
//! more apart compare the wrong way round. Then the comparison is not an order, and the result
//! depends on the steps of the sort. So this is the merge sort of the C library, step by step.

use std::net::IpAddr;

use model::{DestKey, Family, ServiceKey};

/// Sorts like `qsort` of the GNU C library: top down, with the left half the smaller one. The left
/// element comes first if the comparison is not positive.
pub(super) fn merge_sort<T: Clone>(items: &mut [T], compare: &impl Fn(&T, &T) -> i32) {
    if items.len() < 2 {
        return;
    }
    let middle = items.len() / 2;
    merge_sort(&mut items[..middle], compare);
    merge_sort(&mut items[middle..], compare);
    let (mut left, mut right) = (0, middle);
    let mut merged = Vec::with_capacity(items.len());
    while left < middle && right < items.len() {
        let from = if compare(&items[left], &items[right]) <= 0 { &mut left } else { &mut right };
        merged.push(items[*from].clone());
        *from += 1;
    }
    merged.extend_from_slice(&items[left..middle]);
    merged.extend_from_slice(&items[right..]);
    items.clone_from_slice(&merged);
}

/// Compares marks, then families, protocols, addresses and ports.
pub(super) fn compare_services(a: &ServiceKey, b: &ServiceKey) -> i32 {
    let parts = |key: &ServiceKey| match *key {
        ServiceKey::Mark { mark, .. } => (mark, IpAddr::from([0, 0, 0, 0])),
        ServiceKey::Address { addr, .. } => (0, addr),
    };
    let ((mark_a, addr_a), (mark_b, addr_b)) = (parts(a), parts(b));
    let family = |key: &ServiceKey| i32::from(key.family() == Family::V6);
    let number = |key: &ServiceKey| i32::from(key.protocol().number());
    first_of([
        difference(mark_a, mark_b),
        family(a) - family(b),
        number(a) - number(b),
        compare_addresses(addr_a, addr_b),
        i32::from(a.port()) - i32::from(b.port()),
    ])
}

/// Compares addresses of any family, then ports.
pub(super) fn compare_destinations(a: &DestKey, b: &DestKey) -> i32 {
    first_of([compare_addresses(a.addr, b.addr), i32::from(a.port) - i32::from(b.port)])
}

fn compare_addresses(a: IpAddr, b: IpAddr) -> i32 {
    let (a, b) = (words(a), words(b));
    first_of([0, 1, 2, 3].map(|index| difference(a[index], b[index])))
}

/// An IPv4 address is the first word.
fn words(addr: IpAddr) -> [u32; 4] {
    match addr {
        IpAddr::V4(addr) => [addr.to_bits(), 0, 0, 0],
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

fn first_of<const N: usize>(differences: [i32; N]) -> i32 {
    differences.into_iter().find(|difference| *difference != 0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(keys: &[(&str, u16)]) -> Vec<(String, u16)> {
        let mut keys: Vec<_> =
            keys.iter().map(|(addr, port)| DestKey::new(addr.parse().unwrap(), *port)).collect();
        merge_sort(&mut keys, &compare_destinations);
        keys.into_iter().map(|key| (key.addr.to_string(), key.port)).collect()
    }

    #[test]
    fn near_addresses_sort_by_value_then_port() {
        let keys = sorted(&[("10.0.1.11", 1), ("9.255.255.255", 80), ("10.0.1.2", 80), ("10.0.1.2", 0)]);
        let listed = [("9.255.255.255", 80), ("10.0.1.2", 0), ("10.0.1.2", 80), ("10.0.1.11", 1)];
        assert_eq!(keys, listed.map(|(addr, port)| (addr.to_owned(), port)));
    }

    #[test]
    fn far_addresses_come_out_as_ipvsadm_lists_them() {
        // `ipvsadm -Ln --nosort` and `ipvsadm -Ln` of the same service.
        let table = [
            ("10.0.1.26", 80),
            ("10.0.1.25", 80),
            ("10.0.1.24", 80),
            ("10.0.1.23", 80),
            ("10.0.1.22", 80),
            ("10.0.1.21", 80),
            ("10.0.1.20", 80),
            ("::1", 80),
            ("64:ff9b::1", 80),
            ("2001:db8::5", 80),
            ("2001:db8::1", 80),
            ("10.0.1.17", 80),
            ("10.0.1.16", 80),
            ("10.0.1.15", 80),
            ("10.0.1.14", 80),
            ("10.0.1.13", 80),
            ("10.0.1.12", 80),
            ("10.0.1.10", 80),
            ("10.0.1.8", 80),
            ("10.0.1.7", 80),
            ("240.0.0.1", 80),
            ("127.0.0.1", 81),
            ("127.0.0.1", 80),
            ("10.0.1.5", 0),
            ("10.0.1.3", 80),
            ("10.0.1.2", 0),
            ("10.0.1.1", 81),
            ("10.0.1.1", 80),
        ];
        let listed = [
            ("240.0.0.1", 80),
            ("::1", 80),
            ("64:ff9b::1", 80),
            ("10.0.1.1", 80),
            ("10.0.1.1", 81),
            ("10.0.1.2", 0),
            ("10.0.1.3", 80),
            ("10.0.1.5", 0),
            ("10.0.1.7", 80),
            ("10.0.1.8", 80),
            ("10.0.1.10", 80),
            ("10.0.1.12", 80),
            ("10.0.1.13", 80),
            ("10.0.1.14", 80),
            ("10.0.1.15", 80),
            ("10.0.1.16", 80),
            ("10.0.1.17", 80),
            ("10.0.1.20", 80),
            ("10.0.1.21", 80),
            ("10.0.1.22", 80),
            ("10.0.1.23", 80),
            ("10.0.1.24", 80),
            ("10.0.1.25", 80),
            ("10.0.1.26", 80),
            ("2001:db8::1", 80),
            ("2001:db8::5", 80),
            ("127.0.0.1", 80),
            ("127.0.0.1", 81),
        ];
        assert_eq!(sorted(&table), listed.map(|(addr, port)| (addr.to_owned(), port)));
    }

    #[test]
    fn services_sort_by_mark_family_protocol_address_port() {
        let key =
            |protocol, addr: &str, port| ServiceKey::Address { protocol, addr: addr.parse().unwrap(), port };
        let mark = |mark, family| ServiceKey::Mark { mark, family };
        use model::Protocol::{Sctp, Tcp, Udp};
        let listed = [
            mark(4_000_000_000, Family::V4),
            key(Tcp, "10.0.0.1", 80),
            key(Tcp, "10.0.0.1", 443),
            key(Tcp, "10.0.0.2", 22),
            key(Udp, "10.0.0.1", 53),
            key(Sctp, "10.0.0.1", 132),
            key(Tcp, "fd00::1", 80),
            key(Tcp, "2001:db8::1", 80),
            mark(1, Family::V4),
            mark(1, Family::V6),
            mark(2, Family::V4),
        ];
        for start in 0..listed.len() {
            let mut keys = listed;
            keys.rotate_left(start);
            merge_sort(&mut keys, &compare_services);
            assert_eq!(keys, listed);
        }
    }
}
