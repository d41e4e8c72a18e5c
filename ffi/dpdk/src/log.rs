//! Where DPDK's log lines go.
//!
//! DPDK explains a failure in its log and returns little more than `EINVAL`. While a set-up call runs its log goes
//! to memory, so that the error can carry the line that says why; at all other times it goes to stderr (DPDK's own
//! default is stdout). The one lock here also keeps set-up calls apart: DPDK expects them one at a time.

use core::fmt;
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::errno::Errno;

/// The exclusive right to run set-up calls, with the log kept aside meanwhile.
pub(crate) struct Setup {
    streams: Option<&'static Streams>,
    _serial: MutexGuard<'static, ()>,
}

impl Setup {
    pub(crate) fn begin() -> Self {
        let serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = STREAMS.get_or_init(Streams::open).as_ref();
        if let Some(streams) = streams
            && !VERBOSE.load(Ordering::Relaxed)
        {
            // A failed truncation only leaves older lines in front.
            let _ = streams.memory.set_len(0);
            streams.memory_stream.install();
        }
        Self { streams, _serial: serial }
    }

    /// The line DPDK logged first since [`Setup::begin`], leaving out those that only say that something failed.
    #[cold]
    pub(crate) fn why(&self, errno: Errno) -> Reason {
        Reason { errno, words: self.words() }
    }

    fn words(&self) -> Option<String> {
        let mut memory = self.streams?.memory.try_clone().ok()?;
        let mut text = Vec::new();
        memory.rewind().ok()?;
        memory.take(LONGEST_LOG).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.find(|line| !NOISE.iter().any(|noise| line.contains(noise)))?;
        Some(without_origin(line).chars().take(LONGEST_LINE).collect())
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if let Some(streams) = self.streams {
            streams.stderr.install();
        }
    }
}

/// Why DPDK refused something: an error number, and what it had to say in its log, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    errno: Errno,
    words: Option<String>,
}

impl Reason {
    /// The error number; 0 if DPDK gave none.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.words, self.errno.as_raw()) {
            (Some(words), 0) => f.write_str(words),
            (Some(words), _) => write!(f, "{} ({words})", self.errno),
            (None, _) => self.errno.fmt(f),
        }
    }
}

/// Lets the log through to stderr even during set-up, for the operator who asked to see it.
pub(crate) fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

struct Streams {
    memory: File,
    memory_stream: Stream,
    stderr: Stream,
}

impl Streams {
    fn open() -> Option<Self> {
        // SAFETY: a valid name and flag; the result is checked below.
        let fd = unsafe { libc::memfd_create(c"dpdk-log".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        // SAFETY: a new descriptor that nobody else owns.
        let memory = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        // Append mode lets a truncation restart the file under the stream's feet.
        // SAFETY: sets a status flag on a descriptor this function owns.
        unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
        let memory_stream = Stream::open(memory.try_clone().ok()?.into(), c"a")?;
        let stderr = Stream::open(duplicate(libc::STDERR_FILENO)?, c"a")?;
        Some(Self { memory, memory_stream, stderr })
    }
}

/// A C stream that is never closed: another thread may be about to log through it at any time.
struct Stream(*mut libc::FILE);

// SAFETY: the C library locks a stream for each operation; the pointer is never changed or freed.
unsafe impl Send for Stream {}
// SAFETY: as for Send.
unsafe impl Sync for Stream {}

impl Stream {
    fn open(fd: OwnedFd, mode: &CStr) -> Option<Self> {
        // SAFETY: the descriptor's ownership goes to the stream; the mode is a valid string.
        let file = unsafe { libc::fdopen(fd.into_raw_fd(), mode.as_ptr()) };
        (!file.is_null()).then_some(Self(file))
    }

    fn install(&self) {
        // SAFETY: the stream is open and stays so for the life of the process.
        unsafe { dpdk_sys::rte_openlog_stream(self.0.cast()) };
    }
}

/// Takes off what names the place in DPDK's source: `EAL: `, `rte_pmd_init_internals(): `.
fn without_origin(line: &str) -> &str {
    let mut line = line;
    while let Some((origin, rest)) = line.split_once(": ")
        && (origin.ends_with("()") || origin.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    {
        line = rest;
    }
    line
}

fn duplicate(fd: libc::c_int) -> Option<OwnedFd> {
    // SAFETY: any number is allowed; the result is checked.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return None;
    }
    // SAFETY: a new descriptor that nobody else owns.
    Some(unsafe { OwnedFd::from_raw_fd(copy) })
}

static SERIAL: Mutex<()> = Mutex::new(());
static STREAMS: OnceLock<Option<Streams>> = OnceLock::new();
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Lines that add nothing to the error they would be quoted in.
const NOISE: &[&str] = &[
    "cannot attach the device",
    "Cannot attach",
    "Failed to attach device",
    "Driver cannot",
    "cannot initialize",
];
const LONGEST_LOG: u64 = 1 << 16;
const LONGEST_LINE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_taken_off() {
        assert_eq!(without_origin("EAL: Cannot init memory"), "Cannot init memory");
        assert_eq!(without_origin("ETHDEV: some_function(): eth0: no such: thing"), "eth0: no such: thing");
        assert_eq!(without_origin("plain"), "plain");
    }
}
