//! Numbers and dotted addresses as the C library reads them.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Reads the whole text like `strtol` in base 10. Leading blanks and a sign are allowed; nothing
/// may follow the digits.
pub(super) fn number(text: &str, range: RangeInclusive<i64>) -> Option<i64> {
    let text = text.trim_start_matches(is_space);
    let value: i64 = text.parse().ok()?;
    range.contains(&value).then_some(value)
}

/// Reads like `atoi`: the leading digits, or 0 if there are none.
pub(super) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start_matches(is_space);
    let sign = text.starts_with(['-', '+']) as usize;
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    text[..sign + digits].parse().unwrap_or(0)
}

/// Reads like `inet_aton`: one to four parts, decimal, octal or hexadecimal. The last part fills
/// the remaining bytes. Text behind a blank is ignored.
pub(super) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(is_space).next()?;
    let parts = text.split('.').map(part).collect::<Option<Vec<u32>>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let width = 32 - 8 * bytes.len() as u32;
    if width < 32 && *last >> width != 0 {
        return None;
    }
    let high = bytes.iter().fold(0u32, |high, byte| high << 8 | byte);
    Some(Ipv4Addr::from_bits(high.checked_shl(width).unwrap_or(0) | last))
}

fn part(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match text.strip_prefix('0') {
        Some("") => Some(0),
        Some(hex) if hex.starts_with(['x', 'X']) => u32::from_str_radix(&hex[1..], 16).ok(),
        Some(octal) => u32::from_str_radix(octal, 8).ok(),
        None => text.parse().ok(),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtol_reads_them() {
        let weight = |text| number(text, 0..=i64::from(i32::MAX));
        for (text, value) in
            [("5", 5), (" 7", 7), ("+7", 7), ("010", 10), ("-0", 0), ("2147483647", 2147483647)]
        {
            assert_eq!(weight(text), Some(value), "{text:?}");
        }
        for text in ["", "7 ", "5x", "0x10", "-1", "2147483648", "99999999999999999999", "abc"] {
            assert_eq!(weight(text), None, "{text:?}");
        }
        assert_eq!(["12abc", "abc", "255.255.255.0", "-5", ""].map(leading_number), [12, 0, 255, -5, 0]);
    }

    #[test]
    fn addresses_are_read_as_inet_aton_reads_them() {
        for (text, addr) in [
            ("10.1", "10.0.0.1"),
            ("10", "0.0.0.10"),
            ("1.2.3", "1.2.0.3"),
            ("0x0a000001", "10.0.0.1"),
            ("012.0.0.1", "10.0.0.1"),
            ("4294967295", "255.255.255.255"),
            ("1.2.3.4 foo", "1.2.3.4"),
            ("255.255", "255.0.0.255"),
        ] {
            assert_eq!(inet_aton(text).map(|addr| addr.to_string()).as_deref(), Some(addr), "{text:?}");
        }
        let wrong =
            ["", "300.0.0.1", "1.2.3.", "1.2.3.4.5", "1.2.65536", "4294967296", "08.0.0.1", "0x.0.0.1"];
        for text in wrong.into_iter().chain([" 10.0.0.1", "a.b", "-1", "+1", "1.-2", "::1"]) {
            assert_eq!(inet_aton(text), None, "{text:?}");
        }
    }
}
