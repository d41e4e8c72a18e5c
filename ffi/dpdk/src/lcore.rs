//! Logical cores: the threads that DPDK made at start, each pinned to one CPU, and their work.
//!
//! A worker must be one of these threads: only they have their own packet cache in each pool. The
//! caller that launched the work owns the handle. The closure and all it captured are dropped on
//! the worker.

use core::any::Any;
use core::ffi::c_int;
use core::ffi::c_void;
use core::fmt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::eal::Alive;
use crate::eal::Eal;
use crate::errno::Errno;
use crate::errno::check;
use crate::log::Setup;

/// A logical core's number. 0 is the main core; workers follow in the order in which their CPUs
/// were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LcoreId(u32);

impl LcoreId {
    pub(crate) fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    pub fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for LcoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why work could not be started on a core.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The core still runs other work.
    #[error("Core {0} is busy")]
    Busy(LcoreId),
    /// Not one of [`Eal::worker_lcores`].
    #[error("Core {0} is not a worker core")]
    NotAWorker(LcoreId),
    /// DPDK could not wake the core.
    #[error("Cannot start work on core {lcore}: {errno}")]
    Signal {
        /// Which core.
        lcore: LcoreId,
        /// Why.
        errno: Errno,
    },
}

/// The work on a core panicked.
#[derive(Debug, thiserror::Error)]
#[error("The work on core {lcore} panicked: {message}")]
pub struct JoinError {
    lcore: LcoreId,
    message: String,
}

/// A handle to work that runs on a core. If it is dropped, the work runs on.
#[must_use]
pub struct LcoreHandle<T = ()> {
    lcore: LcoreId,
    outcome: Arc<Outcome<T>>,
}

impl<T> LcoreHandle<T> {
    /// Sleeps until the work has ended, and returns its result. The core is then free again.
    pub fn join(self) -> Result<T, JoinError> {
        self.outcome.wait().map_err(|panic| JoinError { lcore: self.lcore, message: panic_message(&*panic) })
    }

    /// Whether the work has ended.
    pub fn is_finished(&self) -> bool {
        matches!(*self.outcome.lock(), Slot::Done(_))
    }

    /// The core the work runs on.
    pub fn lcore(&self) -> LcoreId {
        self.lcore
    }
}

impl<T> Drop for LcoreHandle<T> {
    fn drop(&mut self) {
        self.outcome.abandon();
    }
}

impl Eal {
    /// Runs `work` on worker core `lcore`, which must be idle.
    pub fn launch<T, F>(&self, lcore: LcoreId, work: F) -> Result<LcoreHandle<T>, LaunchError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.worker_lcores().contains(&lcore) {
            return Err(LaunchError::NotAWorker(lcore));
        }
        let Some(running) = Running::begin(lcore, self.alive()) else {
            return Err(LaunchError::Busy(lcore));
        };
        let outcome = Arc::new(Outcome::new());
        let theirs = Arc::clone(&outcome);
        let job: Job = Box::new(move || theirs.finish(catch_unwind(AssertUnwindSafe(work)), running));
        // DPDK passes one pointer, and a boxed closure has two: so the box is boxed again.
        let arg = Box::into_raw(Box::new(job));
        let setup = Setup::begin();
        let code = loop {
            // SAFETY: `lcore` is an enabled worker, checked above; `run_job` takes the box back
            // exactly once.
            let code = unsafe { dpdk_sys::rte_eal_remote_launch(Some(run_job), arg.cast(), lcore.as_u32()) };
            // None of our work is left on the core (`running`), so it will be idle after a few
            // instructions.
            if code != -libc::EBUSY {
                break code;
            }
            core::hint::spin_loop();
        };
        drop(setup);
        match check(code) {
            Ok(_) => Ok(LcoreHandle { lcore, outcome }),
            Err(errno) => {
                // SAFETY: the launch failed, so nobody else took the box that was made above.
                drop(unsafe { Box::from_raw(arg) });
                Err(LaunchError::Signal { lcore, errno })
            }
        }
    }

    /// The cores that [`Eal::launch`] may use, in the order in which their CPUs were given.
    pub fn worker_lcores(&self) -> Vec<LcoreId> {
        core::iter::successors(next_worker(u32::MAX), |lcore| next_worker(lcore.as_u32())).collect()
    }
}

type Job = Box<dyn FnOnce() + Send>;

extern "C" fn run_job(arg: *mut c_void) -> c_int {
    // SAFETY: `launch` passed a box of a Job here and gave it up.
    let job = unsafe { Box::from_raw(arg.cast::<Job>()) };
    job();
    0
}

/// A core counts as busy while this exists.
struct Running {
    lcore: LcoreId,
    alive: Arc<Alive>,
}

impl Running {
    fn begin(lcore: LcoreId, alive: &Arc<Alive>) -> Option<Self> {
        let mut busy = alive.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.contains(&lcore) {
            return None;
        }
        busy.push(lcore);
        Some(Self { lcore, alive: Arc::clone(alive) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.alive.busy.lock().unwrap_or_else(PoisonError::into_inner).retain(|&lcore| lcore != self.lcore);
    }
}

/// The place where the work leaves its result for the handle.
struct Outcome<T> {
    slot: Mutex<Slot<T>>,
    done: Condvar,
}

enum Slot<T> {
    /// The handle is gone: nobody waits for the result.
    Abandoned,
    Done(std::thread::Result<T>),
    Pending,
}

impl<T> Outcome<T> {
    fn new() -> Self {
        Self { slot: Mutex::new(Slot::Pending), done: Condvar::new() }
    }

    /// The core calls it last. The core stops being busy before the handle can see the result,
    /// because the owner of the handle may shut DPDK down at once. If nobody wants the result, it
    /// is dropped before the core stops being busy, because it may hold packets.
    fn finish(&self, result: std::thread::Result<T>, running: Running) {
        let mut slot = self.lock();
        if matches!(*slot, Slot::Abandoned) {
            drop(result);
            drop(running);
        } else {
            drop(running);
            *slot = Slot::Done(result);
            self.done.notify_all();
        }
    }

    fn wait(&self) -> std::thread::Result<T> {
        let mut slot = self.lock();
        loop {
            match core::mem::replace(&mut *slot, Slot::Pending) {
                Slot::Done(result) => return result,
                other => *slot = other,
            }
            slot = self.done.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Drops the result if it is there already, so that the core never drops a result after it
    /// stopped being busy.
    fn abandon(&self) {
        let left = core::mem::replace(&mut *self.lock(), Slot::Abandoned);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_worker(after: u32) -> Option<LcoreId> {
    // SAFETY: walks a constant table; any start is allowed, and u32::MAX stands for "before the
    // first".
    let next = unsafe { dpdk_sys::rte_get_next_lcore(after, 1, 0) };
    (next < dpdk_sys::RTE_MAX_LCORE).then_some(LcoreId::new(next))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_owned(),
    }
}
