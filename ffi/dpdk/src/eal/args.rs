//! DPDK's start arguments, by name instead of by flag. They belong to the caller that starts DPDK
//! and are read once.

use std::path::Path;
use std::path::PathBuf;

/// The environment's set-up: CPUs, memory, devices, logging.
///
/// The defaults: hugepages that vanish with the process, no PCI device, no worker core, a quiet
/// log.
#[derive(Clone, Debug)]
pub struct EalArgs {
    main_cpu: Option<u32>,
    worker_cpus: Vec<u32>,
    memory_mb: Option<u32>,
    hugepages: bool,
    in_memory: bool,
    iova: Iova,
    file_prefix: String,
    runtime_dir: Option<PathBuf>,
    pci: Pci,
    vdevs: Vec<String>,
    log_level: LogLevel,
    telemetry: bool,
    extra: Vec<String>,
}

impl EalArgs {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            main_cpu: None,
            worker_cpus: Vec::new(),
            memory_mb: None,
            hugepages: true,
            in_memory: true,
            iova: Iova::Auto,
            file_prefix: "vipline".to_owned(),
            runtime_dir: None,
            pci: Pci::Off,
            vdevs: Vec::new(),
            log_level: LogLevel::Error,
            telemetry: false,
            extra: Vec::new(),
        }
    }

    /// The CPU of the main core. The calling thread is not pinned to it. Default: a CPU that the
    /// calling thread may run on.
    #[must_use]
    pub fn main_cpu(mut self, cpu: u32) -> Self {
        self.main_cpu = Some(cpu);
        self
    }

    /// Makes one worker core for each CPU. If a CPU is given twice, two cores share it.
    #[must_use]
    pub fn worker_cpus(mut self, cpus: impl IntoIterator<Item = u32>) -> Self {
        self.worker_cpus = cpus.into_iter().collect();
        self
    }

    /// Memory to take at start, in MB. With hugepages DPDK takes more when needed; without them it
    /// never gets more (default: 64 MB).
    #[must_use]
    pub fn memory_mb(mut self, mb: u32) -> Self {
        self.memory_mb = Some(mb);
        self
    }

    /// Whether to use hugepages. Without hugepages each look-up in a large table costs more, and no
    /// PCI device works.
    #[must_use]
    pub fn hugepages(mut self, yes: bool) -> Self {
        self.hugepages = yes;
        self
    }

    /// Whether to leave no file behind, however the process ends. If so, other DPDK processes
    /// cannot attach.
    #[must_use]
    pub fn in_memory(mut self, yes: bool) -> Self {
        self.in_memory = yes;
        self
    }

    /// Which kind of address devices get.
    #[must_use]
    pub fn iova(mut self, iova: Iova) -> Self {
        self.iova = iova;
        self
    }

    /// A name that keeps the runtime files of several processes apart.
    #[must_use]
    pub fn file_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.file_prefix = prefix.into();
        self
    }

    /// The directory in which DPDK makes its directory `dpdk` for runtime files; nobody else should
    /// be able to write there. Default: `/run` for root, `$XDG_RUNTIME_DIR` or `/tmp` for others.
    /// In `/tmp` the first user shuts out all others.
    #[must_use]
    pub fn runtime_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.runtime_dir = Some(dir.into());
        self
    }

    /// Which PCI devices may be used.
    #[must_use]
    pub fn pci(mut self, pci: Pci) -> Self {
        self.pci = pci;
        self
    }

    /// Adds a virtual device to make at start, for example `net_null0,size=60`.
    #[must_use]
    pub fn vdev(mut self, vdev: impl Into<String>) -> Self {
        self.vdevs.push(vdev.into());
        self
    }

    /// How much DPDK logs on stderr.
    #[must_use]
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = level;
        self
    }

    /// Whether `dpdk-telemetry.py` may connect. That needs a runtime directory.
    #[must_use]
    pub fn telemetry(mut self, yes: bool) -> Self {
        self.telemetry = yes;
        self
    }

    /// Adds an argument that DPDK gets as it is.
    #[must_use]
    pub fn extra(mut self, argument: impl Into<String>) -> Self {
        self.extra.push(argument.into());
        self
    }

    pub(crate) fn own_runtime_dir(&self) -> Option<&Path> {
        self.runtime_dir.as_deref()
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.log_level > LogLevel::Error
    }

    /// The flags, without the program's name. `home_cpu` is the main core's CPU when none was
    /// chosen.
    pub(crate) fn to_flags(&self, home_cpu: u32) -> Vec<String> {
        let lcores: Vec<_> =
            self.cpus(home_cpu).iter().enumerate().map(|(i, cpu)| format!("{i}@{cpu}")).collect();
        let mut flags = vec![
            format!("--lcores={}", lcores.join(",")),
            "--main-lcore=0".to_owned(),
            format!("--file-prefix={}", self.file_prefix),
            format!("--log-level={}", self.log_level.name()),
        ];
        // DPDK 22.11 refuses --in-memory without hugepages. But --no-shconf, one part of it, is
        // still needed.
        match (self.hugepages, self.in_memory) {
            (true, true) => flags.push("--in-memory".to_owned()),
            (true, false) => {}
            (false, true) => flags.extend(["--no-huge".to_owned(), "--no-shconf".to_owned()]),
            (false, false) => flags.push("--no-huge".to_owned()),
        }
        flags.extend(self.memory_mb.map(|mb| format!("-m{mb}")));
        match (self.iova, self.hugepages) {
            (Iova::Va, _) | (Iova::Auto, false) => flags.push("--iova-mode=va".to_owned()),
            (Iova::Pa, _) => flags.push("--iova-mode=pa".to_owned()),
            (Iova::Auto, true) => {}
        }
        match &self.pci {
            Pci::Off => flags.push("--no-pci".to_owned()),
            Pci::OnAttach => flags.push(format!("--allow={NO_SUCH_NIC}")),
            Pci::Allow(addresses) => {
                flags.extend(addresses.iter().map(|address| format!("--allow={address}")))
            }
        }
        flags.extend(self.vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
        if !self.telemetry {
            flags.push("--no-telemetry".to_owned());
        }
        flags.extend(self.extra.iter().cloned());
        flags
    }

    /// The CPU of each core, by the core's number. `home_cpu` is as for [`Self::to_flags`].
    pub(crate) fn cpus(&self, home_cpu: u32) -> Vec<u32> {
        core::iter::once(self.main_cpu.unwrap_or(home_cpu)).chain(self.worker_cpus.iter().copied()).collect()
    }
}

impl Default for EalArgs {
    fn default() -> Self {
        Self::new()
    }
}

/// Which kind of address devices get for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Iova {
    /// DPDK chooses by what the devices can do. Without hugepages: virtual.
    Auto,
    /// Physical.
    Pa,
    /// Virtual: through an IOMMU, or for software devices.
    Va,
}

/// How much DPDK logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogLevel {
    /// Only messages that the system is unusable.
    Emergency,
    /// Errors. During set-up they go into the returned error instead.
    Error,
    /// Also warnings.
    Warning,
    /// Also what happens.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    fn name(self) -> &'static str {
        match self {
            Self::Emergency => "*:emergency",
            Self::Error => "*:error",
            Self::Warning => "*:warning",
            Self::Info => "*:info",
            Self::Debug => "*:debug",
        }
    }
}

/// Which PCI devices DPDK may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pci {
    /// Only these, from the start.
    Allow(Vec<String>),
    /// None: DPDK does not scan the bus.
    Off,
    /// None at start; devices can be attached later.
    OnAttach,
}

/// The address of the host bridge. An allowlist with only this address means "no NIC yet".
const NO_SUCH_NIC: &str = "0000:00:00.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_main_core_in_the_given_order() {
        let flags = EalArgs::new().main_cpu(3).worker_cpus([7, 5]).to_flags(0);
        assert_eq!(flags[0], "--lcores=0@3,1@7,2@5");
    }

    #[test]
    fn main_core_defaults_to_the_home_cpu() {
        assert_eq!(EalArgs::new().to_flags(9)[0], "--lcores=0@9");
    }

    #[test]
    fn hugepages_leave_no_file_unless_told_to() {
        let has = |args: EalArgs, flag: &str| args.to_flags(0).iter().any(|f| f == flag);
        assert!(has(EalArgs::new(), "--in-memory"));
        assert!(!has(EalArgs::new().in_memory(false), "--in-memory"));
        assert!(!has(EalArgs::new().hugepages(false), "--in-memory"));
        assert!(has(EalArgs::new().hugepages(false), "--no-huge"));
        assert!(has(EalArgs::new().hugepages(false), "--iova-mode=va"));
    }
}
