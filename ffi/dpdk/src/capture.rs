//! Captures what C libraries print while a set-up call runs.
//!
//! libxdp, libbpf and DPDK's command line print on stdout and stderr, sometimes whole pages, and no
//! setting stops all of it. While a [`Capture`] lives, both descriptors are a file in memory; an
//! error message may quote from it. The descriptors belong to the whole process, so nobody else
//! should print meanwhile. The lock in `log.rs` allows one capture at a time.

use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

/// stdout and stderr go to a file in memory while this lives.
pub(crate) struct Capture {
    /// The original stdout and stderr; `drop` puts them back.
    kept: [Option<OwnedFd>; 2],
}

impl Capture {
    /// Puts `memory` in the place of stdout and stderr. A stream whose descriptor cannot be
    /// duplicated stays as it is.
    pub(crate) fn begin(memory: &File) -> Self {
        flush();
        let kept = STREAMS.map(|stream| {
            let kept = duplicate(stream)?;
            put(memory.as_raw_fd(), stream);
            Some(kept)
        });
        Self { kept }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        flush();
        for (kept, stream) in self.kept.iter().zip(STREAMS) {
            if let Some(kept) = kept {
                put(kept.as_raw_fd(), stream);
            }
        }
    }
}

/// An empty file in memory, in append mode.
pub(crate) fn memory() -> Option<File> {
    // SAFETY: a valid name and flag; the result is checked below.
    let fd = unsafe { libc::memfd_create(c"dpdk-log".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return None;
    }
    // SAFETY: a new descriptor that nobody else owns.
    let memory = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    // In append mode a truncation restarts the file, also for streams that have it open.
    // SAFETY: sets a status flag on a descriptor this function owns.
    unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
    Some(memory)
}

/// The text of the file, at most [`LONGEST`] bytes.
pub(crate) fn text(memory: &File) -> Option<String> {
    flush();
    let mut memory = memory.try_clone().ok()?;
    memory.rewind().ok()?;
    let mut text = Vec::new();
    memory.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A second descriptor for the same file.
pub(crate) fn duplicate(fd: libc::c_int) -> Option<OwnedFd> {
    // SAFETY: any number is allowed; the result is checked.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return None;
    }
    // SAFETY: a new descriptor that nobody else owns.
    Some(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn put(fd: libc::c_int, stream: libc::c_int) {
    // SAFETY: both are open; the stream's own descriptor is kept by the caller.
    unsafe { libc::dup2(fd, stream) };
}

/// Writes out the buffers of C's streams, so that their text goes to the present file.
fn flush() {
    // SAFETY: null stands for all streams.
    unsafe { libc::fflush(core::ptr::null_mut()) };
}

const STREAMS: [libc::c_int; 2] = [libc::STDOUT_FILENO, libc::STDERR_FILENO];
const LONGEST: u64 = 1 << 20;
