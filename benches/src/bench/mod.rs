//! `vipline bench`: measures the cost of the packet path on this machine.
//!
//! The production worker runs over DPDK packet buffers, with a source and a sink in place of
//! devices (`io`). It needs no network, no root and no daemon. The cost of the same run without the
//! worker is subtracted, so that making packets is not counted. Everything runs on a DPDK core,
//! because only such a core has a cache of packets. The core is pinned to the last CPU that the
//! process may use.
//!
//! Costs are measured with as many packets as the director takes. Latency (`latency`) and the
//! highest rates with little or no loss (`throughput`) are measured with packets at a constant rate
//! (`offer`), which come by a clock of their own (`arrival`). The effect of rule changes
//! (`changes`) is measured by making some. The speed of the machine's memory (`memory`) is measured
//! without a director, for comparison.

mod args;
mod arrival;
mod changes;
mod connections;
mod control;
mod error;
mod established;
mod flood;
mod frame;
mod io;
mod latency;
mod memory;
mod meter;
mod offer;
mod report;
mod rules;
mod search;
mod throughput;
mod trial;
mod walk;

use std::process::ExitCode;

use dpdk::Eal;
use dpdk::EalArgs;
use dpdk::Iova;
use dpdk::Mempool;
use linux::affinity;
use sched::Kind;

pub use self::args::BenchArgs;
pub use self::args::FloodKind;
pub use self::args::MethodName;
pub use self::args::Workload;
pub use self::arrival::Stolen;
pub use self::changes::ChangesReport;
pub use self::changes::Polls;
pub use self::error::BenchError;
pub use self::flood::report::Fates;
pub use self::flood::report::FloodReport;
pub use self::latency::LoadLatency;
pub use self::latency::Percentiles;
pub use self::memory::MemoryReport;
pub use self::memory::MemorySize;
pub use self::report::BenchReport;
pub use self::report::Report;
pub use self::throughput::GoalReport;
pub use self::throughput::SearchReport;
pub use self::throughput::TrialReport;

use self::frame::Template;
use self::io::BenchIo;
use self::io::Source;
use self::report::Findings;
use self::rules::MACS;
use self::rules::Size;

/// Packet buffers. They are few, so that they stay in the cache, like those of a driver whose queue
/// is short.
const BUFFERS: u32 = 4095;
const CACHE: u32 = 512;
/// Memory for packet buffers, with or without hugepages. Hugepages are used if this much is free.
const MEMORY_MB: u32 = 64;

/// Runs the measurement and prints it, as `main` does. Returns the exit code.
pub fn main(args: &BenchArgs) -> ExitCode {
    match run(args) {
        Ok(report) if args.json => println!("{}", report.to_json()),
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!("vipline bench: {error}");
            return ExitCode::from(error.exit_code());
        }
    }
    ExitCode::SUCCESS
}

/// Runs the measurement. It starts DPDK, so it can run only once in a process.
pub fn run(args: &BenchArgs) -> Result<Report, BenchError> {
    match args.workload {
        Workload::Memory => memory::run(args).map(Report::Memory),
        _ => run_director(args).map(|report| Report::Director(Box::new(report))),
    }
}

fn run_director(args: &BenchArgs) -> Result<BenchReport, BenchError> {
    let kind = args.check()?;
    let cpus = affinity::allowed_cpus();
    let (Some(&first), Some(&last)) = (cpus.first(), cpus.last()) else { return Err(BenchError::NoCpu) };
    let [first, last] = [first, last].map(|cpu| cpu as u32);
    let hugepages = hugepages_free(MEMORY_MB);
    if !hugepages {
        eprintln!(
            "vipline bench: no {MEMORY_MB} MB of free hugepages: packet buffers lie in ordinary pages, which may cost some nanoseconds"
        );
    }
    let eal = Eal::init(
        EalArgs::new()
            .main_cpu(first)
            .worker_cpus([last])
            .hugepages(hugepages)
            .memory_mb(MEMORY_MB)
            .iova(Iova::Va)
            .file_prefix(format!("vipline-bench-{}", std::process::id())),
    )?;
    let pool = Mempool::new(&eal, "bench", BUFFERS, CACHE, Mempool::DATA_ROOM)?;
    let lcore = eal.worker_lcores().into_iter().next().ok_or(BenchError::NoCpu)?;
    let hz = eal.tsc_hz();
    let theirs = args.clone();
    let control = (first, first != last);
    let findings = eal.launch(lcore, move || measure(pool, &theirs, kind, control, hz))?.join()??;
    Ok(BenchReport::new(args, hugepages, hz, findings))
}

/// Runs on the measuring core: makes a director and runs the workload on it. `control` is the CPU
/// for other threads, and whether it differs from the measuring core's.
fn measure(
    pool: Mempool,
    args: &BenchArgs,
    kind: Kind,
    control: (u32, bool),
    tsc_hz: u64,
) -> Result<Findings, BenchError> {
    let silent = |port: usize| Source::silent(Template::new(MACS[port], 0, args.frame));
    let io = BenchIo::new(pool, [silent(0), silent(1)]);
    let capacity = match args.workload {
        Workload::Established | Workload::Latency | Workload::Changes | Workload::Memory => args.flows,
        Workload::Connections => connections::capacity(args.flows),
        Workload::Flood => flood::capacity(args.flows),
    };
    let (services, destinations) = (args.services, args.destinations);
    let flood = (args.workload == Workload::Flood).then(|| args.flood_kind());
    let size = Size { method: args.method.method(), kind, services, destinations, capacity, flood };
    let mut director = rules::director(io, &size)?;
    match args.workload {
        Workload::Established if args.search => throughput::run(&mut director, args, tsc_hz),
        Workload::Established => established::run(&mut director, args, tsc_hz).map(Findings::from),
        Workload::Connections => connections::run(&mut director, args, tsc_hz).map(Findings::from),
        Workload::Flood => flood::run(&mut director, args, tsc_hz)
            .map(|(measured, flood)| Findings { flood: Some(flood), ..Findings::from(measured) }),
        Workload::Latency => latency::run(&mut director, args, tsc_hz),
        Workload::Changes => changes::run(&mut director, args, control, tsc_hz),
        Workload::Memory => unreachable!("it wants no director"),
    }
}

/// Whether `mb` megabytes of hugepages are free.
fn hugepages_free(mb: u32) -> bool {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return false };
    let number = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let (free, kb) = (number("HugePages_Free:").unwrap_or(0), number("Hugepagesize:").unwrap_or(0));
    free * kb >= u64::from(mb) * 1024
}
