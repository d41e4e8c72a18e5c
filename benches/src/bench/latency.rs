//! Workload "latency": the time that packets of standing connections take through the director.
//!
//! First throughput is measured, with as many packets as the director takes. Then packets are
//! offered at parts of that rate. A packet's time begins when the packet is due at the receiving
//! port, even if the director is not ready for it. It ends when the director hands the packet to
//! the sending port. So it is measured from ring to ring, without a device or a wire.
//!
//! Each load is offered twice: by the time-stamp counter, and by a clock that leaves out time that
//! was too long to be the director's work. The first gives the latency on this machine, the second
//! the latency of the director alone.

use core::fmt;
use core::time::Duration;

use serde::Serialize;

use crate::bench::args::BenchArgs;
use crate::bench::arrival::Stolen;
use crate::bench::error::BenchError;
use crate::bench::report::Findings;
use crate::bench::rules::Director;
use crate::bench::trial::Outcome;
use crate::bench::trial::Rig;

/// The loads, in per cent of throughput.
const LOADS: [u32; 3] = [10, 50, 90];
/// Each load's time has three equal parts: the raw trial, the other trial, and the walk without a
/// director.
const PARTS: u32 = 3;

/// Latency at one load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadLatency {
    /// Per cent of the throughput measured before.
    pub load_percent: u32,
    /// The load in packets a second.
    pub offered_pps: u64,
    /// Latency without the time that others took.
    #[serde(flatten)]
    pub director: Percentiles,
    /// Latency with that time.
    pub raw: Percentiles,
    /// What was left out of the clock while the director carried packets.
    pub stolen: Stolen,
    /// What was left out directly afterwards, without a director: the effect of the machine.
    pub stolen_alone: Stolen,
}

/// Latencies of packets, and how many were lost.
#[derive(Clone, Debug, Serialize)]
pub struct Percentiles {
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
        let outcome = rig.run_raw(load, each / PARTS)?;
        let raw = Percentiles::new(&mut rig, &outcome);
        let outcome = rig.run_undisturbed(load, each / PARTS)?;
        let director = Percentiles::new(&mut rig, &outcome);
        let walk = rig.walk(each / PARTS);
        measured.packets += raw.packets - raw.lost + director.packets - director.lost;
        latency.push(LoadLatency {
            load_percent,
            offered_pps: load as u64,
            director,
            raw,
            stolen: outcome.account.stolen(tsc_hz),
            stolen_alone: walk.stolen(tsc_hz),
        });
    }
    Ok(Findings { latency, ..Findings::from(measured) })
}

impl Percentiles {
    /// The percentiles of the rig's last trial.
    fn new(rig: &mut Rig<'_>, outcome: &Outcome) -> Self {
        Self {
            packets: outcome.offered,
            lost: outcome.lost,
            p50_ns: rig.latency(0.5),
            p90_ns: rig.latency(0.9),
            p99_ns: rig.latency(0.99),
            p999_ns: rig.latency(0.999),
            max_ns: rig.latency(1.0),
        }
    }
}

impl fmt::Display for LoadLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load_percent, offered_pps, director, raw, stolen, stolen_alone } = self;
        writeln!(f, "    {load_percent:>2} % {offered_pps:>13} {director}")?;
        writeln!(f, "    {:>18} {raw}", "raw")?;
        write!(f, "      left out: {stolen}; without a director {stolen_alone}")
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ns, p90_ns, p99_ns, p999_ns, max_ns, lost, .. } = self;
        write!(f, "{p50_ns:>9} {p90_ns:>9} {p99_ns:>9} {p999_ns:>9} {max_ns:>9} {lost:>9}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentiles(p99_ns: u64) -> Percentiles {
        Percentiles { packets: 1000, lost: 1, p50_ns: 1, p90_ns: 2, p99_ns, p999_ns: 9000, max_ns: 9999 }
    }

    #[test]
    fn a_report_gives_the_raw_figures_beside_the_others() -> Result<(), serde_json::Error> {
        let load = LoadLatency {
            load_percent: 50,
            offered_pps: 9_000_000,
            director: percentiles(3210),
            raw: percentiles(57_000),
            stolen: Stolen { part: 0.0412, stretches_per_second: 8000.0 },
            stolen_alone: Stolen { part: 0.0433, stretches_per_second: 8100.0 },
        };
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&load)?)?;
        assert_eq!((&json["p99_ns"], &json["raw"]["p99_ns"]), (&3210.into(), &57_000.into()));
        assert_eq!((&json["load_percent"], &json["raw"]["lost"]), (&50.into(), &1.into()));
        assert_eq!(
            (&json["stolen"]["part"], &json["stolen_alone"]["part"]),
            (&0.0412.into(), &0.0433.into())
        );
        let text = load.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].contains("3210") && lines[1].contains("raw") && lines[1].contains("57000"),
            "{text}"
        );
        assert!(lines[2].contains("4.12 %") && lines[2].contains("4.33 %"), "{text}");
        // Columns lie below each other.
        assert_eq!(lines[0].len(), lines[1].len());
        Ok(())
    }
}
