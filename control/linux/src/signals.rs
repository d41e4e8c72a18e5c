//! SIGTERM, SIGINT and SIGHUP as messages in a channel.
//!
//! The signals are blocked, and a thread reads them from a signalfd. A thread inherits the blocked
//! signals from the thread that starts it. So [`Signals::start`] must be called before any other
//! thread is started, DPDK's included: a thread that does not block the signals would be killed by
//! them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What the control loop is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT, by its name: stop.
    Stop(&'static str),
}

/// The signals of this process. They stay blocked when this is dropped.
#[derive(Debug)]
pub struct Signals {
    receiver: Receiver<Signal>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Blocks the signals in the calling thread and in all threads that it will start, and starts
    /// to wait for them.
    pub fn start() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Number::SIGTERM, Number::SIGINT, Number::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (sender, receiver) = unbounded();
        let thread = {
            let stop = Arc::clone(&stop);
            thread::Builder::new().name("vl-signals".into()).spawn(move || run(&signals, &stop, &sender))?
        };
        Ok(Self { receiver, stop, thread: Some(thread) })
    }

    /// The channel in which the signals arrive.
    pub fn receiver(&self) -> &Receiver<Signal> {
        &self.receiver
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn run(signals: &SignalFd, stop: &EventFd, sender: &Sender<Signal>) {
    loop {
        let mut fds =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any() == Some(true) {
            return;
        }
        while let Ok(Some(info)) = signals.read_signal() {
            let signal = match i32::try_from(info.ssi_signo).map(Number::try_from) {
                Ok(Ok(Number::SIGHUP)) => Signal::Reload,
                Ok(Ok(number)) => Signal::Stop(number.as_str()),
                _ => continue,
            };
            if sender.send(signal).is_err() {
                return;
            }
        }
    }
}
