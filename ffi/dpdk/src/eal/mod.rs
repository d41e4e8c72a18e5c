//! DPDK's environment. It starts once in a process, and owns the memory, the cores and the devices.
//!
//! [`Eal`] is the proof that DPDK runs. Ports, pools and running work each hold an [`Alive`], and
//! [`Eal::cleanup`] refuses while any of them is left. Any thread may use the environment; set-up
//! calls take turns.

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

/// Why the environment did not start. A process can start DPDK only once: to try again, start a new
/// process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EalInitError {
    /// DPDK runs already, or an earlier start failed.
    #[error("DPDK was already started in this process")]
    AlreadyStarted,
    /// An argument cannot be passed to C.
    #[error("DPDK argument {0:?} contains a NUL byte")]
    NulByte(String),
    /// DPDK refused.
    #[error("Cannot start DPDK: {reason}")]
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// Why the environment cannot be shut down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanupError {
    /// DPDK refused.
    #[error("Cannot shut DPDK down: {0}")]
    Refused(Errno),
    /// Somebody still has a port, a pool, or work on a core.
    #[error("DPDK is still in use: {0} ports, pools or running cores")]
    InUse(usize),
    /// Packets of dropped pools still exist.
    #[error("DPDK is still in use: packets of {0} dropped pools still exist")]
    PacketsOut(usize),
}

/// The proof that DPDK runs. There is at most one in a process.
#[must_use]
#[derive(Debug)]
pub struct Eal {
    alive: Arc<Alive>,
    tsc_hz: u64,
    /// By core number.
    cpus: Vec<u32>,
}

impl Eal {
    /// Starts DPDK. From now on the calling thread is the main core; it may still run on the same
    /// CPUs as before.
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
            // DPDK reads its directory from systemd's variable (`eal_create_runtime_dir`).
            // SAFETY: both strings are terminated and are copied. Only DPDK reads the environment,
            // on this thread.
            unsafe { libc::setenv(c"RUNTIME_DIRECTORY".as_ptr(), dir.as_ptr(), 1) };
        }
        log::set_verbose(args.is_verbose());
        let setup = Setup::begin();
        // DPDK keeps pointers to its arguments and reorders them. So they are never freed.
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

    /// Shuts DPDK down: closes the remaining devices and frees the memory. Refuses while anything
    /// still uses DPDK; then the environment stays as it is until the process ends, which is always
    /// safe.
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

    /// The CPU of a core.
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

/// Removes the directory that DPDK made for its files, if it is empty. It is empty when DPDK keeps
/// no files. Removes the parent directory too if it is ours.
fn remove_runtime_dir(ours: bool) {
    // SAFETY: returns a buffer that is empty until rte_eal_init has made the directory.
    let dir = unsafe { dpdk_sys::rte_eal_get_runtime_dir() };
    if dir.is_null() {
        return;
    }
    // SAFETY: a terminated string in a static buffer that nobody writes to any more.
    let dir = unsafe { CStr::from_ptr(dir) };
    // `remove_dir` fails for a directory that is not empty or does not exist; that is fine.
    let dir = Path::new(OsStr::from_bytes(dir.to_bytes()));
    let _ = std::fs::remove_dir(dir);
    if let Some(around) = dir.parent().filter(|_| ours) {
        let _ = std::fs::remove_dir(around);
    }
}

/// What is in use. Everything that needs DPDK holds a share of it.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    /// Cores with work on them.
    pub(crate) busy: Mutex<Vec<LcoreId>>,
    /// Ports that a [`crate::Port`] or one of its queues owns.
    pub(crate) ports: Mutex<Vec<PortId>>,
    /// Pools without an owner that still wait for packets to come back.
    pub(crate) retired: Mutex<Vec<Retired>>,
}

impl Alive {
    /// Frees the retired pools whose packets are all back.
    ///
    /// A core that returns the last packet touches the pool's cache for a moment after the count
    /// shows the packet. So this waits until no core works. It does nothing on threads other than
    /// the main core's, because that thread may be using its cache. Any other thread has no cache:
    /// it returns packets through the pool's ring, which counts a packet only when the return is
    /// complete.
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

/// The CPUs that a thread may run on. `rte_eal_init` pins its caller, and every thread made later
/// would inherit the pinning.
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
