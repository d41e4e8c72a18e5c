//! The daemon's log on stderr, which can neither stop nor slow the daemon.
//!
//! All lines go into a pipe. One thread carries them from there to what was stderr at the start.
//! Nobody waits for the pipe: a line that does not fit is lost, and counted. So only that one
//! thread suffers from a full disk, a pipe that nobody reads, or a terminal that is stopped.
//! Descriptor 2 becomes the pipe as well, for C libraries and for panics.
//!
//! The kernel writes up to [`PIPE_BUF`] bytes in one piece, so the lines of several threads do not
//! mix.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{self, Pid};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogLevel;

/// The longest line that is written in one piece (`limits.h`, `pipe(7)`).
pub const PIPE_BUF: usize = 4096;

/// How many bytes may wait for the thread: the most that a process without privileges can have.
const ROOM: i32 = 1 << 20;

/// How long the last lines may take at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many lines were lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log were lost since the start, because stderr could not be written to or
/// nobody read it.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The log of this process. It goes on when this handle is dropped.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

struct Shared {
    /// The end that is written to. Writing never waits: a full pipe is an error.
    enter: OwnedFd,
    leave: OwnedFd,
    /// What was stderr.
    stderr: OwnedFd,
    /// Whether the thread holds bytes that it has taken from the pipe and not written yet.
    busy: AtomicBool,
    /// The thread's id; 0 before the thread runs.
    thread: AtomicI32,
    /// Sets the level, once the log is installed.
    set_level: OnceLock<Box<dyn Fn(Level) + Send + Sync>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("stderr", &self.stderr).finish_non_exhaustive()
    }
}

impl Log {
    /// Makes the pipe and its thread, and puts the pipe in the place of stderr. Call it once in a
    /// process.
    pub fn start() -> io::Result<Self> {
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let (leave, enter) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        let flags = OFlag::from_bits_retain(fcntl(&enter, FcntlArg::F_GETFL)?);
        fcntl(&enter, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // If there is less room, the log works too.
        let _ = fcntl(&enter, FcntlArg::F_SETPIPE_SZ(ROOM));
        unistd::dup2_stderr(&enter)?;
        let (busy, thread) = (AtomicBool::new(false), AtomicI32::new(0));
        let log = Self(Arc::new(Shared { enter, leave, stderr, busy, thread, set_level: OnceLock::new() }));
        // The thread that carries the log may be stuck, so it must not get any signals.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let shared = Arc::clone(&log.0);
        let spawned = thread::Builder::new().name("vl-log".into()).spawn(move || carry(&shared));
        before.thread_set_mask()?;
        spawned?;
        Ok(log)
    }

    /// Takes the lines that the program logs through `tracing`, and the message of a panic. The log
    /// never has fewer lines than `least` says, if it says something.
    pub fn install(&self, least: Option<Level>) {
        let writer = self.clone();
        let log = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_target(false)
            .with_ansi(self.0.stderr.is_terminal())
            // Otherwise a line that cannot be written is told on stderr by a macro, which panics
            // when that fails too.
            .log_internal_errors(false)
            .with_writer(move || writer.clone());
        // The journal stamps the time itself.
        if self.is_journal() {
            self.begin(log.without_time().finish(), least);
        } else {
            self.begin(log.finish(), least);
        }
        let log = self.clone();
        std::panic::set_hook(Box::new(move |info| {
            let thread = thread::current();
            let name = thread.name().unwrap_or("without a name");
            log.say(&format!("viplined: the thread {name} {info}\n"));
            let trace = Backtrace::capture();
            if trace.status() == BacktraceStatus::Captured {
                log.say(&trace.to_string());
            }
            log.flush();
        }));
    }

    fn begin<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static>(
        &self,
        subscriber: S,
        least: Option<Level>,
    ) {
        let first = LevelFilter::from_level(least.unwrap_or(Level::INFO));
        let (filter, handle) = reload::Layer::new(first);
        subscriber.with(filter).init();
        let set = move |level: Level| {
            let level = least.map_or(level, |least| least.max(level));
            // This fails only if the log has ended.
            let _ = handle.modify(|filter| *filter = LevelFilter::from_level(level));
        };
        let _ = self.0.set_level.set(Box::new(set));
    }

    /// Sets which lines the log takes from now on.
    pub fn set_level(&self, level: LogLevel) {
        if let Some(set) = self.0.set_level.get() {
            set(match level {
                LogLevel::Error => Level::ERROR,
                LogLevel::Warn => Level::WARN,
                LogLevel::Info => Level::INFO,
                LogLevel::Debug => Level::DEBUG,
                LogLevel::Trace => Level::TRACE,
            });
        }
    }

    /// Writes a text as it is, without a time stamp.
    pub fn say(&self, text: &str) {
        for line in text.split_inclusive('\n') {
            self.put(line.as_bytes());
        }
    }

    /// Keeps the thread to these CPUs.
    pub fn pin(&self, cpus: &[usize]) {
        let mut set = CpuSet::new();
        if cpus.iter().all(|cpu| set.set(*cpu).is_ok()) {
            // If that fails, the thread may run on other CPUs: it has little to do.
            let _ = sched_setaffinity(Pid::from_raw(self.0.thread.load(Ordering::SeqCst)), &set);
        }
    }

    /// Waits until everything is written, at most a second.
    pub fn flush(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        // The order matters: the thread says that it is busy before it takes anything from the
        // pipe.
        while self.0.waiting(PollTimeout::ZERO) || self.0.busy.load(Ordering::SeqCst) {
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn put(&self, line: &[u8]) {
        // A line that is longer is cut, and still ends with a newline.
        let cut = line.get(..PIPE_BUF - 1).filter(|_| line.len() > PIPE_BUF).map(|cut| [cut, b"\n"].concat());
        if unistd::write(&self.0.enter, cut.as_deref().unwrap_or(line)).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether stderr is the journal's stream (`systemd.exec(5)`, `JOURNAL_STREAM`).
    fn is_journal(&self) -> bool {
        let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
        let file = self.0.stderr.try_clone().map(std::fs::File::from).and_then(|file| file.metadata());
        file.is_ok_and(|file| stream.to_str() == Some(&format!("{}:{}", file.dev(), file.ino())))
    }
}

impl Write for Log {
    /// Takes one line, or counts it as lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Whether there is something in the pipe. Waits for it no longer than `within`.
    fn waiting(&self, within: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.leave.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, within).is_ok_and(|ready| ready > 0)
    }
}

/// Carries what comes through the pipe to stderr, and never ends.
fn carry(shared: &Shared) {
    shared.thread.store(unistd::gettid().as_raw(), Ordering::SeqCst);
    let mut chunk = vec![0; 1 << 16];
    let mut told = 0;
    loop {
        if !shared.waiting(PollTimeout::NONE) {
            continue;
        }
        shared.busy.store(true, Ordering::SeqCst);
        let taken = unistd::read(&shared.leave, &mut chunk).unwrap_or(0);
        let written = write(&shared.stderr, &chunk[..taken]);
        let left = chunk[written..taken].iter().filter(|byte| **byte == b'\n').count() as u64;
        let lost = LOST.fetch_add(left, Ordering::Relaxed) + left;
        if left == 0 && lost != told {
            let line =
                format!("viplined: {} lines of the log were lost here: stderr took none\n", lost - told);
            if write(&shared.stderr, line.as_bytes()) == line.len() {
                told = lost;
            }
        }
        shared.busy.store(false, Ordering::SeqCst);
    }
}

/// Writes, however long it takes. Returns how many bytes were written before an error.
fn write(to: &OwnedFd, bytes: &[u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        match unistd::write(to, &bytes[done..]) {
            Ok(0) => break,
            Ok(written) => done += written,
            Err(Errno::EINTR) => {}
            // Another process that has the same terminal or pipe open has set it to not wait.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            Err(_) => break,
        }
    }
    done
}
