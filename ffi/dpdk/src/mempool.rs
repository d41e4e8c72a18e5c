//! A pool of packet buffers of one size.
//!
//! A pool is cheap to share: clones are handles to the same pool, for any thread. Each core has its
//! own cache of packets. Packets do not hold a handle. So if the last handle goes while packets are
//! still out, the pool is only retired, and freed later ([`crate::eal::Alive::reap`]).

use core::ptr::NonNull;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use dpdk_sys::rte_mempool;

use crate::eal::Alive;
use crate::eal::Eal;
use crate::errno::Errno;
use crate::log::Reason;
use crate::log::Setup;
use crate::mbuf::Mbuf;

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MempoolError {
    /// The name cannot be passed to C, or is too long.
    #[error("Bad pool name {0:?}: at most 16 characters, no NUL byte")]
    BadName(String),
    /// The packet's 16-bit lengths cannot hold the size.
    #[error("Pool {name}: {data_room} bytes a packet are too many, the most is 65407")]
    DataRoom {
        /// Which pool.
        name: String,
        /// What was asked for.
        data_room: u16,
    },
    /// The drivers that DPDK loads at start are missing. Every pool needs one of them.
    #[error("DPDK has no drivers: {dir} is empty or missing; install DPDK's packages (scripts/setup does)")]
    NoDrivers {
        /// Where they should be.
        dir: String,
    },
    /// DPDK refused.
    #[error("Cannot make pool {name} of {count} packets: {reason}")]
    Refused {
        /// Which pool.
        name: String,
        /// How many packets it should hold.
        count: u32,
        /// Why. `Cannot allocate memory` means that it needs more hugepages, or a larger
        /// `memory_mb`.
        reason: Reason,
    },
}

/// Where DPDK looks for its drivers.
pub fn driver_dir() -> String {
    String::from_utf8_lossy(dpdk_sys::RTE_EAL_PMD_PATH).trim_end_matches('\0').to_owned()
}

/// Whether DPDK has loaded a driver for pools. If that cannot be read, the answer is yes.
fn has_drivers() -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps");
    maps.map_or(true, |maps| maps.contains("librte_mempool_"))
}

/// A handle to a pool of packets.
#[derive(Clone, Debug)]
pub struct Mempool {
    shared: Arc<Shared>,
}

impl Mempool {
    /// The usual room for a packet, in bytes: more than an Ethernet frame needs, and the size that
    /// most NICs prefer.
    pub const DATA_ROOM: u16 = 2048;

    /// Makes a pool of `count` packets with `data_room` bytes each, headroom not counted. A `count`
    /// of one less than a power of two wastes no memory. Each core caches up to `cache` packets (at
    /// most 512).
    pub fn new(eal: &Eal, name: &str, count: u32, cache: u32, data_room: u16) -> Result<Self, MempoolError> {
        eal.alive().reap();
        let Some(room) = data_room.checked_add(dpdk_sys::RTE_PKTMBUF_HEADROOM as u16) else {
            return Err(MempoolError::DataRoom { name: name.to_owned(), data_room });
        };
        // A retired pool may still have the name. So the name gets a number.
        let unique = format!("{name}.{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let unique = match CString::new(unique) {
            Ok(unique) if name.len() <= LONGEST_NAME => unique,
            _ => return Err(MempoolError::BadName(name.to_owned())),
        };
        let setup = Setup::begin();
        // SAFETY: DPDK runs (`eal`), the name is terminated; every number is checked by the callee.
        let pool =
            unsafe { dpdk_sys::rte_pktmbuf_pool_create(unique.as_ptr(), count, cache, 0, room, ANY_SOCKET) };
        let Some(pool) = NonNull::new(pool) else {
            let errno = Errno::last();
            if !has_drivers() {
                return Err(MempoolError::NoDrivers { dir: driver_dir() });
            }
            return Err(MempoolError::Refused { name: name.to_owned(), count, reason: setup.why(errno) });
        };
        let shared = Shared { pool, capacity: count, data_room, alive: Arc::clone(eal.alive()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes an empty packet; `None` if the pool is empty.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is open while a handle is.
        let raw = unsafe { dpdk_sys::rte_pktmbuf_alloc(self.as_ptr()) };
        // SAFETY: a fresh packet that nobody else holds.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Fills the free capacity of `out` with empty packets. If the pool has too few, adds nothing
    /// and returns `false`.
    #[inline]
    pub fn alloc_bulk<const N: usize>(&self, out: &mut ArrayVec<Mbuf, N>) -> bool {
        let (held, room) = (out.len(), out.remaining_capacity());
        // SAFETY: `held` is at most the capacity.
        let free = unsafe { out.as_mut_ptr().add(held) };
        // Mbuf is a transparent NonNull<rte_mbuf>: an array of the one is an array of the other.
        // SAFETY: the pool is open, and `free` has space for `room` pointers.
        let code = unsafe { dpdk_sys::rte_pktmbuf_alloc_bulk(self.as_ptr(), free.cast(), room as u32) };
        if code != 0 {
            return false;
        }
        // SAFETY: the call wrote `room` fresh packets behind the `held` ones.
        unsafe { out.set_len(held + room) };
        true
    }

    /// How many packets are in the pool now, including the cores' caches. The call is slow, and its
    /// answer is out of date at once.
    pub fn available(&self) -> u32 {
        available(self.shared.pool)
    }

    /// How many packets the pool was made with.
    pub fn capacity(&self) -> u32 {
        self.shared.capacity
    }

    /// The most bytes a packet of this pool holds in one piece, headroom not counted.
    pub fn data_room(&self) -> u16 {
        self.shared.data_room
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut rte_mempool {
        self.shared.pool.as_ptr()
    }
}

#[derive(Debug)]
struct Shared {
    pool: NonNull<rte_mempool>,
    capacity: u32,
    data_room: u16,
    alive: Arc<Alive>,
}

// SAFETY: DPDK pools may be used by all threads at once; the pointer never changes.
unsafe impl Send for Shared {}
// SAFETY: as for Send.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        let retired = Retired { pool: self.pool, capacity: self.capacity };
        self.alive.retired.lock().unwrap_or_else(PoisonError::into_inner).push(retired);
        self.alive.reap();
    }
}

/// A pool without a handle: nobody can take packets from it any more.
#[derive(Debug)]
pub(crate) struct Retired {
    pool: NonNull<rte_mempool>,
    capacity: u32,
}

// SAFETY: as for Shared.
unsafe impl Send for Retired {}

impl Retired {
    /// Frees the pool if all its packets are back, and returns whether it did. Only [`Alive::reap`]
    /// may call it: it knows that no core is still returning a packet, and it drops the value after
    /// `true`.
    pub(crate) fn try_free(&mut self) -> bool {
        if available(self.pool) < self.capacity {
            return false;
        }
        // SAFETY: no handle is left to take packets and none is out, so nobody refers to the pool.
        unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
        true
    }
}

fn available(pool: NonNull<rte_mempool>) -> u32 {
    // SAFETY: the pool is open: its owner calls this.
    unsafe { dpdk_sys::rte_mempool_avail_count(pool.as_ptr()) }
}

static SERIAL: AtomicU32 = AtomicU32::new(0);

const ANY_SOCKET: i32 = -1;
/// Leaves room for the number and for DPDK's own prefixes.
const LONGEST_NAME: usize = 16;
