//! Whether the machine has the memory that the tables need, looked at before any of it is taken: a table is
//! written to when it is made, and a machine without room for it kills the process instead of refusing.

use crate::config::Config;

/// The tables do not fit the machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Not enough memory: {max_connections} connections need {needed_mb} MB, and this machine has {free_mb} MB left; \
     lower max_connections"
)]
pub(super) struct MemoryError {
    max_connections: u32,
    needed_mb: u32,
    free_mb: u64,
}

/// Checks that the tables of `config` fit what the machine has left.
pub(super) fn check(config: &Config) -> Result<(), MemoryError> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    fits(config.max_connections, config.memory_needed_mb(), free_mb(&meminfo))
}

fn fits(max_connections: u32, needed_mb: u32, free_mb: Option<u64>) -> Result<(), MemoryError> {
    match free_mb.filter(|free_mb| *free_mb < u64::from(needed_mb)) {
        Some(free_mb) => Err(MemoryError { max_connections, needed_mb, free_mb }),
        None => Ok(()),
    }
}

/// What `/proc/meminfo` says can still be taken; `None` when it does not say.
fn free_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_meminfo() {
        assert_eq!(free_mb("MemTotal:  100 kB\nMemAvailable:    2097152 kB\n"), Some(2048));
        assert_eq!(free_mb("MemTotal:  100 kB\n"), None);
    }

    #[test]
    fn tables_larger_than_what_is_left_are_refused() {
        assert_eq!(fits(1 << 20, 240, Some(240)), Ok(()));
        assert_eq!(fits(1 << 20, 240, None), Ok(()));
        let refused = fits(100_000_000, 15_339, Some(2048)).unwrap_err();
        assert_eq!((refused.needed_mb, refused.free_mb), (15_339, 2048));
    }
}
