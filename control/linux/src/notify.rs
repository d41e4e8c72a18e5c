//! Messages to systemd, if it started this process with `Type=notify`. A systemd that does not read
//! holds nobody up.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::failure::{Failure, News};

/// Tells that the daemon serves.
pub fn ready(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells that the daemon is about to end.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// Keeps systemd's watchdog quiet, if there is one. The control loop calls it often.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    last: Instant,
    failure: Failure,
}

impl Watchdog {
    /// The watchdog that systemd started this process with.
    pub fn new(now: Instant) -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|limit| limit / 3),
            last: now,
            failure: Failure::default(),
        }
    }

    /// Says that the daemon is alive, if it is time.
    pub fn pat(&mut self, now: Instant) {
        if self.every.is_some_and(|every| now.saturating_duration_since(self.last) >= every) {
            let failed = send(&[NotifyState::Watchdog]).err().map(|why| why.to_string());
            if let Some(News::Fails(why)) = self.failure.set(failed) {
                tracing::warn!("systemd's watchdog cannot be told that the daemon is alive: {why}");
            }
            self.last = now;
        }
    }
}

/// How long a message that is sent only once may wait for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends a message that is sent only once.
fn say(states: &[NotifyState<'_>]) {
    if let Err(why) = send(states) {
        tracing::warn!("systemd cannot be told: {why}");
    }
}

fn send(states: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let words: String = states.iter().map(|state| format!("{state}\n")).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tell(&path, words.as_bytes()) {
            Ok(()) => return Ok(()),
            // Nobody reads. The watchdog's next message comes soon anyway; for the others it is
            // worth waiting a while.
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                if matches!(states, [NotifyState::Watchdog]) || Instant::now() >= deadline {
                    tracing::debug!("systemd does not read what it is told");
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(10));
            }
            Err(why) => return Err(why),
        }
    }
}

/// Sends one message at once, or fails. The socket has a path, or an abstract name that is written
/// after an `@` (`sd_notify(3)`).
fn tell(path: &OsStr, words: &[u8]) -> io::Result<()> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(words, &address).map(drop)
}
