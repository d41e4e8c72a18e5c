//! A small safe layer over DPDK: the environment ([`Eal`]), ports and their queues ([`Port`],
//! [`RxQueue`], [`TxQueue`]), packet pools ([`Mempool`]) and packets ([`Mbuf`]).
//!
//! No other crate in the workspace uses the raw bindings. This crate promises:
//!
//! * A packet always has one owner. An [`Mbuf`] frees itself when dropped and is never cloned; the
//!   transmit queue gives up exactly the packets that the device took.
//! * One thread at a time uses a queue. A port stops only when its last queue is gone. A pool's
//!   memory is freed only when all its packets are back.
//! * Set-up may fail; its error says in one line what failed and why. The packet path cannot fail.
//!
//! Set-up allocates and locks. [`RxQueue::rx_burst`], [`TxQueue::tx_burst`] and everything on
//! [`Mbuf`] do not.

mod attach;
mod capture;
mod eal;
mod errno;
mod lcore;
mod log;
mod mbuf;
mod mempool;
mod port;
mod prefetch;
mod tsc;
mod words;

pub use attach::AttachError;
pub use attach::DetachError;
pub use eal::CleanupError;
pub use eal::Eal;
pub use eal::EalInitError;
pub use eal::args::EalArgs;
pub use eal::args::Iova;
pub use eal::args::LogLevel;
pub use eal::args::Pci;
pub use errno::Errno;
pub use lcore::JoinError;
pub use lcore::LaunchError;
pub use lcore::LcoreHandle;
pub use lcore::LcoreId;
pub use log::Reason;
pub use mbuf::Mbuf;
pub use mbuf::checksum::RxChecksum;
pub use mbuf::checksum::Sum;
pub use mbuf::checksum::TxChecksum;
pub use mbuf::checksum::TxIp;
pub use mbuf::checksum::TxL4;
pub use mempool::Mempool;
pub use mempool::MempoolError;
pub use mempool::driver_dir;
pub use port::Port;
pub use port::PortId;
pub use port::QueueId;
pub use port::builder::PortBuilder;
pub use port::builder::PortStartError;
pub use port::builder::Step;
pub use port::granted::Granted;
pub use port::offload::Offloads;
pub use port::queue::RxQueue;
pub use port::queue::TxQueue;
pub use port::rss::Rss;
pub use port::rss::RssFields;
pub use port::rss::RssGranted;
pub use port::stats::Link;
pub use port::stats::PortStats;
pub use prefetch::prefetch;
pub use tsc::tsc;
