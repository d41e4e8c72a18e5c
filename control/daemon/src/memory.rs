//! Whether the machine has the memory that is asked for. This is checked before any memory is
//! taken: a table is written to when it is made, and then a machine or a control group without
//! enough memory kills the process and does not refuse.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::devices::Buffers;
use crate::survey::Survey;

/// What a configuration needs, and what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The number of connections that there must be room for.
    pub max_connections: u32,
    /// Megabytes of ordinary memory that will be taken at the start.
    pub needed_mb: u64,
    /// Megabytes that can still be taken; `None` if nothing tells.
    pub free_mb: Option<u64>,
    /// Who sets the limit.
    pub limit: Limit,
}

/// Who sets the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A control group, by its directory.
    Group(PathBuf),
    /// The machine.
    Machine,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(path) => write!(f, "its control group {}", path.display()),
            Self::Machine => f.write_str("this machine"),
        }
    }
}

/// `needs 240 MB of memory for 1048576 connections and the rest; this machine has 2048 MB left`
impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_connections, needed_mb, limit, .. } = self;
        write!(f, "needs {needed_mb} MB of memory for {max_connections} connections and the rest; ")?;
        match self.free_mb {
            Some(free_mb) => write!(f, "{limit} has {free_mb} MB left"),
            None => f.write_str("nothing here says how much is left"),
        }
    }
}

/// The configuration does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The configuration asks for more than there is in all.
    #[error("`memory_mb` is {memory_mb}, but {limit} has {total_mb} MB in all; expected at most that")]
    Beyond {
        /// As configured.
        memory_mb: u32,
        /// Megabytes that there are.
        total_mb: u64,
        /// Who sets the limit.
        limit: Limit,
    },
    /// The configuration needs more than is left.
    #[error("Not enough memory: viplined {0}; lower max_connections, or give it more memory")]
    Short(MemoryNeed),
}

/// Compares what `config` needs with what this machine and this process's control groups have.
/// Fails if it does not suffice.
pub fn check(config: &Config, survey: &Survey) -> Result<MemoryNeed, MemoryError> {
    judge(config, &Buffers::plan(config, survey), Path::new("/"))
}

/// The same for the machine whose `/proc` and `/sys` are found under `root`.
fn judge(config: &Config, buffers: &Buffers, root: &Path) -> Result<MemoryNeed, MemoryError> {
    let rooms = rooms(root);
    let total = rooms.iter().min_by_key(|room| room.total_mb);
    if let Some(room) = total.filter(|room| room.total_mb < u64::from(config.memory_mb)) {
        let (memory_mb, total_mb, limit) = (config.memory_mb, room.total_mb, room.limit.clone());
        return Err(MemoryError::Beyond { memory_mb, total_mb, limit });
    }
    let needed_mb = config.tables_mb() + u64::from(buffers.ordinary_mb()) + PROCESS_MB;
    let least = rooms.iter().min_by_key(|room| room.free_mb);
    let memory = MemoryNeed {
        max_connections: config.max_connections,
        needed_mb,
        free_mb: least.map(|room| room.free_mb),
        limit: least.map_or(Limit::Machine, |room| room.limit.clone()),
    };
    match memory.free_mb {
        Some(free_mb) if free_mb < needed_mb => Err(MemoryError::Short(memory)),
        _ => Ok(memory),
    }
}

/// Megabytes that the daemon takes besides tables and packet buffers.
const PROCESS_MB: u64 = 32;

/// How much memory may be used, and who limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowance {
    limit: Limit,
    total_mb: u64,
    free_mb: u64,
}

fn rooms(root: &Path) -> Vec<Allowance> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let groups = groups.lines().flat_map(|line| group_rooms(root, line));
    machine(root).into_iter().chain(groups).collect()
}

/// The machine's memory in pages of 4 kB; 0 if it is not known.
pub(super) fn pages() -> u64 {
    machine(Path::new("/")).map_or(0, |machine| machine.total_mb << 8)
}

fn machine(root: &Path) -> Option<Allowance> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let mb = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? / 1024)
    };
    Some(Allowance { limit: Limit::Machine, total_mb: mb("MemTotal:")?, free_mb: mb("MemAvailable:")? })
}

/// The groups that a line of `/proc/self/cgroup` names, from the innermost outwards (`cgroups(7)`).
/// The line is `0::/path` in version 2 and `4:memory:/path` in version 1. If a path cannot be seen
/// from here it is left out, and the groups above it are looked at.
fn group_rooms(root: &Path, line: &str) -> Vec<Allowance> {
    let mut fields = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, files) = if number == "0" && controllers.is_empty() {
        ("sys/fs/cgroup", &V2)
    } else if controllers.split(',').any(|name| name == "memory") {
        ("sys/fs/cgroup/memory", &V1)
    } else {
        return Vec::new();
    };
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().filter_map(|path| group(root, &Path::new(mount).join(path), files)).collect()
}

/// The names of a group's files.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The name in `memory.stat` of the pages of files that nobody has used lately. The kernel
    /// frees these when memory is needed.
    reclaimable: &'static str,
}

const V2: Files = Files { limit: "memory.max", used: "memory.current", reclaimable: "inactive_file " };
const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file ",
};

/// The memory that a group leaves; `None` if it sets no limit.
fn group(root: &Path, dir: &Path, files: &Files) -> Option<Allowance> {
    let read = |name: &str| std::fs::read_to_string(root.join(dir).join(name)).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let limit = number(read(files.limit)?).filter(|limit| *limit < UNLIMITED)?;
    let used = number(read(files.used)?)?;
    let stat = read("memory.stat").unwrap_or_default();
    let reclaimable = stat.lines().find_map(|line| line.strip_prefix(files.reclaimable));
    let reclaimable = reclaimable.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0);
    let free = limit.saturating_sub(used.saturating_sub(reclaimable));
    let path = Path::new("/").join(dir);
    Some(Allowance { limit: Limit::Group(path), total_mb: limit >> 20, free_mb: free >> 20 })
}

/// Where there is no limit, version 1 tells a number near the largest one possible. Numbers from
/// this on mean that.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const MEMINFO: &str = "MemTotal:  8388608 kB\nMemAvailable:    2097152 kB\n";

    /// A machine with 8 GB, of which 2 are free, and with these files.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (path, text) in [("proc/meminfo", MEMINFO)].iter().chain(files) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn config(lines: &str) -> Config {
        let text = format!("{lines}\n[[port]]\nname = 'a'\ndevice = 'null'\n");
        Config::parse(&text, Path::new("x"), &[0, 1]).unwrap()
    }

    fn buffers(config: &Config, free_hugepages_mb: u64) -> Buffers {
        Buffers::sized(config, &Survey::ordinary(config), free_hugepages_mb)
    }

    fn judged(lines: &str, files: &[(&str, &str)]) -> Result<MemoryNeed, MemoryError> {
        let config = config(lines);
        judge(&config, &buffers(&config, u64::MAX), tree(files).path())
    }

    #[test]
    fn tables_larger_than_what_the_machine_has_left_are_refused() {
        let fits = judged("", &[]).unwrap();
        assert_eq!((fits.free_mb, fits.limit), (Some(2048), Limit::Machine));
        let said = judged("max_connections = 16000000\nmemory_mb = 4096", &[]).unwrap_err().to_string();
        assert_eq!(
            said,
            "Not enough memory: viplined needs 2490 MB of memory for 16000000 connections and the rest; \
             this machine has 2048 MB left; lower max_connections, or give it more memory"
        );
    }

    #[test]
    fn a_control_group_of_version_2_counts_with_those_above_it() {
        let groups = [
            ("proc/self/cgroup", "0::/system.slice/vipline.service\n"),
            ("sys/fs/cgroup/system.slice/vipline.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/vipline.service/memory.current", "5\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/system.slice/memory.current", "629145600\n"),
            ("sys/fs/cgroup/system.slice/memory.stat", "anon 1\ninactive_file 104857600\n"),
        ];
        let fits = judged("", &groups).unwrap();
        assert_eq!(fits.free_mb, Some(524));
        assert_eq!(fits.limit, Limit::Group("/sys/fs/cgroup/system.slice".into()));
        let short = judged("max_connections = 4000000\nmemory_mb = 1000", &groups).unwrap_err();
        assert!(matches!(short, MemoryError::Short(MemoryNeed { needed_mb: 659, .. })), "{short}");
    }

    #[test]
    fn a_control_group_of_version_1_counts_where_its_path_can_be_seen() {
        let mut groups = vec![
            ("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/0123\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n"),
        ];
        assert_eq!(judged("", &groups).unwrap().free_mb, Some(412));
        groups[1].1 = "9223372036854771712\n";
        assert_eq!(judged("", &groups).unwrap().limit, Limit::Machine);
    }

    #[test]
    fn more_than_there_is_at_all_is_refused() {
        let said = judged("memory_mb = 1000000", &[]).unwrap_err().to_string();
        assert_eq!(
            said,
            "`memory_mb` is 1000000, but this machine has 8192 MB in all; expected at most that"
        );
    }

    #[test]
    fn nothing_is_refused_where_nothing_is_known() {
        let config = config("");
        let dir = TempDir::new().unwrap();
        let memory = judge(&config, &buffers(&config, 0), dir.path()).unwrap();
        assert_eq!(memory.free_mb, None);
        assert!(memory.needed_mb > config.tables_mb() + PROCESS_MB, "without huge pages the buffers count");
    }
}
