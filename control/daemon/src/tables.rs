//! Makes the connection tables, before any device is touched.
//!
//! Every page is written to, which takes a while for many millions of connections. A thread of its
//! own does that. So the log can say how far it is, and a signal to stop takes effect.

use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, select};
use dataplane::secret::Secrets;
use dataplane::time::Ticks;
use dataplane::worker::flows::Tables;
use linux::signals::{Signal, Signals};

use super::DaemonError;

/// How the making of the tables ended.
pub(super) enum Made {
    /// Tables.
    Tables(Box<Tables>),
    /// There are no tables, because this signal said to stop.
    Stopped(&'static str),
}

/// Makes the tables for this number of connections. `megabytes` is about how much memory they take.
pub(super) fn make(
    connections: u32,
    secrets: Secrets,
    megabytes: u64,
    signals: &Signals,
) -> Result<Made, DaemonError> {
    let failed = |error: &dyn std::fmt::Display| {
        DaemonError::Runtime(format!("cannot make the connection tables: {error}"))
    };
    let (done, ready) = bounded(1);
    let thread = std::thread::Builder::new()
        .name("vl-tables".into())
        .spawn(move || {
            let _ = done.send(Box::new(Tables::new(connections, secrets, Ticks::default())));
        })
        .map_err(|error| failed(&error))?;
    let (began, before) = (Instant::now(), resident_mb());
    let mut patience = Duration::from_secs(2);
    loop {
        select! {
            recv(ready) -> tables => match tables {
                Ok(tables) => {
                    let _ = thread.join();
                    return Ok(Made::Tables(tables));
                }
                Err(error) => return Err(failed(&error)),
            },
            recv(signals.receiver()) -> signal => match signal {
                // The thread ends with the process.
                Ok(Signal::Stop(name)) => return Ok(Made::Stopped(name)),
                Ok(Signal::Reload) => {}
                Err(error) => return Err(failed(&error)),
            },
            default(patience) => {
                let made = resident_mb().saturating_sub(before).min(megabytes);
                tracing::info!(
                    "making tables for {connections} connections: {made} of {megabytes} MB after {} s",
                    began.elapsed().as_secs()
                );
                patience = Duration::from_secs(5);
            }
        }
    }
}

/// How many megabytes of this process are in memory (`proc(5)`, `/proc/self/status`); 0 if that is
/// not told.
fn resident_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}
