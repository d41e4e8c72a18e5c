//! The rtnetlink mirror: a thread that keeps a [`MirrorState`] equal to what the kernel has.
//!
//! It listens first and dumps second, so it misses nothing in between. Then:
//!
//! * **Neighbours and routes** follow their events one by one. Some events do not tell enough:
//!   there are several routes of one prefix and metric, there are several next hops, or something
//!   unknown was replaced. Such an event marks the routes for a new dump.
//! * **Links and addresses** are few: after any event about them both are dumped anew. The kernel
//!   removes IPv4 routes without an event when a link goes down or an address is taken away
//!   (`fib_sync_down_dev`, `fib_sync_down_addr`), so the routes are dumped as well. The same is
//!   done for next-hop objects.
//! * **Lost events** (`ENOBUFS`) make everything be dumped anew. When something changes during a
//!   dump (`NLM_F_DUMP_INTR`), the dump is repeated.
//!
//! It does no harm to follow an event that a dump contains already: each event carries all of what
//! it changes, and events come in order.
//!
//! A change that comes alone is told at once. Changes that come in a burst are told together,
//! within [`QUIET`] of the last event and [`PATIENCE`] of the first. When tables are so large that
//! copying them takes longer than that, the thread uses a quarter of a CPU at most.
//!
//! Not mirrored are: tables other than local, main and default (policy routing gets one warning),
//! VRFs, routes for one TOS or one source prefix, tunnelled next hops.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::failure::{Failure, News};
use super::follow::Follower;
use super::state::MirrorState;

/// How long the thread waits for another event after one.
const QUIET: Duration = Duration::from_millis(1);
/// How long the thread goes on waiting while events keep coming.
const PATIENCE: Duration = Duration::from_millis(5);
/// After how long a failed dump is tried again.
const LATER: Duration = Duration::from_millis(100);

/// Room for the events of one burst, in bytes. A routing daemon that loads its table makes one.
const EVENT_BUFFER: usize = 8 << 20;

/// What a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorEvent {
    /// [`MirrorHandle::state`] has something new. Several changes may be told together.
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
    /// Reads everything once and then follows all changes, in the network namespace of the calling
    /// thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(EVENT_BUFFER)
    }

    /// The same, with room for `event_buffer` bytes of events that wait to be read. When events do
    /// not fit, everything is dumped anew.
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

    /// A channel that tells when there is something new. It holds one event, so nobody needs to
    /// read it.
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
        // The value is only ever assigned as a whole, so it is right even if a thread panicked
        // while it held the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(mut follower: Follower, handle: &MirrorHandle, stop: &EventFd) {
    let mut earliest = Instant::now();
    let mut failure = Failure::default();
    loop {
        let until = if follower.is_complete() { PollTimeout::NONE } else { timeout(LATER) };
        if wait(&[follower.as_fd(), stop.as_fd()], until).contains(&1) {
            return;
        }
        // Copying large tables takes time. Then it is better to copy less often.
        let latest = earliest.max(Instant::now() + PATIENCE);
        let mut busy = Duration::ZERO;
        loop {
            busy += timed(|| follower.drain(latest));
            let now = Instant::now();
            // A small change, and the first one for some time, is told at once: a packet may wait
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
            match failure.set(follower.refresh().err().map(|why| why.to_string())) {
                Some(News::Fails(why)) => {
                    tracing::warn!("cannot read the routes and neighbours of this host: {why}; trying again");
                }
                Some(News::Works) => {
                    tracing::info!("the routes and neighbours of this host can be read again");
                }
                None => {}
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
    // After an interruption the caller looks at the descriptors itself, as after a timeout.
    let _ = poll(&mut polled, timeout);
    polled.iter().enumerate().filter(|(_, fd)| fd.any() == Some(true)).map(|(index, _)| index).collect()
}
