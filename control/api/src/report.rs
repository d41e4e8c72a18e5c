//! How the director is, and what it did with packets: `vipline status` and `vipline stats`.

use serde::{Deserialize, Serialize};

/// How the director is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it was ready.
    pub uptime: u64,
    /// Whether every worker polls.
    pub serving: bool,
    /// Whether some port has a link that is down, or a trouble: see its `troubles`.
    #[serde(default)]
    pub degraded: bool,
    /// The number of the newest snapshot of the rules.
    pub epoch: u64,
    /// The ports.
    pub ports: Vec<PortStatus>,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// Memory.
    pub memory: MemoryStatus,
    /// How many services there are.
    pub services: u64,
    /// How many destinations there are.
    pub destinations: u64,
    /// Connections and templates in the tables.
    pub connections: u64,
    /// How many connections and templates there may be.
    pub max_connections: u64,
    /// Lines of the log that were lost, because stderr could not be written to or nobody read it.
    #[serde(default)]
    pub log_lost: u64,
    /// What an operator should know, one sentence for each point.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its device.
    pub device: String,
    /// The DPDK driver.
    pub driver: String,
    /// The Linux interface that mirrors it.
    pub host_interface: String,
    /// Its MAC address.
    pub mac: String,
    /// Whether the link is up.
    pub up: bool,
    /// The link: `up`, `no carrier`, or `down` for an interface that was set down.
    #[serde(default)]
    pub link: String,
    /// Megabits a second, 0 when not known.
    pub mbps: u64,
    /// The largest IP packet, in bytes.
    #[serde(default)]
    pub mtu: u32,
    /// Receive queues in use.
    pub queues: u32,
    /// What is wrong with the port, and for each trouble what to do.
    #[serde(default)]
    pub troubles: Vec<String>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number.
    pub id: u32,
    /// The CPU it runs on.
    pub cpu: u32,
    /// The newest snapshot it has seen.
    pub epoch: u64,
    /// The share of its time in which it had packets to handle, 0 to 1.
    pub busy: f64,
    /// CPU cycles a packet, in the last two seconds. `None` when there were fewer than a thousand
    /// packets: the figure would then show housekeeping.
    pub cycles_per_packet: Option<f64>,
    /// Connections it owns.
    pub connections: u64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// Whether tables and packets live in huge pages.
    pub hugepages: bool,
    /// Bytes of packet buffers and tables.
    pub bytes: u64,
    /// Packet buffers.
    pub mbufs: u64,
    /// Packet buffers in use.
    pub mbufs_used: u64,
}

/// What the director did with packets since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Packets by verdict.
    pub verdicts: Vec<NamedCount>,
    /// Dropped packets by reason. Reasons that did not happen are left out.
    pub drops: Vec<NamedCount>,
    /// Packets by port.
    pub ports: Vec<PortTraffic>,
    /// Packets by worker.
    pub workers: Vec<WorkerTraffic>,
}

/// How often something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCount {
    /// A short name, stable for scripts.
    pub name: String,
    /// A sentence that explains the name.
    pub text: String,
    /// How often.
    pub count: u64,
}

/// What went through one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTraffic {
    /// Its name in the configuration.
    pub name: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the device dropped because nobody fetched them.
    pub rx_missed: u64,
    /// Packets that were broken when they were received.
    pub rx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// What one worker did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTraffic {
    /// Its number.
    pub id: u32,
    /// Packets received.
    pub packets: u64,
    /// Packets sent.
    pub transmitted: u64,
    /// Packets given to the host interface.
    pub host: u64,
    /// Packets dropped.
    pub dropped: u64,
}
