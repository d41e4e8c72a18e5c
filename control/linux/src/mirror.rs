//! The rtnetlink mirror: a thread that keeps a [`MirrorState`] equal to what the kernel has.
//!
//! It listens first and dumps second, so nothing falls between. Then:
//!
//! * **Neighbours and routes** follow their events one by one. An event that does not tell enough
//!   (several routes of one prefix and metric, several next hops, a replacement of something
//!   unknown) marks the routes for a new dump.
//! * **Links and addresses** are few: any event about them has both dumped anew. The kernel removes
//!   IPv4 routes without a word when a link goes down or an address is taken away
//!   (`fib_sync_down_dev`, `fib_sync_down_addr`), so the routes are dumped with them. The same for
//!   next-hop objects.
//! * **Lost events** (`ENOBUFS`) have everything dumped anew. A dump that something changed under
//!   (`NLM_F_DUMP_INTR`) is repeated.
//!
//! Replaying an event that a dump already contains does no harm, for each event carries the whole
//! of what it changes and they come in order.
//!
//! A change that comes alone is told at once. Bursts are taken together: consumers hear of them
//! within [`QUIET`] of the last event and [`PATIENCE`] of the first; or, when tables are so large
//! that copying them takes longer, the thread keeps to a quarter of a CPU.
//!
//! Not mirrored: tables other than local, main and default (policy routing gets one warning), VRFs,
//! routes for one TOS or one source prefix, tunnelled next hops.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::follow::Follower;
use super::state::MirrorState;

/// How long after an event to wait for another.
const QUIET: Duration = Duration::from_millis(1);
/// How long to go on waiting while events keep coming.
const PATIENCE: Duration = Duration::from_millis(5);
/// When to try again what failed.
const LATER: Duration = Duration::from_millis(100);

/// Room for events that come in one burst, as when a routing daemon loads its table.
const EVENT_BUFFER: usize = 8 << 20;

/// What a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorEvent {
    /// [`MirrorHandle::state`] has something new. Several changes may be told once.
    Changed,
}

/// The mirror; it stops when this is dropped.
#[derive(Debug)]
pub struct Mirror {
    handle: MirrorHandle,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// A view of the mirror, for any thread.
#[derive(Clone, Debug)]
pub struct MirrorHandle {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Arc<MirrorState>,
    subscribers: Vec<Sender<MirrorEvent>>,
}

impl Mirror {
    /// Reads everything once, and then follows, in the network namespace of the calling thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(EVENT_BUFFER)
    }

    /// The same with room for so many bytes of events that wait to be read; what does not fit costs
    /// a dump.
    pub fn start_with(event_buffer: usize) -> io::Result<Self> {
        let follower = Follower::open(event_buffer)?;
        let handle = MirrorHandle { shared: Arc::default() };
        handle.publish(follower.state());
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let thread = {
            let (handle, stop) = (handle.clone(), Arc::clone(&stop));
            thread::Builder::new().name("vl-mirror".into()).spawn(move || run(follower, &handle, &stop))?
        };
        Ok(Self { handle, stop, thread: Some(thread) })
    }

    /// A view for another thread.
    pub fn handle(&self) -> MirrorHandle {
        self.handle.clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl MirrorHandle {
    /// What Linux has now.
    pub fn state(&self) -> Arc<MirrorState> {
        Arc::clone(&self.lock().state)
    }

    /// A channel that rings when there is something new. It holds one event, so it may be left
    /// unread.
    pub fn subscribe(&self) -> Receiver<MirrorEvent> {
        let (sender, receiver) = bounded(1);
        self.lock().subscribers.push(sender);
        receiver
    }

    fn publish(&self, state: &MirrorState) {
        let mut shared = self.lock();
        if shared.state.generations == state.generations {
            return;
        }
        shared.state = Arc::new(state.clone());
        shared
            .subscribers
            .retain(|s| !matches!(s.try_send(MirrorEvent::Changed), Err(TrySendError::Disconnected(_))));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Whoever panicked while holding it left it whole: it is only ever assigned.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(mut follower: Follower, handle: &MirrorHandle, stop: &EventFd) {
    let mut earliest = Instant::now();
    loop {
        let until = if follower.is_complete() { PollTimeout::NONE } else { timeout(LATER) };
        if wait(&[follower.as_fd(), stop.as_fd()], until).contains(&1) {
            return;
        }
        // Copying large tables takes its time; then rather fewer copies than more.
        let latest = earliest.max(Instant::now() + PATIENCE);
        let mut busy = Duration::ZERO;
        loop {
            busy += timed(|| follower.drain(latest));
            let now = Instant::now();
            // The first change for some time, and a small one, is told at once: a packet may wait
            // for it.
            let alone = now >= earliest + PATIENCE && follower.is_complete();
            if alone || now >= latest {
                break;
            }
            let ready = wait(
                &[follower.as_fd(), stop.as_fd()],
                timeout(QUIET.max(earliest.saturating_duration_since(now))),
            );
            if ready.contains(&1) {
                return;
            }
            if ready.is_empty() && Instant::now() >= earliest {
                break;
            }
        }
        busy += timed(|| {
            if let Err(why) = follower.refresh() {
                tracing::warn!("cannot read the routes and neighbours of this host: {why}; trying again");
            }
            handle.publish(follower.state());
        });
        earliest = Instant::now() + 3 * busy;
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn timeout(duration: Duration) -> PollTimeout {
    PollTimeout::try_from(duration).unwrap_or(PollTimeout::MAX)
}

/// Which of the descriptors have something to read.
fn wait(fds: &[BorrowedFd<'_>], timeout: PollTimeout) -> Vec<usize> {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // An interruption is as good as a timeout: the caller looks for itself.
    let _ = poll(&mut polled, timeout);
    polled.iter().enumerate().filter(|(_, fd)| fd.any() == Some(true)).map(|(index, _)| index).collect()
}
