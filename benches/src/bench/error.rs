//! Why a measurement was not made or is void.

use dataplane::stats::WorkerStats;
use dataplane::verdict::DropReason;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// An argument is out of range.
    #[error("{0}")]
    Argument(String),
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] dpdk::EalInitError),
    /// The packet pool could not be made.
    #[error(transparent)]
    Pool(#[from] dpdk::MempoolError),
    /// The measuring core did not start.
    #[error(transparent)]
    Launch(#[from] dpdk::LaunchError),
    /// The measuring core ended early.
    #[error(transparent)]
    Join(#[from] dpdk::JoinError),
    /// The histogram of latencies could not be made.
    #[error(transparent)]
    Histogram(#[from] hdrhistogram::CreationError),
    /// The process may run on no CPU, or DPDK found no core.
    #[error("No CPU to measure on: give the process one that it may run on (taskset)")]
    NoCpu,
    /// The scheduler refused the destinations.
    #[error("The scheduler refused the destinations: {0}")]
    Plan(#[from] sched::PlanError),
    /// The director did not do all its work, so its speed means nothing.
    #[error("The figure is void: {0}")]
    Void(String),
}

impl BenchError {
    /// The process's exit code: 2 for arguments, 1 for everything else.
    pub const fn exit_code(&self) -> u8 {
        if matches!(self, Self::Argument(_)) { 2 } else { 1 }
    }

    /// The error for packets that were not forwarded, with the director's reasons.
    pub(super) fn dropped(when: &str, lost: u64, of: u64, stats: &WorkerStats) -> Self {
        let mut why: Vec<String> = DropReason::ALL
            .iter()
            .filter(|reason| stats.drops(**reason).get() != 0)
            .map(|reason| format!("{} {}", reason.word(), stats.drops(*reason).get()))
            .collect();
        if stats.host.get() + stats.resolve.get() != 0 {
            why.push(format!("to the host {}", stats.host.get() + stats.resolve.get()));
        }
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
        Self::Void(format!("{lost} of {of} packets were not forwarded {when}{why}"))
    }
}
