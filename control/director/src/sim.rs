//! A whole director in memory: the daemon's rules, compiled as the daemon compiles them, and a
//! worker on ports that are lists of frames.
//!
//! What happens depends on nothing but what it is told: commands in `ipvsadm`'s words, frames, and
//! how much time passes. What Linux would say of links, routes and neighbours is a value given at
//! the start. One thread; nothing of the machine is touched.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::io::{Frame, HostRequest, PortId};
use dataplane::mem::{MemFrame, MemIo};
use dataplane::secret::Secrets;
use dataplane::snapshot::route::Input;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::wire::ether::Mac;
use dataplane::worker::Worker;
use dataplane::worker::flows::Flows;
use dataplane::worker::report::{self, ConnView, PAGE, Page, Report, ReportReader};
use sched::MhSize;

use crate::answer;
use crate::compile::Director;
use crate::paths::PortPath;
use crate::statistics::Collector;
use crate::trash::TrashWatch;
use api::{Ask, ClientError, Request, Response};
use linux::MirrorState;
use lvs::ipvs::{self, Console, Invocation, Numeric};
use lvs::mark;
use model::{ModelOptions, TICK};

/// A port of the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimPort {
    /// Its host interface, by which routes and addresses name it.
    pub host_interface: String,
    /// Its MAC.
    pub mac: Mac,
}

/// How much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimSize {
    /// Connections.
    pub connections: u32,
    /// Destinations.
    pub destinations: u32,
}

impl Default for SimSize {
    fn default() -> Self {
        Self { connections: 4096, destinations: 256 }
    }
}

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// On stdout.
    pub out: String,
    /// On stderr.
    pub err: String,
    /// The exit code.
    pub code: u8,
}

/// Where a frame went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Out of a port.
    Sent(PortId, Vec<u8>),
    /// To Linux, as received on a port.
    Host(PortId, Vec<u8>),
    /// Nowhere yet: the next hop's MAC is not known.
    Resolving(PortId, Vec<u8>),
}

/// The director.
pub struct Sim {
    director: Director,
    collector: Collector,
    trash: TrashWatch,
    worker: Worker<MemIo>,
    listing: ReportReader,
    now: Ticks,
    start: Instant,
    size: SimSize,
}

/// Ticks between two looks at what is due; Linux rounds timers more than that.
const STEP: u32 = 10;

impl Sim {
    /// A director without rules, whose Linux says `world`.
    pub fn new(ports: &[SimPort], world: Arc<MirrorState>, size: SimSize) -> Self {
        let paths = ports.iter().map(|port| PortPath {
            host_interface: port.host_interface.clone(),
            mac: port.mac,
            input: Input::default(),
            verify_checksum: true,
        });
        let (mut director, mut ends) =
            Director::new(ModelOptions::served(size.destinations, MhSize::default()), paths.collect(), 1);
        director.follow(world);
        let Some((rules, token)) = ends.pop() else { unreachable!("one end for the one worker") };
        let stats = Arc::new(WorkerStats::new(size.destinations as usize));
        // Not at the counter's zero, which means "never" in places.
        let now = Ticks::from_secs(1000);
        let flows = Flows::new(size.connections, Secrets::repeatable(1), Arc::clone(&stats), token, now);
        let (reporter, listing) = report::channel();
        let worker = Worker::new(MemIo::new(ports.len() as u16), rules, flows).with_reporter(reporter);
        let collector = Collector::new(vec![stats]);
        let (trash, start) = (TrashWatch::default(), Instant::now());
        Self { director, collector, trash, worker, listing, now, start, size }
    }

    /// What an operator should know of the rules.
    pub fn advice(&self) -> Vec<String> {
        self.director.advice()
    }

    /// Runs `ipvsadm` with these arguments.
    pub fn ipvsadm(&mut self, args: &[String]) -> Said {
        self.run("ipvsadm", |sim, console| ipvs::run(Invocation::Ipvsadm, args, console, || Ok(sim)))
    }

    /// Runs `vipline mark` with these arguments.
    pub fn mark(&mut self, args: &[String]) -> Said {
        self.run("vipline mark", |sim, console| mark::run(args, console, || Ok(sim)))
    }

    fn run(&mut self, program: &str, run: impl FnOnce(&mut Self, &mut Console<'_>) -> u8) -> Said {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut stdin = Cursor::new([]);
        let mut console =
            Console { program, stdin: &mut stdin, stdout: &mut out, stderr: &mut err, names: &Numeric };
        let code = run(self, &mut console);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { out: text(out), err: text(err), code }
    }

    /// Receives a frame on a port; what became of it, and of what it set off.
    pub fn receive(&mut self, port: PortId, frame: &[u8]) -> Vec<Outcome> {
        if let Some(queue) = self.worker.io_mut().rx.get_mut(port.index()) {
            queue.push_back(MemFrame::new(frame));
        }
        self.worker.poll(self.now);
        let io = self.worker.io_mut();
        let mut outcomes = Vec::new();
        for (number, queue) in io.tx.iter_mut().enumerate() {
            let port = PortId::new(number as u16);
            outcomes.extend(queue.drain(..).map(|frame| Outcome::Sent(port, frame.bytes().to_vec())));
        }
        outcomes.extend(io.host.drain(..).map(|item| {
            let bytes = item.frame.bytes().to_vec();
            match item.request {
                HostRequest::Deliver => Outcome::Host(item.port, bytes),
                HostRequest::Resolve { .. } => Outcome::Resolving(item.port, bytes),
            }
        }));
        outcomes
    }

    /// Lets time pass.
    pub fn wait(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let step = left.min(STEP - self.now.raw() % STEP);
            left -= step;
            self.now = self.now.plus(step);
            while self.worker.poll(self.now) != 0 {}
            if self.now.raw().is_multiple_of(Ticks::PER_SECOND) {
                self.chores();
            }
        }
    }

    /// The time.
    pub fn now(&self) -> Ticks {
        self.now
    }

    /// Every connection and template there is.
    pub fn connections(&mut self) -> Vec<ConnView> {
        let mut all = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next.take() {
            if self.listing.ask.push(Page { from, slots: PAGE }).is_err() {
                return all;
            }
            let mut over = false;
            while !over {
                self.worker.poll(self.now);
                while let Ok(answer) = self.listing.answers.pop() {
                    match answer {
                        Report::Conn(view) => all.push(view),
                        Report::End(from) => (next, over) = (from, true),
                    }
                }
            }
        }
        all
    }

    /// What the daemon does besides answering, once a second.
    fn chores(&mut self) {
        self.director.reclaim();
        let second = self.now.raw() / Ticks::PER_SECOND;
        if u64::from(second).is_multiple_of(TICK.as_secs().max(1)) {
            self.collector.collect(self.director.model());
            self.collector.tick();
        }
        let now = self.start + Duration::from_millis(self.now.millis());
        answer::empty_trash(&mut self.director, &mut self.collector, &mut self.trash, now);
    }

    fn answer(&mut self, request: Request) -> Response {
        if let Request::Connections(query) = &request {
            let views = self.connections();
            let rows = answer::rows(self.director.model(), &query.filter, &views, 0);
            return Response::Connections { rows, next: None };
        }
        answer::answer(&mut self.director, &mut self.collector, self.size.connections, request)
            .unwrap_or_else(|_| Response::Failed("there is no daemon".to_owned()))
    }
}

impl Ask for &mut Sim {
    fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        let response = self.answer(request);
        // Workers of a running daemon see new rules at once.
        self.worker.poll(self.now);
        Ok(response)
    }
}
