//! A DPDK error number and its text: one of Linux's, or one of DPDK's own, which are above 1000.

use core::ffi::CStr;
use core::ffi::c_int;
use core::fmt;

/// Why a call into DPDK failed. Always positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(c_int);

impl Errno {
    /// Makes an error from a return value: a negative error number, or -1 for `rte_errno`. A few
    /// DPDK calls return a positive number.
    #[cold]
    pub(crate) fn from_return(code: c_int) -> Self {
        if code == -1 { Self::last() } else { Self(code.saturating_abs()) }
    }

    /// The error number of this thread's last failed DPDK call.
    #[cold]
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local integer.
        Self(unsafe { dpdk_sys::vipline_errno() }.saturating_abs())
    }

    /// The number, for example 19 for `ENODEV`.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("no reason given");
        }
        // SAFETY: any number is valid; the text is a constant or in a thread-local buffer.
        let text = unsafe { dpdk_sys::rte_strerror(self.0) };
        // SAFETY: rte_strerror never returns null and terminates its text; it is read before the
        // next call.
        let text = unsafe { CStr::from_ptr(text) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl core::error::Error for Errno {}

/// Clears the error number of this thread's system calls.
pub(crate) fn forget() {
    // SAFETY: gives the address of a thread-local integer.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it lives as long as this thread, which alone uses it.
    unsafe { errno.write(0) };
}

/// The error of this thread's last system call that failed since [`forget`], if it is one of
/// [`REFUSALS`]. Other errors explain nothing: libraries look for many files that need not exist.
#[cold]
pub(crate) fn kernel() -> Option<Errno> {
    let code = std::io::Error::last_os_error().raw_os_error()?;
    REFUSALS.contains(&code).then_some(Errno(code))
}

const REFUSALS: &[c_int] = &[
    libc::EACCES,
    libc::EBUSY,
    libc::EMFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EOPNOTSUPP,
    libc::EPERM,
    libc::ERANGE,
];

/// `Ok` unless `code` is negative.
#[inline]
pub(crate) fn check(code: c_int) -> Result<c_int, Errno> {
    if code < 0 { Err(Errno::from_return(code)) } else { Ok(code) }
}
