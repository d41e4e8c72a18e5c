//! The values of options: networks, ports, protocols, marks.

use std::net::Ipv4Addr;

use super::parse::UsageError;
use crate::ipvs::Names;
use model::{Net, Protocol};

/// The error that `option` has the value `value` instead of what was `expected`.
pub(super) fn wrong(option: &str, value: &str, expected: &str) -> UsageError {
    UsageError(format!("{option}: {value}: expected {expected}"))
}

/// `ADDR`, `ADDR/LENGTH` or `ADDR/MASK`, or several of them separated by commas.
pub(super) fn nets(option: &str, text: &str) -> Result<Vec<Net>, UsageError> {
    let net = |text: &str| {
        let (addr, mask) = text.split_once('/').map_or((text, None), |(addr, mask)| (addr, Some(mask)));
        let mask = match mask {
            None => Ipv4Addr::BROADCAST,
            Some(mask) => match mask.parse::<u32>() {
                Ok(length) if length <= 32 => {
                    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - length).unwrap_or(0))
                }
                _ => mask.parse().ok()?,
            },
        };
        Some(Net::new(padded(addr)?, mask))
    };
    let all: Option<Vec<_>> = text.split(',').map(net).collect();
    all.ok_or_else(|| wrong(option, text, "an IPv4 address, ADDRESS/LENGTH or ADDRESS/MASK"))
}

/// An address whose last parts may be missing: iptables reads `10/8` as 10.0.0.0/8.
fn padded(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for (octet, part) in octets.iter_mut().zip(&mut parts) {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| digits)?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// A protocol by name or number; `None` for all protocols.
pub(super) fn protocol(option: &str, text: &str) -> Result<Option<u8>, UsageError> {
    let lower = text.to_ascii_lowercase();
    if lower == "all" {
        return Ok(None);
    }
    if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == lower) {
        return Ok(Some(*number));
    }
    match lower.parse::<u8>() {
        Ok(0) => Ok(None),
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(wrong(option, text, "tcp, udp, sctp, icmp, all or a protocol number")),
    }
}

/// The name of a protocol.
pub(super) fn protocol_name(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(_, other)| *other == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

const PROTOCOLS: [(&str, u8); 6] =
    [("icmp", 1), ("tcp", 6), ("udp", 17), ("esp", 50), ("ah", 51), ("sctp", 132)];

/// `PORT`, `FIRST:LAST`, `FIRST:` or `:LAST`; ports by number or name.
pub(super) fn port_range(
    option: &str,
    text: &str,
    protocol: Protocol,
    names: &dyn Names,
) -> Result<(u16, u16), UsageError> {
    let port = |text: &str| {
        // A number may have no sign.
        let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        number.or_else(|| names.service(text, protocol))
    };
    let range = match text.split_once(':') {
        None => port(text).map(|port| (port, port)),
        Some((first, last)) => {
            let first = if first.is_empty() { Some(0) } else { port(first) };
            let last = if last.is_empty() { Some(u16::MAX) } else { port(last) };
            first.zip(last)
        }
    };
    let expected = || wrong(option, text, "a port from 0 to 65535, its name, or a range FIRST:LAST");
    range.filter(|(first, last)| first <= last).ok_or_else(expected)
}

/// Ports and ranges, separated by commas. As in iptables there may be 15, and a range counts as
/// two.
pub(super) fn port_list(
    option: &str,
    text: &str,
    protocol: Protocol,
    names: &dyn Names,
) -> Result<Vec<(u16, u16)>, UsageError> {
    let expected = "ports from 0 to 65535, their names or ranges FIRST:LAST, with commas between them";
    let ports = text.split(',').map(|one| port_range(option, one, protocol, names));
    let ports = ports.collect::<Result<Vec<_>, _>>().map_err(|_| wrong(option, text, expected))?;
    let places: usize = ports.iter().map(|(first, last)| if first == last { 1 } else { 2 }).sum();
    if places > MOST_PORTS {
        return Err(wrong(option, text, "15 ports at most, where a range counts twice"));
    }
    Ok(ports)
}

const MOST_PORTS: usize = 15;

/// `VALUE` or `VALUE/MASK`. Each is decimal, hexadecimal with `0x`, or octal with `0`.
pub(super) fn mark(option: &str, text: &str) -> Result<(u32, Option<u32>), UsageError> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let mask = mask.map(|mask| number(mask).ok_or(())).transpose();
    match (number(value), mask) {
        (Some(value), Ok(mask)) => Ok((value, mask)),
        _ => Err(wrong(option, text, "VALUE or VALUE/MASK, numbers from 0 to 0xffffffff")),
    }
}

/// A decimal, hexadecimal or octal number, by the rules of `strtoul`.
pub(super) fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // A sign is not allowed.
    let alnum = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    u32::from_str_radix(digits, radix).ok().filter(|_| alnum)
}

/// A rule's number, from 1.
pub(super) fn rule_number(option: &str, text: &str) -> Result<usize, UsageError> {
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| wrong(option, text, "a rule's number, from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::Numeric;

    #[test]
    fn networks_are_read_as_iptables_reads_them() {
        let read =
            |text| nets("-s", text).ok().map(|nets| nets.iter().map(show).collect::<Vec<_>>().join(" "));
        fn show(net: &Net) -> String {
            format!("{}/{}", net.addr, net.mask)
        }
        for (text, net) in [
            ("10.0.0.1", "10.0.0.1/255.255.255.255"),
            ("10.1.2.3/8", "10.0.0.0/255.0.0.0"),
            ("10.1.2.3/255.0.255.0", "10.0.2.0/255.0.255.0"),
            ("10/8", "10.0.0.0/255.0.0.0"),
            ("0/0", "0.0.0.0/0.0.0.0"),
            ("1.1.1.1,2.2.2.2/32", "1.1.1.1/255.255.255.255 2.2.2.2/255.255.255.255"),
        ] {
            assert_eq!(read(text).as_deref(), Some(net), "{text:?}");
        }
        for text in
            ["", "host", "10.0.0.256", "1.2.3.4.5", "10.0.0.1/33", "10.0.0.1/", "10..1", "+1/8", "1,,2"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn ports_come_in_ranges() {
        let read = |text| port_range("--dport", text, Protocol::Tcp, &Numeric).ok();
        for (text, range) in
            [("80", (80, 80)), ("1:5", (1, 5)), (":5", (0, 5)), ("5:", (5, 65_535)), ("0", (0, 0))]
        {
            assert_eq!(read(text), Some(range), "{text:?}");
        }
        for text in ["", "http", "65536", "5:1", "+5", "-1", "1:2:3", "80,443"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        let list = |text| port_list("--dports", text, Protocol::Tcp, &Numeric).ok();
        assert_eq!(list("443,80:81"), Some(vec![(443, 443), (80, 81)]));
        assert_eq!(list("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15").map(|ports| ports.len()), Some(15));
        assert_eq!(
            list("1,2,3,4,5,6,7,8,9,10,11,12,13,14:15"),
            Some(list("1,2,3,4,5,6,7,8,9,10,11,12,13,14:15").unwrap_or_default())
        );
        assert_eq!(list("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16"), None);
    }

    #[test]
    fn marks_are_numbers_of_any_kind() {
        let read = |text| mark("--set-mark", text).ok();
        assert_eq!(read("666"), Some((666, None)));
        assert_eq!(read("0x29a/0xFFFF"), Some((666, Some(0xffff))));
        assert_eq!(read("010/0"), Some((8, Some(0))));
        assert_eq!(read("4294967295"), Some((u32::MAX, None)));
        for text in ["", "0x", "08", "4294967296", "-1", "+1", "1/", "/1", "1/2/3", "0x+1", "x"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
