//! DPDK's environment: started once a process, it owns the memory, the cores and the devices.
//!
//! [`Eal`] is the proof that it runs. Ports, pools and running work keep it alive through
//! [`Alive`], so that [`Eal::cleanup`] refuses while any is left. It may be used from any thread;
//! set-up calls take turns.

pub(crate) mod args;

use core::ffi::CStr;
use core::ffi::c_char;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use std::ffi::CString;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::eal::args::EalArgs;
use crate::errno::Errno;
use crate::errno::check;
use crate::lcore::LcoreId;
use crate::log;
use crate::log::Reason;
use crate::log::Setup;
use crate::mempool::Retired;
use crate::port::PortId;

/// Why the environment did not start. DPDK can be tried once a process: start a new one to try
/// again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EalInitError {
    /// It runs already, or an earlier try failed.
    #[error("DPDK was already started in this process")]
    AlreadyStarted,
    /// An argument cannot be passed to C.
    #[error("DPDK argument {0:?} contains a NUL byte")]
    NulByte(String),
    /// DPDK's own verdict.
    #[error("Cannot start DPDK: {reason}")]
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// Why the environment cannot be taken down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanupError {
    /// DPDK's own verdict.
    #[error("Cannot shut DPDK down: {0}")]
    Refused(Errno),
    /// Somebody still has a port, a pool, or work on a core.
    #[error("DPDK is still in use: {0} ports, pools or running cores")]
    InUse(usize),
    /// Packets of pools that are gone are still around.
    #[error("DPDK is still in use: packets of {0} dropped pools are still around")]
    PacketsOut(usize),
}

/// DPDK runs. There is at most one in a process.
#[must_use]
#[derive(Debug)]
pub struct Eal {
    alive: Arc<Alive>,
    tsc_hz: u64,
    /// By core number.
    cpus: Vec<u32>,
}

impl Eal {
    /// Starts DPDK. The calling thread counts as the main core from now on, but may run where it
    /// might before.
    pub fn init(args: EalArgs) -> Result<Self, EalInitError> {
        let affinity = Affinity::of_this_thread();
        let home = affinity.as_ref().and_then(Affinity::first_cpu).unwrap_or(0);
        let flags = args.to_flags(home);
        let mut argv = Vec::with_capacity(flags.len() + 1);
        for flag in core::iter::once("vipline".to_owned()).chain(flags) {
            let flag = CString::new(flag).map_err(|e| {
                EalInitError::NulByte(String::from_utf8_lossy(&e.into_vec()).replace('\0', "\\0"))
            })?;
            argv.push(flag);
        }
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalInitError::AlreadyStarted);
        }

        let own = args.own_runtime_dir().and_then(|dir| CString::new(dir.as_os_str().as_bytes()).ok());
        if let Some(dir) = &own {
            // DPDK takes systemd's variable for its own (`eal_create_runtime_dir`). SAFETY: two
            // terminated strings, which are copied. The environment is read by DPDK on this thread
            // only.
            unsafe { libc::setenv(c"RUNTIME_DIRECTORY".as_ptr(), dir.as_ptr(), 1) };
        }
        log::set_verbose(args.is_verbose());
        let setup = Setup::begin();
        // DPDK keeps pointers into its arguments and reorders them, so they are never freed.
        let argv: &'static mut [*mut c_char] =
            argv.into_iter().map(CString::into_raw).collect::<Vec<_>>().leak();
        let argc = argv.len() as c_int;
        // SAFETY: argv holds argc terminated strings that live for ever; STARTED makes this the
        // only call.
        let code = unsafe { dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        let result = check(code).map_err(|errno| EalInitError::Refused { reason: setup.why(errno) });
        drop(setup);
        remove_runtime_dir(own.is_some());
        if let Some(affinity) = affinity {
            affinity.restore();
        }
        result?;

        // SAFETY: reads a variable that rte_eal_init has set.
        let tsc_hz = unsafe { dpdk_sys::rte_get_tsc_hz() };
        Ok(Self { alive: Arc::new(Alive::default()), tsc_hz, cpus: args.cpus(home) })
    }

    /// Takes DPDK down: closes what devices are left and gives the memory back. Refuses while
    /// anything still uses it; the environment then stays as it is until the process ends,
    /// which is always safe.
    pub fn cleanup(self) -> Result<(), CleanupError> {
        let others = Arc::strong_count(&self.alive) - 1;
        if others > 0 {
            return Err(CleanupError::InUse(others));
        }
        self.alive.reap();
        let left = self.alive.retired.lock().unwrap_or_else(PoisonError::into_inner).len();
        if left > 0 {
            return Err(CleanupError::PacketsOut(left));
        }
        let _setup = Setup::begin();
        // SAFETY: no port, pool, packet or job is left (checked above), and `self` is gone after
        // this.
        check(unsafe { dpdk_sys::rte_eal_cleanup() }).map(drop).map_err(CleanupError::Refused)
    }

    /// The CPU a core was given.
    pub fn cpu_of(&self, lcore: LcoreId) -> Option<u32> {
        self.cpus.get(lcore.as_u32() as usize).copied()
    }

    /// How often [`crate::tsc()`] ticks in a second.
    pub fn tsc_hz(&self) -> u64 {
        self.tsc_hz
    }

    /// DPDK's version, for example `DPDK 22.11.11`.
    pub fn version(&self) -> String {
        // SAFETY: returns a constant string.
        let text = unsafe { dpdk_sys::rte_version() };
        // SAFETY: terminated, and never freed.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    pub(crate) fn alive(&self) -> &Arc<Alive> {
        &self.alive
    }
}

/// Removes the directory that DPDK makes for its files, if it is empty, as it stays when no file is
/// to be left behind; and the one around it if that is ours.
fn remove_runtime_dir(ours: bool) {
    // SAFETY: returns a buffer that is empty until rte_eal_init has made the directory.
    let dir = unsafe { dpdk_sys::rte_eal_get_runtime_dir() };
    if dir.is_null() {
        return;
    }
    // SAFETY: a terminated string in a static buffer that nobody writes to any more.
    let dir = unsafe { CStr::from_ptr(dir) };
    // A directory with something in it stays, and so does one that is not there.
    let dir = Path::new(OsStr::from_bytes(dir.to_bytes()));
    let _ = std::fs::remove_dir(dir);
    if let Some(around) = dir.parent().filter(|_| ours) {
        let _ = std::fs::remove_dir(around);
    }
}

/// What is in use. Everything that needs DPDK holds one of these.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    /// Cores with work on them.
    pub(crate) busy: Mutex<Vec<LcoreId>>,
    /// Ports that a [`crate::Port`] or one of its queues owns.
    pub(crate) ports: Mutex<Vec<PortId>>,
    /// Pools without an owner that still wait for packets.
    pub(crate) retired: Mutex<Vec<Retired>>,
}

impl Alive {
    /// Frees the retired pools that all packets have come back to.
    ///
    /// A core that is giving back the last packet touches the pool's cache a moment longer than the
    /// count shows, so this waits until no core works, and leaves the main core's cache to the
    /// main thread. Any other thread has no cache: it returns packets through the pool's ring,
    /// which counts them only when it is done.
    pub(crate) fn reap(&self) {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.is_empty() || !on_main_lcore() {
            return;
        }
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|pool| !pool.try_free());
    }
}

fn on_main_lcore() -> bool {
    // SAFETY: reads a thread-local number.
    let here = unsafe { dpdk_sys::rte_lcore_id() };
    // SAFETY: reads a number that rte_eal_init has set.
    here == unsafe { dpdk_sys::rte_get_main_lcore() }
}

/// The CPUs a thread may run on. `rte_eal_init` pins its caller, and every thread made later would
/// inherit that.
struct Affinity(libc::cpu_set_t);

impl Affinity {
    fn of_this_thread() -> Option<Self> {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: writes at most the given size into `set`.
        let code = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
        // SAFETY: zeroed above; all bit patterns are valid.
        (code == 0).then(|| Self(unsafe { set.assume_init() }))
    }

    fn first_cpu(&self) -> Option<u32> {
        (0..libc::CPU_SETSIZE as u32).find(|&cpu| {
            // SAFETY: the index is below CPU_SETSIZE by the range above.
            unsafe { libc::CPU_ISSET(cpu as usize, &self.0) }
        })
    }

    fn restore(&self) {
        // SAFETY: a valid set of the given size. Failure leaves the thread pinned, which is only
        // slower.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
    }
}

static STARTED: AtomicBool = AtomicBool::new(false);
