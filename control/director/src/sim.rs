//! A whole director in memory ([`MemDirector`]), with rules that are compiled as in the daemon, and
//! with the daemon's answers.
//!
//! The outcome depends only on the commands in `ipvsadm`'s words, on the frames, and on how much
//! time passes. Links, routes and neighbours are a value that is given at the start. There is one
//! thread, and nothing of the machine is touched.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::io::{HostRequest, PortId};
use dataplane::mem::{Abilities, MemDirector, Nic, Size, Unaccounted};
use dataplane::snapshot::route::Input;
use dataplane::steer::RssKey;
use dataplane::time::Ticks;
use dataplane::wire::ether::Mac;
use dataplane::worker::report::ConnView;
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
    /// The name of its host interface. Routes and addresses use it.
    pub host_interface: String,
    /// Its MAC.
    pub mac: Mac,
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
pub enum FrameExit {
    /// It was sent out of a port.
    Sent(PortId, Vec<u8>),
    /// It was given to Linux, as received on a port.
    Host(PortId, Vec<u8>),
    /// It waits, because the MAC of the next hop is not known.
    Resolving(PortId, Vec<u8>),
}

/// The director.
pub struct Sim {
    director: MemDirector<Director>,
    collector: Collector,
    trash: TrashWatch,
    start: Instant,
    size: Size,
}

impl Sim {
    /// A director without rules. `world` is what Linux says.
    pub fn new(ports: &[SimPort], world: Arc<MirrorState>, size: Size) -> Self {
        let paths = ports.iter().map(|port| PortPath {
            host_interface: port.host_interface.clone(),
            mac: port.mac,
            input: Input::default(),
            verify_checksum: true,
        });
        let options = ModelOptions::served(size.destinations, MhSize::default());
        let (mut rules, ends) = Director::new(options, paths.collect(), 1);
        rules.follow(world);
        let nic = Nic::start(Abilities::default(), 1, RssKey::SYMMETRIC);
        let director = MemDirector::behind(rules, ends, size, vec![nic; ports.len()]).with_listings();
        let collector = Collector::new(vec![Arc::clone(director.stats())]);
        Self { director, collector, trash: TrashWatch::default(), start: Instant::now(), size }
    }

    /// What an operator should know of the rules.
    pub fn advice(&self) -> Vec<String> {
        self.director.rules.advice()
    }

    /// The number of the newest rules.
    pub fn epoch(&self) -> u64 {
        self.director.rules.epoch()
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

    /// Receives a frame on a port. Returns what became of this frame, and of the frames that were
    /// sent because of it.
    pub fn receive(&mut self, port: PortId, frame: &[u8]) -> Vec<FrameExit> {
        self.director.inject(port, frame);
        self.director.poll();
        let out = self.director.collect();
        let sent = out.sent.into_iter().map(|(port, frame)| FrameExit::Sent(port, frame));
        let host = out.host.into_iter().map(|(port, request, frame)| match request {
            HostRequest::Deliver => FrameExit::Host(port, frame),
            HostRequest::Resolve { .. } => FrameExit::Resolving(port, frame),
        });
        sent.chain(host).collect()
    }

    /// Lets time pass.
    pub fn wait(&mut self, ticks: u32) {
        let mut left = ticks;
        while left > 0 {
            let step = left.min(Ticks::PER_SECOND - self.now().raw() % Ticks::PER_SECOND);
            left -= step;
            self.director.wait(step);
            if self.now().raw().is_multiple_of(Ticks::PER_SECOND) {
                self.chores();
            }
        }
    }

    /// The time.
    pub fn now(&self) -> Ticks {
        self.director.now()
    }

    /// All connections and templates.
    pub fn connections(&mut self) -> Vec<ConnView> {
        self.director.connections()
    }

    /// Whether all frames and all connections are accounted for.
    pub fn check_accounts(&self) -> Result<(), Unaccounted> {
        self.director.check_accounts()
    }

    /// The daemon's regular chores, done once a second.
    fn chores(&mut self) {
        let (now, rules) = (self.director.now(), &mut self.director.rules);
        rules.reclaim();
        let second = now.raw() / Ticks::PER_SECOND;
        if u64::from(second).is_multiple_of(TICK.as_secs().max(1)) {
            self.collector.collect(rules.model());
            self.collector.tick();
        }
        let now = self.start + Duration::from_millis(now.millis());
        answer::empty_trash(rules, &mut self.collector, &mut self.trash, now);
    }

    fn answer(&mut self, request: Request) -> Response {
        if let Request::Connections(query) = &request {
            let views = self.connections();
            let rows = answer::rows(self.director.rules.model(), &query.filter, &views, 0);
            return Response::Connections { rows, next: None };
        }
        answer::answer(&mut self.director.rules, &mut self.collector, self.size.connections, request)
            .unwrap_or_else(|_| Response::Failed("there is no daemon".to_owned()))
    }
}

impl Ask for &mut Sim {
    fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        let response = self.answer(request);
        // The workers of a running daemon see new rules at once, so this worker does too.
        self.director.poll();
        Ok(response)
    }
}
