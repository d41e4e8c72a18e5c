//! Where DPDK's log lines go.
//!
//! DPDK explains a failure in its log and returns little more than `EINVAL`. The libraries under it
//! print their explanations. While a set-up call runs, all this text goes to memory, so that the
//! error can quote the reason. At all other times the log goes to stderr (DPDK's default is
//! stdout).
//!
//! DPDK expects one set-up call at a time; the lock here ensures that.

use core::fmt;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::capture;
use crate::capture::Capture;
use crate::errno;
use crate::errno::Errno;
use crate::words;

/// The exclusive right to run set-up calls. While it exists, the log goes to memory.
pub(crate) struct Setup {
    streams: Option<&'static Streams>,
    capture: Option<Capture>,
    _serial: MutexGuard<'static, ()>,
}

impl Setup {
    pub(crate) fn begin() -> Self {
        let serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = STREAMS.get_or_init(Streams::open).as_ref();
        let mut capture = None;
        if let Some(streams) = streams
            && !VERBOSE.load(Ordering::Relaxed)
        {
            // If the truncation fails, older lines stay in front; that does no harm.
            let _ = streams.memory.set_len(0);
            streams.memory_stream.install();
            capture = Some(Capture::begin(&streams.memory));
        }
        errno::forget();
        Self { streams, capture, _serial: serial }
    }

    /// The explanation of a failure: what was logged and printed since [`Setup::begin`]. Call it
    /// right after the failure.
    #[cold]
    pub(crate) fn why(&self, errno: Errno) -> Reason {
        let kernel = errno::kernel();
        let words = self.streams.and_then(|streams| words::pick(&capture::text(&streams.memory)?));
        Reason { errno, words, kernel }
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        drop(self.capture.take());
        if let Some(streams) = self.streams {
            streams.stderr.install();
        }
    }
}

/// Why DPDK refused a call: an error number, and the words of its log, if there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    errno: Errno,
    words: Option<String>,
    /// The error of the last system call that failed.
    kernel: Option<Errno>,
}

impl Reason {
    /// The error number; 0 if DPDK gave none.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl Reason {
    /// The error with which the kernel refused the last system call, if it is known. DPDK often
    /// does not pass it on.
    pub fn kernel(&self) -> Option<Errno> {
        self.kernel
    }

    /// Whether the explanation contains these words.
    pub fn says(&self, words: &str) -> bool {
        self.words.as_ref().is_some_and(|said| said.contains(words))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.words, self.errno.as_raw(), self.kernel) {
            (Some(words), _, Some(kernel)) => write!(f, "{kernel} ({words})"),
            (Some(words), 0, None) => f.write_str(words),
            (Some(words), _, None) => write!(f, "{} ({words})", self.errno),
            (None, _, _) => self.errno.fmt(f),
        }
    }
}

/// Whether the log goes to stderr even during set-up, because the operator asked for it.
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
        let memory = capture::memory()?;
        let memory_stream = Stream::open(memory.try_clone().ok()?.into(), c"a")?;
        let stderr = Stream::open(capture::duplicate(libc::STDERR_FILENO)?, c"a")?;
        Some(Self { memory, memory_stream, stderr })
    }
}

/// A C stream. It is never closed: another thread may log through it at any time.
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

static SERIAL: Mutex<()> = Mutex::new(());
static STREAMS: OnceLock<Option<Streams>> = OnceLock::new();
static VERBOSE: AtomicBool = AtomicBool::new(false);
