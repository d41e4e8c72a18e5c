//! The host pump: one thread that moves frames between the host interfaces and the packet path.
//!
//! ```text
//!            ToHost ring    ┌──────┐ write   ┌─────┐
//!          ───────────────▶ │      │ ──────▶ │     │
//!            ToResolve ring │      │         │     │
//!          ───────────────▶ │      │         │     │
//!  worker    spent ring     │      │         │ TAP │  Linux
//!          ◀─────────────── │ pump │         │     │
//!            blank ring     │      │ read    │     │
//!          ───────────────▶ │      │ ◀────── │     │
//!            FromHost ring  │      │         └─────┘
//!          ◀─────────────── │      │
//!            failed ring    │      │
//!          ◀─────────────── └──────┘ ──▶ resolve ──▶ kernel
//! ```
//!
//! Buffers belong to the workers. The pump gets each buffer from a ring and gives it back through a
//! ring to the same worker, so it never touches a packet pool. A worker at work makes no system
//! call and so cannot wake the pump. So the pump looks at the rings by itself, as often as
//! `pump/pace.rs` says. Only while all workers rest, it waits until one of them rings
//! (`pump/bell.rs`).
//!
//! A frame whose next hop has no Ethernet address yet comes as
//! [`dataplane::io::HostRequest::Resolve`]: it is complete but for its first six bytes. It is
//! parked while the kernel asks for the neighbour. When the mirror has the answer, the frame goes
//! back through the FromHost ring. When there is no answer, it goes back through the failed ring,
//! and its worker tells the sender. These frames have rings of their own, and new next hops have a
//! budget (`resolve.rs`), so senders that are made up do not keep ARP from Linux.
//!
//! When a ring to the worker is full, frames stay in the TAP. Then the TAP's queue fills, and Linux
//! sends less.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};
use dataplane::host::{HostBuffer, PumpEnd};
use dataplane::io::PortId;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::mirror::MirrorHandle;
use super::resolve::Resolver;
use super::tap::Tap;

mod bell;
mod counters;
mod pace;
mod park;
mod run;

pub use bell::Bell;
pub use counters::{PumpCounters, PumpDrop, PumpTotals};

/// The running pump. When this is dropped the pump stops, and the host interfaces vanish.
pub struct Pump<F> {
    stop: Arc<EventFd>,
    wanted: Sender<Vec<(PortId, IpAddr)>>,
    counters: Arc<PumpCounters>,
    thread: Option<JoinHandle<Vec<PumpEnd<F>>>>,
}

impl<F: HostBuffer + 'static> Pump<F> {
    /// Starts the pump in the network namespace of the calling thread, on its CPUs.
    ///
    /// `taps` are the host interfaces, one for each port. `workers` are the pump's ends of each
    /// worker's rings. `bell` is what the workers ring.
    pub fn start(
        taps: Vec<Tap>,
        workers: Vec<PumpEnd<F>>,
        mirror: &MirrorHandle,
        bell: Arc<Bell>,
    ) -> io::Result<Self> {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let counters = Arc::new(PumpCounters::default());
        let (wanted, wants) = unbounded();
        let resolver = Resolver::open()?;
        let runner =
            run::Runner::new(taps, workers, mirror.clone(), resolver, wants, Arc::clone(&counters), bell);
        let thread = {
            let stop = Arc::clone(&stop);
            thread::Builder::new().name("vl-pump".into()).spawn(move || runner.run(&stop))?
        };
        Ok(Self { stop, wanted, counters, thread: Some(thread) })
    }

    /// Stops, and gives the rings back. Whoever owns the buffers can then fetch those that are left
    /// in the rings.
    pub fn stop(mut self) -> Vec<PumpEnd<F>> {
        self.join()
    }
}

impl<F> Pump<F> {
    /// From now on, keeps these next hops from being forgotten by the kernel, and no others. Each
    /// has its port.
    pub fn keep_alive(&self, next_hops: Vec<(PortId, IpAddr)>) {
        // Sending fails only when the pump is being dropped.
        let _ = self.wanted.send(next_hops);
    }

    /// What the pump has done so far.
    pub fn counters(&self) -> Arc<PumpCounters> {
        Arc::clone(&self.counters)
    }

    fn join(&mut self) -> Vec<PumpEnd<F>> {
        let _ = self.stop.write(1);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl<F> Drop for Pump<F> {
    fn drop(&mut self) {
        self.join();
    }
}
