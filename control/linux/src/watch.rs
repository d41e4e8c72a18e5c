//! What no event tells about links: their counters, their speed, their queues. A thread of its own
//! asks for these again and again: the kernel may be slow to answer, and the control loop must not
//! wait.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::ethtool::{Channels, Ethtool};
use super::link::{LinkCounters, Links};

/// How often the links are asked.
const PERIOD: Duration = Duration::from_secs(1);

/// What a link said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// Its counters; `None` when there is no such link.
    pub counters: Option<LinkCounters>,
    /// Its speed in Mbit/s, when it has one.
    pub speed: Option<u32>,
    /// Its queues, when Linux tells them.
    pub channels: Option<Channels>,
}

/// A thread that asks; it ends when this is dropped.
#[derive(Debug)]
pub struct LinkWatch {
    reports: Arc<Mutex<Vec<LinkReport>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LinkWatch {
    /// Asks the links of these indices once, and from then on every second, in the network
    /// namespace of the calling thread.
    pub fn start(indices: Vec<u32>) -> io::Result<Self> {
        let (mut links, mut ethtool) = (Links::open()?, Ethtool::open().ok());
        let reports = Arc::new(Mutex::new(look(&indices, &mut links, ethtool.as_mut())));
        let (stop, stopped) = bounded(0);
        let shared = Arc::clone(&reports);
        let thread = thread::Builder::new().name("vl-links".into()).spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let seen = look(&indices, &mut links, ethtool.as_mut());
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            }
        })?;
        Ok(Self { reports, stop: Some(stop), thread: Some(thread) })
    }

    /// What the links said last, in the order of their indices.
    pub fn reports(&self) -> Vec<LinkReport> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(indices: &[u32], links: &mut Links, mut ethtool: Option<&mut Ethtool>) -> Vec<LinkReport> {
    let mut reports = Vec::with_capacity(indices.len());
    for index in indices {
        let mut report =
            LinkReport { counters: links.counters(*index).ok().flatten(), ..LinkReport::default() };
        if let Some(ethtool) = &mut ethtool {
            report.speed = ethtool.speed(*index);
            report.channels = ethtool.channels(*index).ok();
        }
        reports.push(report);
    }
    reports
}
