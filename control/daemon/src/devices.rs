//! Brings DPDK up for a configuration: memory, ports, packet pool.
//!
//! Nothing is left half done: after an error no port is started, and the error names the device.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use dataplane::dpdk_io::DpdkIo;
use dataplane::host::{self, PumpEnd};
use dpdk::{
    Eal, EalArgs, EalInitError, LogLevel, Mbuf, Mempool, MempoolError, Pci, PortBuilder, PortStartError,
};

use super::port::RunningPort;
use super::survey::{Ground, Survey};
use crate::config::{Config, Device, PortConfig};
use crate::hint;
use linux::{Links, Silence, SilenceError};

/// Why the devices could not be brought up.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    /// A device could not be found or probed.
    #[error("port {port}: {source}{hint}")]
    Attach {
        /// The port's name.
        port: String,
        /// What DPDK says.
        source: dpdk::AttachError,
        /// What to do.
        hint: String,
    },
    /// DPDK's environment (EAL) could not be set up.
    #[error(transparent)]
    Eal(#[from] EalInitError),
    /// DPDK's drivers are not where they should be.
    #[error(transparent)]
    Drivers(MempoolError),
    /// The packet pool.
    #[error("{source}; lower max_connections or raise memory_mb ({memory_mb} now)")]
    Pool {
        /// What DPDK says.
        source: MempoolError,
        /// `memory_mb` as configured.
        memory_mb: u32,
    },
    /// A queue is missing.
    #[error("port {0}: the device has no queue left")]
    Queue(String),
    /// Linux could not be kept from answering on a port's interface.
    #[error("port {port}: {source}")]
    Silence {
        /// The port's name.
        port: String,
        /// Why.
        source: SilenceError,
    },
    /// A port could not be started.
    #[error("port {port}: {source}{hint}")]
    Start {
        /// The port's name.
        port: String,
        /// What DPDK says.
        source: PortStartError,
        /// What to do.
        hint: String,
    },
}

/// DPDK up and running.
pub(super) struct Devices {
    /// The environment.
    pub(super) eal: Eal,
    /// The packet pool.
    pub(super) pool: Mempool,
    /// The ports, in the order of the configuration.
    pub(super) ports: Vec<RunningPort>,
    /// Whether the packet buffers are in huge pages.
    pub(super) hugepages: bool,
    /// What keeps Linux from answering on interfaces whose packets it sees too.
    pub(super) silences: Vec<Silence>,
}

/// Descriptors of a queue.
const DESCRIPTORS: u16 = 1024;
/// How many packet buffers a core caches.
const CACHE: u32 = 256;
/// Bytes of an ordinary page.
const PAGE_BYTES: u64 = 4096;
/// Megabytes that DPDK takes for itself.
const EAL_MB: u32 = 32;
/// How many frames may be on their way to Linux, and how many from Linux.
const HOST_FRAMES: usize = 1024;

impl Devices {
    /// Brings up what `config` describes.
    pub(super) fn start(config: &Config, survey: Survey, runtime_dir: &Path) -> Result<Self, DeviceError> {
        let Buffers { count, hugepages, memory_mb } = Buffers::plan(config, &survey);
        let mut args = EalArgs::new()
            .worker_cpus(config.cpus.iter().map(|cpu| *cpu as u32))
            .memory_mb(memory_mb)
            .log_level(if tracing::enabled!(tracing::Level::TRACE) {
                LogLevel::Debug
            } else {
                LogLevel::Error
            })
            .hugepages(hugepages)
            .file_prefix(file_prefix(runtime_dir))
            .runtime_dir(runtime_dir)
            .pci(if config.ports.iter().any(|port| matches!(port.device, Device::Pci { .. })) {
                Pci::OnAttach
            } else {
                Pci::Off
            });
        if let Some(cpu) = config.control_cpus.first() {
            args = args.main_cpu(*cpu as u32);
        }
        let eal = Eal::init(args)?;
        let pool =
            Mempool::new(&eal, "packets", count, CACHE, survey.data_room).map_err(|source| match source {
                MempoolError::NoDrivers { .. } => DeviceError::Drivers(source),
                _ => DeviceError::Pool { source, memory_mb: config.memory_mb },
            })?;
        let mut silences = Vec::new();
        let mut ports = Vec::with_capacity(config.ports.len());
        for (port, ground) in config.ports.iter().zip(survey.grounds) {
            if let Device::AfPacket { iface, .. } = &port.device {
                silences.push(silence(&port.name, iface)?);
            }
            ports.push(start_port(&eal, &pool, port, ground)?);
        }
        Ok(Self { eal, pool, ports, hugepages, silences })
    }

    /// The queues of the only worker, and the host's end of its rings.
    pub(super) fn io(&mut self, config: &Config) -> Result<(DpdkIo, PumpEnd<Mbuf>), DeviceError> {
        let mut queues = Vec::with_capacity(self.ports.len());
        for (port, wanted) in self.ports.iter_mut().zip(&config.ports) {
            queues.push(port.take_queues().ok_or_else(|| DeviceError::Queue(wanted.name.clone()))?);
        }
        let (worker_end, pump_end) = host::channel(HOST_FRAMES);
        Ok((DpdkIo::new(queues, worker_end, self.pool.clone()), pump_end))
    }
}

fn silence(port: &str, iface: &str) -> Result<Silence, DeviceError> {
    Silence::over(iface).map_err(|source| DeviceError::Silence { port: port.to_owned(), source })
}

fn start_port(
    eal: &Eal,
    pool: &Mempool,
    port: &PortConfig,
    ground: Ground,
) -> Result<RunningPort, DeviceError> {
    let name = &port.name;
    // This is read before the device exists, so everything that the device loses is counted.
    let before = ground.under.as_ref().and_then(|under| Links::open().ok()?.counters(under.ifindex).ok()?);
    let mut devices = Vec::with_capacity(ground.devices.len());
    for devargs in &ground.devices {
        let id = eal.attach(devargs).map_err(|source| {
            let hint = hint::attach(&source);
            DeviceError::Attach { port: name.to_owned(), source, hint }
        })?;
        let started = PortBuilder::new(eal, id)
            .rx_queues(ground.queues)
            .tx_queues(ground.queues)
            .descriptors(DESCRIPTORS, DESCRIPTORS)
            .mempool(pool)
            .promiscuous(false)
            .start()
            .map_err(|source| {
                let hint = hint::start(&port.device, &source);
                DeviceError::Start { port: name.to_owned(), source, hint }
            })?;
        devices.push(started);
    }
    RunningPort::new(devices, ground, before.unwrap_or_default())
        .ok_or_else(|| DeviceError::Queue(name.to_owned()))
}

/// The name under which DPDK keeps its own files. It is the same at every start of the same
/// director, so that old files do not pile up.
fn file_prefix(runtime_dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    runtime_dir.hash(&mut hasher);
    format!("vipline-{:08x}", hasher.finish() as u32)
}

/// Megabytes for `count` buffers of `each` bytes. A pool lies in pieces, so a quarter is added, and
/// also what DPDK takes for itself.
fn pool_mb(count: u32, each: u64) -> u32 {
    (u64::from(count) * each * 5 / 4 / (1 << 20)) as u32 + EAL_MB
}

/// The packet buffers that a configuration gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffers {
    count: u32,
    hugepages: bool,
    /// The memory that DPDK is told to take for them.
    memory_mb: u32,
}

impl Buffers {
    /// The buffers that a configuration gets on this machine, as it is now.
    pub(super) fn plan(config: &Config, survey: &Survey) -> Self {
        Self::sized(config, survey, free_hugepages_mb())
    }

    /// The buffers that a configuration would get with this many megabytes of free huge pages.
    pub(super) fn sized(config: &Config, survey: &Survey, free_hugepages_mb: u64) -> Self {
        let (count, buffer) = (survey.buffers(config), survey.buffer_bytes());
        let hugepages = free_hugepages_mb >= u64::from(pool_mb(count, buffer));
        // Without huge pages, DPDK lays no buffer across two pages if it fits into one.
        let each = if hugepages { buffer } else { buffer.next_multiple_of(PAGE_BYTES) };
        Self { count, hugepages, memory_mb: pool_mb(count, each) }
    }

    /// How many megabytes of it are ordinary memory.
    pub(super) fn ordinary_mb(&self) -> u32 {
        if self.hugepages { 0 } else { self.memory_mb }
    }
}

/// Megabytes of free 2 MB pages.
fn free_hugepages_mb() -> u64 {
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    free.ok().and_then(|pages| pages.trim().parse::<u64>().ok()).unwrap_or(0) * 2
}
