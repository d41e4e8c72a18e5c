//! One environment for a test binary: DPDK starts once in a process, and the tests run in parallel.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use dpdk::Eal;
use dpdk::EalArgs;
use dpdk::Mempool;
use dpdk::Port;
use dpdk::PortBuilder;

/// Arguments that need no root and no hugepages. They leave no file, so all tests can use one
/// prefix.
pub(crate) fn args() -> EalArgs {
    EalArgs::new().hugepages(false).memory_mb(128).file_prefix("vipline-test")
}

pub(crate) fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| Eal::init(args().worker_cpus([0, 0])).unwrap())
}

/// A number that no other test of this process has.
pub(crate) fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn pool(count: u32) -> Mempool {
    Mempool::new(eal(), "test", count, 0, Mempool::DATA_ROOM).unwrap()
}

/// Attaches `KIND` with a number and `args`, and starts it with one small queue each way.
pub(crate) fn start(kind: &str, args: &str, pool: &Mempool) -> (String, Port) {
    let device = format!("{kind}{}", unique());
    let id = eal().attach(&format!("{device}{args}")).unwrap();
    (device, PortBuilder::new(eal(), id).descriptors(64, 64).mempool(pool).start().unwrap())
}

/// The CPUs this thread may run on.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim();
    list.split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().unwrap_or(1)..=last.parse().unwrap_or(0)
        })
        .collect()
}
