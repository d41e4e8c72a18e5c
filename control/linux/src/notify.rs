//! Word to systemd, when it started this process with `Type=notify`; else nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The daemon serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The daemon is on its way out.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Keeps systemd's watchdog quiet, when there is one; to be called often by the control loop.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    last: Instant,
}

impl Watchdog {
    /// The watchdog this process was started with.
    pub fn new(now: Instant) -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 3), last: now }
    }

    /// Says that the daemon is alive, if it is time.
    pub fn pat(&mut self, now: Instant) {
        if self.every.is_some_and(|every| now.saturating_duration_since(self.last) >= every) {
            send(&[NotifyState::Watchdog]);
            self.last = now;
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told: {why}");
    }
}
