//! Numbers as people say them.

use std::time::Duration;

/// So many of something: `1 port`, `2 ports`.
pub fn counted(count: impl Into<u64>, what: &str) -> String {
    let count = count.into();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A time by its two largest units: `3 s`, `2 min 5 s`, `4 h 0 min`, `12 d 3 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(0_u64, "port"), "0 ports");
        assert_eq!(counted(1_u64, "port"), "1 port");
        assert_eq!(counted(2_u64, "port"), "2 ports");
    }

    #[test]
    fn a_time_has_two_units_at_most() {
        let words = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(words(0), "0 s");
        assert_eq!(words(125), "2 min 5 s");
        assert_eq!(words(4 * 3600 + 59), "4 h 0 min");
        assert_eq!(words(12 * 86_400 + 3 * 3600 + 61), "12 d 3 h");
    }
}
