//! The pump's thread.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use dataplane::host::{HostBuffer, PumpEnd};
use dataplane::io::{HostFrame, HostRequest, PortId};
use dataplane::wire::ether::Mac;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;

use super::super::mirror::{MirrorEvent, MirrorHandle};
use super::super::resolve::{Asking, Resolver};
use super::super::state::{MirrorState, NeighbourState};
use super::super::tap::Tap;
use super::bell::Bell;
use super::counters::{PumpCounters, PumpDrop};
use super::pace::Pace;
use super::park::Park;

/// How many frames are moved in one direction before the other direction has its turn.
const BURST: usize = 64;
/// The same for frames whose next hop is to be resolved. There are fewer because each may need a
/// request to the kernel.
const RESOLVE_BURST: usize = 16;
/// Sleeps of at least this length come only after a while without work. They become long ones while
/// all workers rest.
const PAUSE: Duration = Duration::from_micros(300);
/// How long a sleep may be while all workers rest. News of the mirror waits no longer than that.
const REST: Duration = Duration::from_millis(50);

pub(super) struct Runner<F> {
    taps: Vec<Tap>,
    /// Which TAPs somebody has deleted.
    gone: Vec<bool>,
    workers: Vec<Worker<F>>,
    park: Park<F>,
    resolver: Resolver,
    mirror: MirrorHandle,
    state: Arc<MirrorState>,
    changes: Receiver<MirrorEvent>,
    wants: Receiver<Vec<(PortId, IpAddr)>>,
    counters: Arc<PumpCounters>,
    bell: Arc<Bell>,
}

struct Worker<F> {
    rings: PumpEnd<F>,
    /// An empty buffer: a read from a TAP found no frame for it.
    blank: Option<F>,
    /// Buffers to give back that found their ring full.
    spent: VecDeque<F>,
}

impl<F: HostBuffer> Runner<F> {
    pub(super) fn new(
        taps: Vec<Tap>,
        workers: Vec<PumpEnd<F>>,
        mirror: MirrorHandle,
        resolver: Resolver,
        wants: Receiver<Vec<(PortId, IpAddr)>>,
        counters: Arc<PumpCounters>,
        bell: Arc<Bell>,
    ) -> Self {
        let changes = mirror.subscribe();
        let state = mirror.state();
        let workers =
            workers.into_iter().map(|rings| Worker { rings, blank: None, spent: VecDeque::new() }).collect();
        let gone = vec![false; taps.len()];
        Self {
            taps,
            gone,
            workers,
            park: Park::new(),
            resolver,
            mirror,
            state,
            changes,
            wants,
            counters,
            bell,
        }
    }

    /// Runs until `stop` is written to. Then every buffer is put back into a ring, as far as there
    /// is room.
    pub(super) fn run(mut self, stop: &EventFd) -> Vec<PumpEnd<F>> {
        let mut pace = Pace::new(Instant::now());
        loop {
            let now = Instant::now();
            let moved = self.serve_workers(now) + self.serve_taps();
            self.follow_mirror();
            self.expire(now);
            self.keep_alive(now);
            for worker in &mut self.workers {
                worker.return_spent();
            }
            if moved > 0 {
                pace.worked(now);
                if stop.read().is_err() {
                    continue;
                }
                break;
            }
            if self.sleep(stop, pace.sleep(now)) {
                break;
            }
        }
        for parked in self.park.empty() {
            self.spend(parked.worker, parked.frame);
        }
        self.workers
            .into_iter()
            .map(|mut worker| {
                worker.spent.extend(worker.blank.take());
                worker.return_spent();
                worker.rings
            })
            .collect()
    }

    /// Moves what the workers have for Linux.
    fn serve_workers(&mut self, now: Instant) -> usize {
        let mut moved = 0;
        for index in 0..self.workers.len() {
            for _ in 0..BURST {
                let Ok(item) = self.workers[index].rings.to_host.pop() else { break };
                moved += 1;
                self.take(index, item, now);
            }
            for _ in 0..RESOLVE_BURST {
                let Ok(item) = self.workers[index].rings.to_resolve.pop() else { break };
                moved += 1;
                self.take(index, item, now);
            }
        }
        moved
    }

    fn take(&mut self, worker: usize, item: HostFrame<F>, now: Instant) {
        let HostFrame { port, request, frame } = item;
        let port = port.index();
        let Some(tap) = self.taps.get(port) else {
            self.drop(PumpDrop::NoPort, worker, frame);
            return;
        };
        match request {
            HostRequest::Deliver => {
                match tap.write(frame.bytes()) {
                    Ok(()) => self.counters.delivered(),
                    Err(e) => self.counters.dropped(refusal(&e)),
                }
                self.spend(worker, frame);
            }
            HostRequest::Resolve { next_hop } => {
                let ifindex = tap.ifindex();
                let neighbour = self.state.neighbour(ifindex, next_hop);
                if let Some(mac) = neighbour.and_then(|n| n.usable_mac()) {
                    self.send(worker, port, mac, frame);
                    return;
                }
                let given_up = neighbour.is_some_and(|n| n.state == NeighbourState::Failed);
                match self.resolver.resolve(ifindex, next_hop, now) {
                    Ok(Asking::Asked | Asking::Recently) => {}
                    Ok(Asking::TooMany) => {
                        self.drop(PumpDrop::AskedTooMuch, worker, frame);
                        return;
                    }
                    Err(why) => tracing::debug!(
                        "cannot ask the kernel for neighbour {next_hop} on {}: {why}",
                        tap.name()
                    ),
                }
                let hop = (given_up, !self.resolver.wants(ifindex, next_hop));
                self.counters.parked();
                if let Some((why, gone)) = self.park.park((port, next_hop), worker, frame, hop, now) {
                    self.drop(why, gone.worker, gone.frame);
                }
            }
        }
    }

    /// Moves what Linux sends.
    fn serve_taps(&mut self) -> usize {
        let mut moved = 0;
        for (port, tap) in self.taps.iter().enumerate() {
            // Each port has one worker, so that its frames stay in order.
            let workers = self.workers.len().max(1);
            let Some(worker) = self.workers.get_mut(port % workers) else { continue };
            for _ in 0..BURST {
                if !worker.has_room() {
                    break;
                }
                let Some(mut frame) = worker.blank.take() else { break };
                let space = frame.space();
                let room = space.len();
                match tap.read(space) {
                    // If a frame fills all the space, its end may be missing.
                    Ok(len) if len < room => {
                        frame.set_len(len);
                        moved += 1;
                        self.counters.taken();
                        if let Err(rtrb::PushError::Full((_, frame))) =
                            worker.rings.from_host.push((PortId::new(port as u16), frame))
                        {
                            worker.blank = Some(frame);
                            self.counters.dropped(PumpDrop::WorkerFull);
                        }
                    }
                    Ok(_) => {
                        moved += 1;
                        worker.blank = Some(frame);
                        self.counters.dropped(PumpDrop::TooLong);
                    }
                    Err(e) => {
                        worker.blank = Some(frame);
                        if e.raw_os_error() == Some(Errno::EBADFD as i32) && !self.gone[port] {
                            tracing::error!(
                                "host interface {} was deleted, so its port has no connection to Linux any more",
                                tap.name()
                            );
                            self.gone[port] = true;
                        }
                        break;
                    }
                }
            }
        }
        moved
    }

    /// Lets the frames go whose next hop the kernel has found, or given up.
    fn follow_mirror(&mut self) {
        if self.changes.try_recv().is_err() {
            return;
        }
        self.state = self.mirror.state();
        if self.park.is_empty() {
            return;
        }
        let hops: Vec<_> = self.park.hops().collect();
        for (hop @ (port, next_hop), given_up) in hops {
            let Some(tap) = self.taps.get(port) else { continue };
            let Some(neighbour) = self.state.neighbour(tap.ifindex(), next_hop) else { continue };
            if let Some(mac) = neighbour.usable_mac() {
                for parked in self.park.take(hop) {
                    self.send(parked.worker, port, mac, parked.frame);
                }
            } else if neighbour.state == NeighbourState::Failed && !given_up {
                for parked in self.park.take(hop) {
                    self.give_up(parked.worker, parked.frame);
                }
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        for parked in self.park.expire(now) {
            self.give_up(parked.worker, parked.frame);
        }
    }

    fn keep_alive(&mut self, now: Instant) {
        if let Some(wanted) = self.wants.try_iter().last() {
            let on_links = wanted
                .into_iter()
                .filter_map(|(port, addr)| Some((self.taps.get(port.index())?.ifindex(), addr)));
            self.resolver.want(on_links);
        }
        self.resolver.tick(&self.state, now);
    }

    /// Sends a frame whose next hop is known.
    fn send(&mut self, worker: usize, port: usize, mac: Mac, mut frame: F) {
        if let Some(destination) = frame.bytes_mut().first_chunk_mut() {
            *destination = mac.0;
        }
        let pushed = match self.workers.get_mut(worker) {
            Some(to) => to.rings.from_host.push((PortId::new(port as u16), frame)),
            None => return,
        };
        match pushed {
            Ok(()) => self.counters.resolved(),
            Err(rtrb::PushError::Full((_, frame))) => self.drop(PumpDrop::WorkerFull, worker, frame),
        }
    }

    /// Gives a frame back whose next hop did not answer. Its worker tells the sender.
    fn give_up(&mut self, worker: usize, frame: F) {
        let Some(to) = self.workers.get_mut(worker) else { return };
        match to.rings.failed.push(frame) {
            Ok(()) => self.counters.given_up(),
            Err(rtrb::PushError::Full(frame)) => self.drop(PumpDrop::WorkerFull, worker, frame),
        }
    }

    fn drop(&mut self, why: PumpDrop, worker: usize, frame: F) {
        self.counters.dropped(why);
        self.spend(worker, frame);
    }

    fn spend(&mut self, worker: usize, frame: F) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.spent.push_back(frame);
        }
    }

    /// Sleeps until Linux sends something, a worker rings, or the time is over. The sleep is long
    /// when no worker can have anything to do without ringing. Returns whether it is time to stop.
    fn sleep(&mut self, stop: &EventFd, time: Duration) -> bool {
        let mut time = time;
        if time >= PAUSE && self.park.is_empty() && self.bell.listen() {
            if !self
                .workers
                .iter()
                .all(|worker| worker.rings.to_host.is_empty() && worker.rings.to_resolve.is_empty())
            {
                self.bell.heard();
                return false;
            }
            time = REST;
        }
        let bell = Arc::clone(&self.bell);
        let workers = self.workers.len().max(1);
        let mut fds =
            vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        for (port, tap) in self.taps.iter().enumerate() {
            // A TAP that cannot be read from would end every sleep at once.
            if !self.gone[port] && self.workers.get_mut(port % workers).is_some_and(Worker::has_room) {
                fds.push(PollFd::new(tap.as_fd(), PollFlags::POLLIN));
            }
        }
        // An interruption ends the sleep like a timeout does.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(time)), None);
        bell.heard();
        fds.first().and_then(PollFd::any) == Some(true)
    }
}

impl<F> Worker<F> {
    /// Whether a frame from Linux has a buffer to go into and a ring to go through.
    fn has_room(&mut self) -> bool {
        if self.blank.is_none() {
            self.blank = self.rings.blank.pop().ok();
        }
        self.blank.is_some() && self.rings.from_host.slots() > 0
    }

    fn return_spent(&mut self) {
        while let Some(frame) = self.spent.pop_front() {
            if let Err(rtrb::PushError::Full(frame)) = self.rings.spent.push(frame) {
                self.spent.push_front(frame);
                return;
            }
        }
    }
}

fn refusal(error: &io::Error) -> PumpDrop {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EIO | Errno::ENETDOWN) => PumpDrop::HostDown,
        _ => PumpDrop::HostRefused,
    }
}
