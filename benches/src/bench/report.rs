//! The report of a run.

use core::fmt;

use serde::Serialize;

use crate::bench::args::BenchArgs;
use crate::bench::args::MethodName;
use crate::bench::args::Workload;
use crate::bench::changes::ChangesReport;
use crate::bench::flood::report::FloodReport;
use crate::bench::latency::LoadLatency;
use crate::bench::memory::MemoryReport;
use crate::bench::offer::RING;
use crate::bench::throughput::SearchReport;

/// The report of one run: figures of a director, or of the machine alone.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// A director carried packets.
    Director(Box<BenchReport>),
    /// Workload memory.
    Memory(MemoryReport),
}

impl Report {
    /// The report as one line of JSON.
    pub fn to_json(&self) -> String {
        // It holds only numbers and names, so this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Director(report) => report.fmt(f),
            Self::Memory(report) => report.fmt(f),
        }
    }
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// What the director had to do.
    pub workload: Workload,
    /// Forwarding method.
    pub method: MethodName,
    /// Connections in the table.
    pub flows: u32,
    /// Services.
    pub services: u32,
    /// Real servers of each service.
    pub destinations: u32,
    /// Scheduler.
    pub scheduler: String,
    /// Frame length on the wire, in bytes.
    pub frame: u16,
    /// How long it was measured, seconds.
    pub seconds: u32,
    /// Packets that the director carried meanwhile.
    pub packets: u64,
    /// Packets that the director took and did not forward. Always 0: otherwise there is no report.
    pub drops: u64,
    /// A packet's whole cost.
    pub ns_per_packet: f64,
    /// The same without the director.
    pub ns_source_sink: f64,
    /// The difference: the director's own cost.
    pub ns_director: f64,
    /// Millions of packets a second, by the whole cost.
    pub mpps: f64,
    /// Connections in the table; for workload connections, those made and ended.
    pub connections: u64,
    /// Connections made and ended in a second, by the whole cost.
    pub connections_per_second: Option<f64>,
    /// The director's own cost of a connection, from its first packet to its timeout.
    pub ns_per_connection: Option<f64>,
    /// Memory of table and timers in bytes, for each connection that the table has room for.
    pub bytes_per_connection: f64,
    /// Whether packet buffers lie in hugepages.
    pub hugepages: bool,
    /// Cycles a second of the time-stamp counter.
    pub tsc_hz: u64,
    /// Distance of the quartiles of `ns_per_packet`, as a part of it. It shows how quiet the
    /// machine was.
    pub spread: f64,
    /// The effect of a flood. The figures above are then of the established connections before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<FloodReport>,
    /// Latency at each load (workload latency).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LoadLatency>,
    /// The effect of rule changes (workload changes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangesReport>,
    /// The result of a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
}

/// All that a run found.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    pub(super) measured: Measured,
    pub(super) flood: Option<FloodReport>,
    pub(super) latency: Vec<LoadLatency>,
    pub(super) changes: Option<ChangesReport>,
    pub(super) search: Option<SearchReport>,
}

impl From<Measured> for Findings {
    fn from(measured: Measured) -> Self {
        Self { measured, flood: None, latency: Vec::new(), changes: None, search: None }
    }
}

/// What a workload measured, in cycles of the time-stamp counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) packets: u64,
    pub(super) connections: u64,
    /// A packet's whole cost, and its spread.
    pub(super) whole: (f64, f64),
    /// A packet's cost without the director.
    pub(super) source_sink: f64,
    pub(super) packets_per_connection: Option<f64>,
    pub(super) bytes_per_connection: f64,
}

impl BenchReport {
    pub(super) fn new(args: &BenchArgs, hugepages: bool, tsc_hz: u64, findings: Findings) -> Self {
        let Findings { measured, flood, latency, changes, search } = findings;
        let ns = |cycles: f64| cycles * 1e9 / tsc_hz as f64;
        let (whole, source_sink) = (ns(measured.whole.0), ns(measured.source_sink));
        let each = measured.packets_per_connection;
        Self {
            workload: args.workload,
            method: args.method,
            flows: args.flows,
            services: args.services,
            destinations: args.destinations,
            scheduler: args.scheduler.clone(),
            frame: args.frame,
            seconds: args.seconds,
            packets: measured.packets,
            drops: 0,
            ns_per_packet: round(whole, 2),
            ns_source_sink: round(source_sink, 2),
            ns_director: round(whole - source_sink, 2),
            mpps: round(1e3 / whole, 3),
            connections: measured.connections,
            connections_per_second: each.map(|each| round(1e9 / (whole * each), 0)),
            ns_per_connection: each.map(|each| round((whole - source_sink) * each, 1)),
            bytes_per_connection: round(measured.bytes_per_connection, 1),
            hugepages,
            tsc_hz,
            spread: round(measured.whole.1, 3),
            flood,
            latency,
            changes,
            search,
        }
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ns_per_packet, ns_source_sink, ns_director, mpps, .. } = self;
        let method = format!("{:?}", self.method).to_uppercase();
        let what = match self.workload {
            Workload::Established | Workload::Latency | Workload::Flood | Workload::Changes => {
                "standing connections"
            }
            Workload::Connections => "connections at a time, made and ended",
            Workload::Memory => "",
        };
        let services =
            if self.services == 1 { String::new() } else { format!("{} services of ", self.services) };
        writeln!(
            f,
            "{method}, {} {what}, {services}{} real servers ({}), {}-byte frames",
            self.flows, self.destinations, self.scheduler, self.frame
        )?;
        writeln!(
            f,
            "  {ns_director} ns a packet in the director ({ns_per_packet} in all, {ns_source_sink} without it)"
        )?;
        writeln!(f, "  {mpps} million packets a second on one core")?;
        if let (Some(ns), Some(rate)) = (self.ns_per_connection, self.connections_per_second) {
            writeln!(f, "  {ns} ns a connection in the director, {rate} connections a second on one core")?;
        }
        if !self.latency.is_empty() {
            writeln!(
                f,
                "  time from when a packet was due until it was sent; {RING} packets may wait at a port:"
            )?;
            writeln!(
                f,
                "    load     packets/s    p50 ns    p90 ns    p99 ns  p99.9 ns    max ns      lost"
            )?;
        }
        for load in &self.latency {
            writeln!(f, "{load}")?;
        }
        if let Some(changes) = &self.changes {
            writeln!(f, "{changes}")?;
        }
        if let Some(search) = &self.search {
            writeln!(f, "{search}")?;
        }
        let pages = if self.hugepages { "hugepages" } else { "ordinary pages" };
        write!(
            f,
            "  {} bytes a connection; packet buffers in {pages}; quartiles {:.1} % apart",
            self.bytes_per_connection,
            self.spread * 100.0
        )?;
        match &self.flood {
            Some(flood) => write!(f, "\n{flood}"),
            None => Ok(()),
        }
    }
}

pub(super) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
