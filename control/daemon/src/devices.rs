//! DPDK brought up for a configuration: memory, ports, packet pool.
//!
//! Nothing here is half done: an error leaves no port started, and it names the device.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use dataplane::dpdk_io::DpdkIo;
use dataplane::host::{self, PumpEnd};
use dpdk::{Eal, EalArgs, EalInitError, Mbuf, Mempool, MempoolError, Pci, Port, PortBuilder, PortStartError};

use crate::config::{Config, Device, EalDevice};

/// Why the devices could not be brought up.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    /// A device could not be found or probed.
    #[error("port {port}: {source}")]
    Attach {
        /// The port's name.
        port: String,
        /// What DPDK says.
        source: dpdk::AttachError,
    },
    /// DPDK's environment.
    #[error(transparent)]
    Eal(#[from] EalInitError),
    /// The packet pool.
    #[error("{source}; lower max_connections or raise memory_mb ({memory_mb} now)")]
    Pool {
        /// What DPDK says.
        source: MempoolError,
        /// `memory_mb` as configured.
        memory_mb: u32,
    },
    /// A queue is missing.
    #[error("port {0}: the device has no queue to give")]
    Queue(String),
    /// A port could not be started.
    #[error("port {port}: {source}")]
    Start {
        /// The port's name.
        port: String,
        /// What DPDK says.
        source: PortStartError,
    },
}

/// DPDK up and running.
pub(super) struct Devices {
    /// The environment.
    pub(super) eal: Eal,
    /// The packet pool.
    pub(super) pool: Mempool,
    /// The ports, in the order of the configuration.
    pub(super) ports: Vec<Port>,
    /// Whether packets live in huge pages.
    pub(super) hugepages: bool,
}

/// Descriptors of a queue.
const DESCRIPTORS: u16 = 1024;
/// Packet buffers cached by a core.
const CACHE: u32 = 256;
/// What a packet buffer takes: data, headroom, header, rounding.
const BUFFER_BYTES: u64 = 2048 + 128 + 128 + 64;
/// An ordinary page.
const PAGE_BYTES: u64 = 4096;
/// Least number of packet buffers for a port: full queues, and what drivers hold on to.
const LEAST_PER_PORT: u32 = 8192;
/// Most that a port makes use of: more only keep the caches cold.
const MOST_PER_PORT: u32 = 32_768;
/// What DPDK takes for itself.
const EAL_MB: u32 = 32;
/// Frames on their way to or from the host at once.
const HOST_FRAMES: usize = 1024;

impl Devices {
    /// Brings up what `config` describes.
    pub(super) fn start(config: &Config, runtime_dir: &Path) -> Result<Self, DeviceError> {
        let count = buffers(config);
        let hugepages = free_hugepages_mb() >= u64::from(pool_mb(count, BUFFER_BYTES));
        // Without huge pages DPDK lays no buffer across two pages.
        let memory_mb = pool_mb(count, if hugepages { BUFFER_BYTES } else { PAGE_BYTES });
        let mut args = EalArgs::new()
            .worker_cpus(config.cpus.iter().map(|cpu| *cpu as u32))
            .memory_mb(memory_mb)
            .hugepages(hugepages)
            .file_prefix(file_prefix(runtime_dir))
            .pci(if config.ports.iter().any(|port| matches!(port.device, Device::Pci { .. })) {
                Pci::OnAttach
            } else {
                Pci::Off
            });
        if let Some(cpu) = config.control_cpus.first() {
            args = args.main_cpu(*cpu as u32);
        }
        let eal = Eal::init(args)?;
        let pool = Mempool::new(&eal, "packets", count, CACHE, Mempool::DATA_ROOM)
            .map_err(|source| DeviceError::Pool { source, memory_mb: config.memory_mb })?;
        let mut ports = Vec::with_capacity(config.ports.len());
        for (index, port) in config.ports.iter().enumerate() {
            let (EalDevice::Allow(devargs) | EalDevice::Vdev(devargs)) = port.device.eal(index);
            let id = eal
                .attach(&devargs)
                .map_err(|source| DeviceError::Attach { port: port.name.clone(), source })?;
            let started = PortBuilder::new(&eal, id)
                .rx_queues(1)
                .tx_queues(1)
                .descriptors(DESCRIPTORS, DESCRIPTORS)
                .mempool(&pool)
                .promiscuous(false)
                .start()
                .map_err(|source| DeviceError::Start { port: port.name.clone(), source })?;
            ports.push(started);
        }
        Ok(Self { eal, pool, ports, hugepages })
    }

    /// The queues of the only worker, and the host's end of its rings.
    pub(super) fn io(&mut self, config: &Config) -> Result<(DpdkIo, PumpEnd<Mbuf>), DeviceError> {
        let mut queues = Vec::with_capacity(self.ports.len());
        for (port, wanted) in self.ports.iter_mut().zip(&config.ports) {
            let pair = port.take_rx(0).zip(port.take_tx(0));
            queues.push(pair.ok_or_else(|| DeviceError::Queue(wanted.name.clone()))?);
        }
        let (worker_end, pump_end) = host::channel(HOST_FRAMES);
        Ok((DpdkIo::new(queues, worker_end, self.pool.clone()), pump_end))
    }
}

/// Under which name DPDK keeps its own files: the same at every start of the same director, so that none pile up.
fn file_prefix(runtime_dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    runtime_dir.hash(&mut hasher);
    format!("vipline-{:08x}", hasher.finish() as u32)
}

/// Memory for `count` buffers of `each` bytes: a pool lies in pieces, so a quarter more, and what DPDK takes for itself.
fn pool_mb(count: u32, each: u64) -> u32 {
    (u64::from(count) * each * 5 / 4 / (1 << 20)) as u32 + EAL_MB
}

/// How many packet buffers: what memory is left beside the tables, within what is of use.
fn buffers(config: &Config) -> u32 {
    let left = u64::from(config.memory_mb.saturating_sub(config.memory_needed_mb())) << 20;
    let ports = config.ports.len() as u32;
    let wanted = u32::try_from(left * 3 / 4 / BUFFER_BYTES).unwrap_or(u32::MAX);
    wanted.clamp(LEAST_PER_PORT * ports, MOST_PER_PORT * ports)
}

/// Megabytes of free 2 MB pages.
fn free_hugepages_mb() -> u64 {
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    free.ok().and_then(|pages| pages.trim().parse::<u64>().ok()).unwrap_or(0) * 2
}
