//! `vipline.toml`: the ports, the CPUs, the memory.
//!
//! [`Config::load`] reads a file and checks everything that can be checked without touching a
//! device. It returns a configuration that suits this machine, or one line that says what is wrong
//! and where. So what a [`Config`] contains can be used without checking it again.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use sched::MhSize;
use serde::Deserialize;

use linux::{StaticRoute, affinity};

mod check;
mod device;
mod error;
mod raw;
mod restart;

pub use device::{Device, DeviceError, EalDevice};
pub use error::ConfigError;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The CPUs of the workers, one each.
    pub cpus: Vec<usize>,
    /// The CPUs that all other threads share.
    pub control_cpus: Vec<usize>,
    /// What a worker does when there is nothing to do.
    pub poll: Poll,
    /// Memory for packet buffers and connection tables.
    pub memory_mb: u32,
    /// Connections at once, all workers together.
    pub max_connections: u32,
    /// Destinations at once, all services together.
    pub max_destinations: u32,
    /// The size of the `mh` scheduler's tables.
    pub mh_size: MhSize,
    /// The file with the rules to load at start. The path is absolute, or relative to the working
    /// directory.
    pub rules: Option<PathBuf>,
    /// The file with the mark rules to load at start; a path like that of `rules`.
    pub marks: Option<PathBuf>,
    /// Where the state is kept, unless the command line says otherwise; a path like that of
    /// `rules`.
    pub state_dir: Option<PathBuf>,
    /// How much is logged, unless the command line asks for more.
    pub log_level: LogLevel,
    /// Tunables to set, as `rules` are loaded: names without `net.ipv4.vs.`, and values.
    pub tunables: Vec<(String, String)>,
    /// The ports, in the order of the file. Never empty.
    pub ports: Vec<PortConfig>,
}

/// One `[[port]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The port's name, which the user chose.
    pub name: String,
    /// The device that moves its packets.
    pub device: Device,
    /// The Linux interface that is made for the port.
    pub host_interface: String,
    /// Addresses that are put on the host interface at start.
    pub addresses: Vec<IpNet>,
    /// Routes that are added at start, after the addresses, in this order.
    pub routes: Vec<StaticRoute>,
    /// Whether the device is believed about checksums.
    pub rx_checksum: RxChecksum,
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// It sleeps for short times, so that an idle director costs next to nothing.
    #[default]
    Adaptive,
    /// It never sleeps.
    Busy,
}

/// Which lines go to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// Also what somebody should look at.
    Warn,
    /// Also what happens in the normal course.
    #[default]
    Info,
    /// Also details for finding errors.
    Debug,
    /// Everything.
    Trace,
}

/// What is done about the checksums of received packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RxChecksum {
    /// Nothing. The device, or the receiver behind the director, finds wrong ones.
    #[default]
    Trust,
    /// They are checked in software if the device did not check them.
    Verify,
}

impl Config {
    /// Reads and checks `path` for this machine.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_for(path, &affinity::allowed_cpus())
    }

    /// Reads and checks `path` for a process that may use these CPUs.
    pub fn load_for(path: &Path, allowed_cpus: &[usize]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path, allowed_cpus)
    }

    /// Checks `text` for a machine with these CPUs. Errors name `path`, and relative paths start
    /// where it is.
    pub fn parse(text: &str, path: &Path, allowed_cpus: &[usize]) -> Result<Self, ConfigError> {
        check::config(error::Source { path, text }, allowed_cpus)
    }

    /// The memory that the tables and the least number of packet buffers need.
    pub fn memory_needed_mb(&self) -> u32 {
        memory_needed_mb(self.max_connections, self.max_destinations)
    }

    /// The memory of the tables alone.
    pub fn tables_mb(&self) -> u64 {
        tables_mb(self.max_connections, self.max_destinations)
    }

    /// The ports' host interfaces, in the order of the ports.
    pub fn host_interfaces(&self) -> Vec<String> {
        self.ports.iter().map(|port| port.host_interface.clone()).collect()
    }

    const MEMORY_MB: u32 = 512;
    const MAX_CONNECTIONS: u32 = 1 << 20;
    /// How many destinations there may be unless the file says otherwise.
    pub const MAX_DESTINATIONS: u32 = 1 << 16;
}

/// Bytes of a connection with its share of the index: the budget that the architecture gives.
const CONNECTION_BYTES: u64 = 160;
/// Bytes of a destination's counters and of its place in the snapshot.
const DESTINATION_BYTES: u64 = 256;
/// Megabytes of packet buffers for one worker and two ports with full queues, and of what DPDK
/// takes for itself.
const BUFFERS_MB: u64 = 64;

fn memory_needed_mb(connections: u32, destinations: u32) -> u32 {
    u32::try_from(BUFFERS_MB + tables_mb(connections, destinations)).unwrap_or(u32::MAX)
}

fn tables_mb(connections: u32, destinations: u32) -> u64 {
    let tables = u64::from(connections) * CONNECTION_BYTES + u64::from(destinations) * DESTINATION_BYTES;
    tables.div_ceil(1 << 20)
}
