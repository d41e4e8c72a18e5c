//! Messages for whoever started the program.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::real;

/// The file that was behind descriptor 2 at the start: its device and its inode. A program that has
/// become a daemon may have something else there, which must get no messages.
static DEVICE: AtomicU64 = AtomicU64::new(0);
static INODE: AtomicU64 = AtomicU64::new(0);
/// Whether the program was told that no daemon answers, and none has answered since.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Notes the file behind descriptor 2.
pub(crate) fn begin() {
    if let Some((device, inode)) = behind_stderr() {
        DEVICE.store(device, Ordering::Relaxed);
        INODE.store(inode, Ordering::Relaxed);
    }
}

/// Says on stderr, once until [`well`] is called, why IPVS does not work.
pub(crate) fn trouble(text: &str) {
    if TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    let began = (DEVICE.load(Ordering::Relaxed), INODE.load(Ordering::Relaxed));
    if behind_stderr() == Some(began) {
        let line = format!("libvipline_ipvs: {text}\n");
        // SAFETY: the pointer and the length are those of `line`.
        unsafe { real::write(2, line.as_ptr().cast::<c_void>(), line.len()) };
    }
}

/// A daemon has answered: the next trouble is told again.
pub(crate) fn well() {
    TOLD.store(false, Ordering::Relaxed);
}

fn behind_stderr() -> Option<(u64, u64)> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `found` has room for the structure.
    if unsafe { libc::fstat(2, found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: fstat has filled it.
    let found = unsafe { found.assume_init() };
    Some((found.st_dev, found.st_ino))
}
