//! The time-stamp counter. It ticks [`crate::Eal::tsc_hz`] times a second. Read it once a burst,
//! never once a packet.

/// Reads this core's time-stamp counter.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and Linux lets user space use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads this core's time-stamp counter.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a counter register; no arguments, no state.
    unsafe { dpdk_sys::rte_rdtsc() }
}
