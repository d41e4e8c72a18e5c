//! The tunables of IPVS, `net.ipv4.vs.*`, with the defaults and the ranges of Linux
//! (`net/netfilter/ipvs/ip_vs_ctl.c: vs_vars`).
//!
//! All of them can be set and keep their values. [`Tunable::is_built`] says which of them the packet
//! path reads.

use std::fmt;

use super::error::{Invalid, ModelError};

/// A tunable.
#[derive(Clone, Copy, Debug)]
pub struct Tunable {
    /// Its name, without `net.ipv4.vs.`.
    pub name: &'static str,
    default: Value,
    allowed: Allowed,
    built: bool,
}

/// The value of a tunable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    One(i32),
    /// `sync_threshold` only.
    Two(i32, i32),
}

/// Which numbers Linux accepts.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    Any,
    Range(i32, i32),
    PowerOfTwo,
    /// Two numbers, neither below 0. The first is below the second, unless the second is 0.
    Threshold,
}

impl Tunable {
    /// All tunables, in the order of their names.
    pub const ALL: &'static [Self] = &[
        Self::number("am_droprate", 10),
        Self::number("amemthresh", 1024),
        Self::number("backup_only", 0),
        Self::number("cache_bypass", 0),
        Self::number("conn_reuse_mode", 1).built(),
        Self::number("conntrack", 0),
        Self::number("debug_level", 0),
        Self::number("drop_entry", 0).within(0, 3),
        Self::number("drop_packet", 0).within(0, 3),
        Self::number("expire_nodest_conn", 0).built(),
        Self::number("expire_quiescent_template", 0).built(),
        Self::number("ignore_tunneled", 0),
        Self::seconds("lblc_expiration", 86_400),
        Self::seconds("lblcr_expiration", 86_400),
        Self::number("nat_icmp_send", 0),
        Self::number("pmtu_disc", 1).built(),
        Self::number("run_estimation", 1),
        Self::number("schedule_icmp", 0),
        Self::number("secure_tcp", 0).within(0, 3),
        Self::number("sloppy_sctp", 0),
        Self::number("sloppy_tcp", 0).built(),
        Self::number("snat_reroute", 1),
        Self::number("sync_persist_mode", 0),
        Self { allowed: Allowed::PowerOfTwo, ..Self::number("sync_ports", 1) },
        Self::number(SYNC_QLEN_MAX, 0),
        Self::seconds("sync_refresh_period", 0),
        Self::number("sync_retries", 0).within(0, 3),
        Self::number("sync_sock_size", 0),
        Self { default: Value::Two(3, 50), allowed: Allowed::Threshold, ..Self::number("sync_threshold", 0) },
        Self::number("sync_version", 1).within(0, 1),
    ];

    const fn number(name: &'static str, default: i32) -> Self {
        Self { name, default: Value::One(default), allowed: Allowed::Any, built: false }
    }

    /// Linux keeps seconds as ticks in an `int`. With 100 ticks a second, this is the range.
    const fn seconds(name: &'static str, default: i32) -> Self {
        Self::number(name, default).within(-(i32::MAX / 100), i32::MAX / 100)
    }

    const fn within(self, least: i32, most: i32) -> Self {
        Self { allowed: Allowed::Range(least, most), ..self }
    }

    const fn built(self) -> Self {
        Self { built: true, ..self }
    }

    /// The tunable with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|tunable| tunable.name == name)
    }

    /// Whether the packet path reads it. Otherwise it only keeps its value.
    pub const fn is_built(&self) -> bool {
        self.built
    }

    /// What Linux expects as a value, for error messages.
    pub fn expected(&self) -> String {
        match self.allowed {
            Allowed::Any => "a whole number".to_owned(),
            Allowed::Range(least, most) => format!("a whole number from {least} to {most}"),
            Allowed::PowerOfTwo => "a power of two".to_owned(),
            Allowed::Threshold => {
                "two whole numbers, as in \"3 50\": the first below the second, unless the second is 0"
                    .to_owned()
            }
        }
    }

    /// Whether `text` is a value that Linux accepts.
    pub fn takes(&self, text: &str) -> bool {
        self.parse(text).is_some()
    }

    fn parse(&self, text: &str) -> Option<Value> {
        let mut words = text.split_ascii_whitespace().map(number);
        let first = words.next()??;
        let value = match self.default {
            Value::One(_) => Value::One(first),
            Value::Two(..) => Value::Two(first, words.next()??),
        };
        if words.next().is_some() {
            return None;
        }
        let fits = match (self.allowed, value) {
            (Allowed::Range(least, most), Value::One(one)) => (least..=most).contains(&one),
            (Allowed::PowerOfTwo, Value::One(one)) => one >= 1 && one.count_ones() == 1,
            (Allowed::Threshold, Value::Two(at, of)) => at >= 0 && of >= 0 && (at < of || of == 0),
            _ => true,
        };
        fits.then_some(value)
    }
}

/// How many messages the synchronization keeps. Linux computes its default from the memory.
const SYNC_QLEN_MAX: &str = "sync_qlen_max";

/// A number as the kernel reads it: decimal, hexadecimal behind `0x`, octal behind `0`.
fn number(word: &str) -> Option<i32> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i64::from_str_radix(digits, radix).ok()?;
    i32::try_from(if negative { -value } else { value }).ok()
}

/// As `sysctl` prints it: a tab between two numbers.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(one) => one.fmt(f),
            Self::Two(one, two) => write!(f, "{one}\t{two}"),
        }
    }
}

/// The values of all tunables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// In the order of [`Tunable::ALL`].
    values: Vec<Value>,
    memory_pages: u64,
}

impl Tunables {
    /// The defaults on a machine with this many pages of memory.
    pub(super) fn new(memory_pages: u64) -> Self {
        let values = Tunable::ALL.iter().map(|tunable| default(tunable, memory_pages));
        Self { values: values.collect(), memory_pages }
    }

    /// Sets a tunable to the value that `text` says, as `sysctl -w` would.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), ModelError> {
        let tunable = Tunable::find(name).ok_or_else(|| ModelError::NoTunable(name.to_owned()))?;
        let value = tunable.parse(text).ok_or(ModelError::Invalid(Invalid::Tunable))?;
        let own = Tunable::ALL.iter().zip(&mut self.values).find(|(other, _)| other.name == name);
        own.into_iter().for_each(|(_, own)| *own = value);
        Ok(())
    }

    /// The first number of a tunable; 0 if there is no such tunable.
    pub fn get(&self, name: &str) -> i32 {
        let own = Tunable::ALL.iter().zip(&self.values).find(|(tunable, _)| tunable.name == name);
        own.map_or(0, |(_, value)| match value {
            Value::One(one) | Value::Two(one, _) => *one,
        })
    }

    /// All tunables with their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Tunable, String)> {
        Tunable::ALL.iter().zip(self.values.iter().map(Value::to_string))
    }

    /// The tunables whose values are not the defaults.
    pub fn changed(&self) -> impl Iterator<Item = (&'static Tunable, String)> {
        let all = Tunable::ALL.iter().zip(&self.values);
        let changed = all.filter(|(tunable, value)| **value != default(tunable, self.memory_pages));
        changed.map(|(tunable, value)| (tunable, value.to_string()))
    }
}

/// The default of a tunable. That of `sync_qlen_max` is a 32nd of the memory in pages.
fn default(tunable: &Tunable, memory_pages: u64) -> Value {
    match tunable.name {
        SYNC_QLEN_MAX => Value::One(i32::try_from(memory_pages / 32).unwrap_or(i32::MAX)),
        _ => tunable.default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, text: &str) -> Result<String, ModelError> {
        let mut tunables = Tunables::new(64);
        tunables.set(name, text)?;
        let value = tunables.iter().find(|(tunable, _)| tunable.name == name).map(|(_, value)| value);
        Ok(value.unwrap_or_default())
    }

    #[test]
    fn values_are_read_as_the_kernel_reads_them() {
        for (text, value) in [("5", "5"), (" -5\n", "-5"), ("0x10", "16"), ("010", "8"), ("0", "0")] {
            assert_eq!(set("conn_reuse_mode", text), Ok(value.to_owned()), "{text:?}");
        }
        for text in ["", "x", "1x", "1 2", "--1", "0x-1", "4294967296"] {
            let wrong = Err(ModelError::Invalid(Invalid::Tunable));
            assert_eq!(set("conn_reuse_mode", text), wrong, "{text:?}");
        }
        assert_eq!(set("nope", "1"), Err(ModelError::NoTunable("nope".to_owned())));
    }

    #[test]
    fn ranges_are_those_of_linux() {
        let good = |name, text| set(name, text).is_ok();
        assert_eq!(
            [good("drop_entry", "3"), good("drop_entry", "4"), good("drop_entry", "-1")],
            [true, false, false]
        );
        assert_eq!([good("sync_version", "0"), good("sync_version", "2")], [true, false]);
        assert_eq!(
            [good("sync_ports", "64"), good("sync_ports", "3"), good("sync_ports", "0")],
            [true, false, false]
        );
        assert_eq!(
            [good("sync_refresh_period", "21474836"), good("sync_refresh_period", "21474837")],
            [true, false]
        );
        for (text, fits) in
            [("3 50", true), ("0 0", true), ("9 0", true), ("3 3", false), ("-1 5", false), ("3", false)]
        {
            assert_eq!(good("sync_threshold", text), fits, "{text}");
        }
        assert_eq!(set("sync_threshold", "4 60"), Ok("4\t60".to_owned()));
    }

    #[test]
    fn only_changed_tunables_are_told_as_changed() {
        let mut tunables = Tunables::new(64);
        assert_eq!(tunables.changed().count(), 0);
        assert_eq!(tunables.get("sync_qlen_max"), 2);
        assert_eq!((tunables.set("sloppy_tcp", "1"), tunables.set("pmtu_disc", "1")), (Ok(()), Ok(())));
        let changed: Vec<_> = tunables.changed().map(|(tunable, value)| (tunable.name, value)).collect();
        assert_eq!(changed, [("sloppy_tcp", "1".to_owned())]);
    }

    #[test]
    fn the_names_are_in_order() {
        assert!(Tunable::ALL.is_sorted_by_key(|tunable| tunable.name));
    }
}
