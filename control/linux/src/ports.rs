//! The ports that Linux gives to its own connections.

use std::ops::RangeInclusive;

const SETTING: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// The range that is assumed when the setting cannot be read (`net/ipv4/af_inet.c: inet_init_net`).
const DEFAULT: RangeInclusive<u16> = 32_768..=60_999;

/// The ports (host order) that Linux gives to connections of this network namespace that ask for no
/// particular port: `net.ipv4.ip_local_port_range`.
pub fn local_port_range() -> RangeInclusive<u16> {
    std::fs::read_to_string(SETTING).ok().and_then(|text| parse(&text)).unwrap_or(DEFAULT)
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last)), None) = (ends.next(), ends.next(), ends.next()) else {
        return None;
    };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ports_in_order_are_a_range() {
        assert_eq!(parse("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(parse("1024 1024"), Some(1024..=1024));
        for wrong in ["", "32768", "2 1", "1 2 3", "1 70000", "a b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(!local_port_range().is_empty());
    }
}
