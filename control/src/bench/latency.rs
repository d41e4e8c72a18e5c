//! Workload "latency": the time that packets of standing connections take through the director.
//!
//! Throughput comes first, with as many packets as the director takes; then packets are offered at parts of it. A
//! packet's time runs from when it was due at the receiving port, whether or not the director was ready for
//! it, to when the director hands it to the sending port: ring to ring, no device or wire in it.

use core::fmt;
use core::time::Duration;

use serde::Serialize;

use crate::bench::args::BenchArgs;
use crate::bench::error::BenchError;
use crate::bench::report::Findings;
use crate::bench::rules::Director;
use crate::bench::trial::Rig;

/// The loads, in per cent of throughput.
const LOADS: [u32; 3] = [10, 50, 90];

/// Latency at one load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadLatency {
    /// Per cent of the throughput measured before.
    pub load_percent: u32,
    /// Packets a second that this is.
    pub offered_pps: u64,
    /// Packets offered.
    pub packets: u64,
    /// Packets that found their queue full; they have no latency.
    pub lost: u64,
    /// Half of the packets took at most this.
    pub p50_ns: u64,
    /// 90 % did.
    pub p90_ns: u64,
    /// 99 % did.
    pub p99_ns: u64,
    /// 99.9 % did.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

/// Measures throughput and latency, a quarter of the time each.
pub(super) fn run(director: &mut Director, args: &BenchArgs, tsc_hz: u64) -> Result<Findings, BenchError> {
    let each = Duration::from_secs(u64::from(args.seconds)) / (1 + LOADS.len() as u32);
    let mut rig = Rig::new(director, args, tsc_hz)?;
    let mut measured = rig.flood(each, args.flows)?;
    let throughput = tsc_hz as f64 / measured.whole.0;
    let mut latency = Vec::new();
    for load_percent in LOADS {
        let load = throughput * f64::from(load_percent) / 100.0;
        let outcome = rig.run(load, each)?;
        measured.packets += outcome.offered - outcome.lost;
        latency.push(LoadLatency {
            load_percent,
            offered_pps: load as u64,
            packets: outcome.offered,
            lost: outcome.lost,
            p50_ns: rig.latency(0.5),
            p90_ns: rig.latency(0.9),
            p99_ns: rig.latency(0.99),
            p999_ns: rig.latency(0.999),
            max_ns: rig.latency(1.0),
        });
    }
    Ok(Findings { latency, ..Findings::from(measured) })
}

impl fmt::Display for LoadLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load_percent, offered_pps, lost, .. } = self;
        write!(f, "{load_percent:>2} % {offered_pps:>13}")?;
        for ns in [self.p50_ns, self.p90_ns, self.p99_ns, self.p999_ns, self.max_ns] {
            write!(f, " {ns:>9}")?;
        }
        write!(f, " {lost:>9}")
    }
}
