//! A small safe layer over DPDK: the environment ([`Eal`]), ports and their queues ([`Port`],
//! [`RxQueue`], [`TxQueue`]), packet pools ([`Mempool`]) and packets ([`Mbuf`]).
//!
//! Nothing else in the workspace sees the raw bindings. What this crate promises:
//!
//! * a packet has one owner, always: [`Mbuf`] frees itself when dropped, is never cloned, and the
//!   transmit queue forgets exactly those the device took;
//! * a queue is used by one thread at a time, a port is stopped only when its last queue is gone,
//!   and a pool's memory is given back only when every packet has come home;
//! * set-up may fail, and says what failed and why in one line; the packet path cannot.
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
