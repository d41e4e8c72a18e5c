//! Which CPUs this process may use, and which of them a thread keeps to.
//!
//! A thread inherits the CPUs of the thread that starts it, and the start of DPDK binds the calling
//! thread to one CPU. So call [`allowed_cpus`] before that, and [`pin`] every control thread, or
//! start the control threads before DPDK.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The CPUs the calling thread may run on, in order.
pub fn allowed_cpus() -> Vec<usize> {
    let mut cpus: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cpus.sort_unstable();
    cpus
}

/// The CPU of the worker when the configuration names none: the last one, because interrupts and
/// the rest of the system gather on the first CPUs.
pub fn default_worker_cpu(allowed: &[usize]) -> Option<usize> {
    allowed.iter().copied().max()
}

/// Keeps the calling thread, and the threads that it will start, to `cpus`. An empty list changes
/// nothing.
pub fn pin(cpus: &[usize]) -> Result<(), PinError> {
    let refused = || PinError { cpus: cpus.to_vec() };
    match cpus {
        [] => Ok(()),
        [cpu] if core_affinity::set_for_current(core_affinity::CoreId { id: *cpu }) => Ok(()),
        [_] => Err(refused()),
        several => {
            let mut set = CpuSet::new();
            several.iter().try_for_each(|cpu| set.set(*cpu)).map_err(|_| refused())?;
            sched_setaffinity(Pid::from_raw(0), &set).map_err(|_| refused())
        }
    }
}

/// The system refused the CPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep a thread to CPUs {cpus:?}: this process may not use them")]
pub struct PinError {
    /// The CPUs that were asked for.
    pub cpus: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_is_allowed_its_cpu_alone() {
        let all = allowed_cpus();
        let last = default_worker_cpu(&all).unwrap();
        assert_eq!(all.last(), Some(&last));
        std::thread::spawn(move || {
            pin(&[last]).unwrap();
            assert_eq!(allowed_cpus(), [last]);
            pin(&all).unwrap();
            assert_eq!(allowed_cpus(), all);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        assert_eq!(pin(&[1000]).unwrap_err().cpus, [1000]);
        assert!(pin(&[1000, 1001]).unwrap_err().to_string().contains("[1000, 1001]"));
    }
}
