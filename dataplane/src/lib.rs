//! The packet path of a layer-4 load balancer that behaves as Linux IPVS does.
//!
//! Everything here runs on workers. A worker is one poll-mode core, and only it touches its
//! connections. Nothing allocates, locks, logs, reads a clock or calls the kernel once a worker
//! runs.

#![deny(unsafe_code)]

/// How many packets are at most taken from a queue and carried through the stages together.
pub const BURST: usize = 32;

pub mod conn;
#[cfg(feature = "dpdk")]
pub mod dpdk_io;
pub mod epoch;
pub mod forward;
pub mod host;
pub mod io;
pub mod local;
pub mod marks;
pub mod mem;
pub mod meta;
pub mod port_counts;
pub mod secret;
pub mod snapshot;
pub mod stats;
pub mod steer;
pub mod time;
pub mod verdict;
pub mod wire;
pub mod worker;
