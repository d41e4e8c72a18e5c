//! The daemon: it brings everything up in order, runs one loop, and takes everything down in
//! reverse order.
//!
//! The threads are: DPDK's worker on each CPU, the mirror, the host pump, those of the control
//! socket, and the control loop, which is the main thread. The control loop owns the rules, and
//! nobody else changes them.

#![forbid(unsafe_code)]

mod answer;
mod aside;
pub mod config;
mod devices;
mod door;
pub mod files;
mod hint;
mod link;
mod links;
mod listing;
pub mod log;
pub mod memory;
mod netlink;
mod notes;
mod port;
mod preflight;
mod privilege;
mod reload;
mod remember;
mod state;
pub mod survey;
mod tables;
mod trouble;
mod workers;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{at, never, select, tick};
use dataplane::secret::Secrets;
use dataplane::snapshot::rules::WorkerEnd;
use dataplane::stats::WorkerStats;
use dataplane::time::Ticks;
use dataplane::wire::ether::Mac;
use dataplane::worker::Worker;
use dataplane::worker::flows::{Flows, Tables};
use dataplane::worker::report::{self, ReportReader};
use dpdk::{LcoreHandle, Mbuf};

use self::aside::Aside;
use self::devices::Devices;
use self::door::Door;
use self::links::PortLinks;
use self::listing::Listing;
use self::memory::MemoryError;
use self::reload::Reloader;
use self::remember::Remembered;
use self::state::Kept;
use self::state::keeper::Keeper;
use self::survey::Survey;
use self::tables::Made;
use self::workers::{Clock, Leash, PacketCost};
use crate::config::{Config, RxChecksum};
use crate::log::Log;
use api::words::{counted, duration};
use api::{Job, Request, Response, RuntimeDir};
use director::answer::empty_trash;
use director::compile::Director;
use director::paths::PortPath;
use director::room::Told;
use director::statistics::Collector;
use director::trash::TrashWatch;
use linux::notify;
use linux::pump::{Bell, Pump};
use linux::signals::{Signal, Signals};
use linux::{Mirror, MirrorEvent, Tap, affinity};
use model::{ModelOptions, TICK};

/// While a worker tells a page of connections, control looks at it only once in this time.
const PAGE_PACE: Duration = Duration::from_micros(50);

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Wrong configuration or arguments: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else: exit code 1.
    #[error("{0}")]
    Runtime(String),
}

fn runtime(error: impl std::fmt::Display) -> DaemonError {
    DaemonError::Runtime(error.to_string())
}

/// What the daemon was started with.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// Where the control socket is.
    pub runtime_dir: PathBuf,
    /// Where the state is kept. `None` leaves it to the configuration.
    pub state_dir: Option<PathBuf>,
    /// The log.
    pub log: Log,
}

/// The running daemon, as its control loop sees it.
struct Daemon {
    config: Config,
    director: Director,
    collector: Collector,
    trash: TrashWatch,
    /// When the log was last told that a table is full.
    full_told: Option<Instant>,
    /// The ends by which workers tell connections. The listing takes them when the daemon begins to
    /// serve.
    readers: Vec<ReportReader>,
    /// What an operator should know of the runtime directory.
    door_note: Option<String>,
    leashes: Vec<Arc<Leash>>,
    costs: Vec<PacketCost>,
    handles: Vec<LcoreHandle>,
    pump: Pump<Mbuf>,
    mirror: Mirror,
    /// The next hops have changed, and the pump has not been told yet.
    hops_changed: bool,
    /// The log has said that senders on these ports leave checksums unfinished: bit n for port n.
    told_unfinished: u32,
    /// For each port: whether the device lets frames in for the other MACs that Linux has on the
    /// host interface. `None` when there are no such MACs, or nothing was tried yet.
    lets_in: Vec<Option<bool>>,
    /// Which shortages the log has told.
    told_short: Told,
    devices: Devices,
    links: PortLinks,
    /// Writes the rules to the state directory.
    keeper: Keeper,
    max_connections: u32,
    table_bytes: u64,
    started: Instant,
}

/// Runs the daemon until it is told to stop.
pub fn run(options: &DaemonOptions) -> Result<(), DaemonError> {
    let allowed_cpus = affinity::allowed_cpus();
    let config = Config::load_for(&options.config, &allowed_cpus)
        .map_err(|error| DaemonError::Usage(error.to_string()))?;
    options.log.set_level(config.log_level);
    let mut reloader = Reloader::new(&options.config, allowed_cpus);
    let rules = files::rules_of(&config).map_err(DaemonError::Usage)?;
    let marks = files::marks_of(&config).map_err(DaemonError::Usage)?;
    privilege::check(&config).map_err(runtime)?;
    // This is done before anything else is made, because a second daemon must not touch the first
    // one's devices.
    let dir = RuntimeDir::claim(&options.runtime_dir).map_err(runtime)?;
    let remembered = Remembered::open(options, &config)?;
    // Threads inherit the CPUs that control may use, and the blocked signals.
    if let Err(error) = affinity::pin(&config.control_cpus) {
        tracing::warn!("{error}");
    }
    options.log.pin(&config.control_cpus);
    let signals = Signals::start().map_err(runtime)?;
    let survey = Survey::of(&config).map_err(runtime)?;
    let memory = memory::check(&config, &survey).map_err(|error| match error {
        MemoryError::Beyond { .. } => DaemonError::Usage(format!("{}: {error}", options.config.display())),
        MemoryError::Short(_) => runtime(error),
    })?;
    tracing::info!("viplined {memory}");
    preflight::check(&config).map_err(DaemonError::Runtime)?;
    let tables = match tables::make(config.max_connections, secrets()?, config.tables_mb(), &signals)? {
        Made::Tables(tables) => *tables,
        Made::Stopped(signal) => {
            tracing::info!("ended: {signal}, before it served");
            return Ok(());
        }
    };
    let (keeper, start) = remembered.keeper()?;
    let mut daemon = Daemon::start(config, survey, dir.path(), tables, keeper)?;
    if let Err(error) = daemon.begin(start, &rules, marks) {
        daemon.stop();
        return Err(error);
    }
    daemon.log_advice();
    let mut door = match Door::open(dir) {
        Ok(door) => door,
        Err(error) => {
            daemon.stop();
            return Err(runtime(error));
        }
    };
    let ports = counted(daemon.config.ports.len() as u64, "port");
    notify::ready(&format!("serving {ports}"));
    tracing::info!("serving: {ports}, control socket in {}", door.path().display());
    let ended = daemon.serve(&mut door, &signals, &mut reloader, &options.log);
    notify::stopping();
    drop(door);
    let served = daemon.started.elapsed();
    daemon.stop();
    let signal = ended?;
    tracing::info!("ended: {signal}, after {}", duration(served));
    Ok(())
}

impl Daemon {
    fn start(
        config: Config,
        survey: Survey,
        runtime_dir: &Path,
        tables: Tables,
        keeper: Keeper,
    ) -> Result<Self, DaemonError> {
        for port in &config.ports {
            if let Some(iface) = port.device.kernel_interface() {
                linux::prepare_underlying(iface).map_err(runtime)?;
            }
        }
        let mut devices = Devices::start(&config, survey, runtime_dir).map_err(runtime)?;
        report_memory(&config, &devices);
        let mut taps = Vec::with_capacity(config.ports.len());
        for (port, device) in config.ports.iter().zip(&devices.ports) {
            let (mac, mtu) = (Mac(device.mac()), device.mtu());
            let tap = Tap::create(&port.host_interface, mac, mtu, &port.addresses).map_err(runtime)?;
            tap.add_routes(&port.routes).map_err(runtime)?;
            taps.push(tap);
        }
        let mirror = Mirror::start().map_err(runtime)?;
        let links = PortLinks::new(&config.ports, &devices.ports, &taps).map_err(runtime)?;
        let (mut director, mut ends) = Director::new(
            ModelOptions {
                memory_pages: memory::pages(),
                ..ModelOptions::served(config.max_destinations, config.mh_size)
            },
            port_paths(&config, &devices),
            1,
        );
        director.leave_to_linux(linux::local_port_range());
        director.follow(mirror.handle().state());

        let (io, pump_end) = devices.io(&config).map_err(runtime)?;
        let bell = Arc::new(Bell::new(1).map_err(runtime)?);
        let pump = Pump::start(taps, vec![pump_end], &mirror.handle(), Arc::clone(&bell)).map_err(runtime)?;
        let stats = Arc::new(WorkerStats::new(config.max_destinations as usize));
        let Some(WorkerEnd { rules, token }) = ends.pop() else { return Err(runtime("no worker")) };
        let flows = Flows::over(tables, stats.clone(), token, Ticks::default());
        let table_bytes = flows.memory_bytes() as u64;
        let (reporter, reader) = report::channel();
        let mut worker = Worker::new(io, rules, flows).with_reporter(reporter);
        let leash = Arc::new(Leash::default());
        let clock = Clock::new(devices.eal.tsc_hz());
        let lcore = devices.eal.worker_lcores().first().copied().ok_or_else(|| runtime("no worker core"))?;
        let handle = {
            let (leash, poll) = (Arc::clone(&leash), config.poll);
            let work = move || workers::run(&mut worker, clock, poll, &leash, &bell);
            devices.eal.launch(lcore, work).map_err(runtime)?
        };
        Ok(Self {
            max_connections: config.max_connections,
            config,
            director,
            collector: Collector::new(vec![stats]),
            trash: TrashWatch::default(),
            full_told: None,
            readers: vec![reader],
            door_note: None,
            leashes: vec![leash],
            costs: vec![PacketCost::default()],
            handles: vec![handle],
            pump,
            mirror,
            hops_changed: false,
            told_unfinished: 0,
            lets_in: Vec::new(),
            told_short: Told::default(),
            devices,
            links,
            keeper,
            table_bytes,
            started: Instant::now(),
        })
    }

    /// Answers requests, follows Linux and does chores until the daemon is told to stop. Returns
    /// the signal that said so.
    fn serve(
        &mut self,
        door: &mut Door,
        signals: &Signals,
        reloader: &mut Reloader,
        log: &Log,
    ) -> Result<&'static str, DaemonError> {
        let handle = self.mirror.handle();
        let world = handle.subscribe();
        self.follow()?;
        self.links.look(&self.devices.ports, Instant::now()).map_err(runtime)?;
        let estimate = tick(TICK);
        let chores = tick(Duration::from_millis(100));
        let mut watchdog = notify::Watchdog::new(Instant::now());
        let (mut jobs, mut netlink_jobs) = (door.jobs(), door.netlink_jobs());
        let mut told_netlink = netlink::Told::default();
        let mut listing = Listing::new(std::mem::take(&mut self.readers));
        let answer = |job: Job, status| job.answer(Response::Status(status));
        let reloaded = reloader.receiver().clone();
        let aside = Aside::start(notes::marked_elsewhere, answer).map_err(runtime)?;
        // This is a moment, not a length of time: pages come in time whatever else there is to do.
        let mut page_due = Instant::now();
        loop {
            let next_page = if listing.is_busy() { at(page_due) } else { never() };
            select! {
                recv(jobs) -> job => match job {
                    Ok(job) => match job.request.clone() {
                        Request::Connections(query) => listing.want(job, query),
                        _ if !job.begin() => {}
                        Request::Reload => reloader.ask(Some(job)),
                        Request::Status if self.director.uses_marks() => {
                            aside.complete(job, Box::new(self.status()));
                        }
                        request => job.answer(self.answer(request)),
                    },
                    Err(_) => return Err(runtime("the control socket's thread has ended")),
                },
                recv(netlink_jobs) -> job => match job.map(|job| job.begin(self.director.model())) {
                    Ok(Some((request, waiting))) => {
                        let response = self.answer(request);
                        told_netlink.tell(&response, Instant::now());
                        waiting.answer(response);
                    }
                    Ok(None) => {}
                    Err(_) => return Err(runtime("the IPVS socket's thread has ended")),
                },
                recv(next_page) -> _ => {
                    page_due = Instant::now() + PAGE_PACE;
                    if let Some((job, page)) = listing.go_on(self.director.model(), Instant::now(), Job::is_given_up) {
                        job.answer(page);
                    }
                }
                recv(world) -> event => match event {
                    Ok(MirrorEvent::Changed) => self.follow()?,
                    Err(_) => return Err(runtime("the netlink mirror has ended")),
                },
                recv(signals.receiver()) -> signal => match signal {
                    Ok(Signal::Stop(name)) => return Ok(name),
                    Ok(Signal::Reload) => {
                        tracing::info!("SIGHUP: reading {} again", reloader.path().display());
                        reloader.ask(None);
                    }
                    Err(_) => return Err(runtime("the signal thread has ended")),
                },
                recv(reloaded) -> outcome => {
                    let ended = || Err("the thread vl-reload has ended".to_owned());
                    self.reload(outcome.unwrap_or_else(|_| ended()), reloader, log);
                }
                recv(estimate) -> _ => {
                    self.collector.collect(self.director.model());
                    self.collector.tick();
                    self.director.set_input(self.config.ports.iter().map(|port| linux::input(&port.host_interface)));
                    self.look_at_workers();
                    if door.mend() {
                        (jobs, netlink_jobs) = (door.jobs(), door.netlink_jobs());
                    }
                    self.door_note = door.note();
                    self.links.look(&self.devices.ports, Instant::now()).map_err(runtime)?;
                    self.director.leave_to_linux(linux::local_port_range());
                    self.log_shortages();
                }
                recv(chores) -> _ => {
                    watchdog.pat(Instant::now());
                    self.director.reclaim();
                    self.empty_trash();
                    self.log_notes();
                    self.remember();
                    if std::mem::take(&mut self.hops_changed) {
                        self.keep_neighbours();
                    }
                    if self.handles.iter().any(LcoreHandle::is_finished) {
                        return Err(runtime("a worker has ended"));
                    }
                }
            }
        }
    }

    fn look_at_workers(&mut self) {
        for ((cost, leash), stats) in self.costs.iter_mut().zip(&self.leashes).zip(self.collector.workers()) {
            let packets = stats.received.get() + stats.from_host.get();
            cost.look(leash.busy_cycles.load(Ordering::Relaxed), packets);
        }
    }

    fn follow(&mut self) -> Result<(), DaemonError> {
        let world = self.mirror.handle().state();
        self.links.follow(&world).map_err(runtime)?;
        self.director.follow(world);
        self.let_in();
        self.keep_neighbours();
        Ok(())
    }

    /// Tells the pump which next hops Linux must keep resolved.
    fn keep_neighbours(&self) {
        let hops = self.director.next_hops();
        self.pump.keep_alive(hops.into_iter().map(|(port, addr)| (port, IpAddr::V4(addr))).collect());
    }

    /// Gives slots of deleted destinations back once nothing has named them for long enough.
    fn empty_trash(&mut self) {
        let Self { director, collector, trash, .. } = self;
        self.hops_changed |= empty_trash(director, collector, trash, Instant::now());
    }

    /// Stops the worker, then what served it.
    fn stop(self) {
        for leash in &self.leashes {
            leash.stop();
        }
        for handle in self.handles {
            if let Err(error) = handle.join() {
                tracing::error!("a worker did not end well: {error}");
            }
        }
        if let Err(why) = self.keeper.finish(|| Kept::of(&self.director)) {
            tracing::error!("{why}; the next start will know older rules");
        }
        // The pump drops the host interfaces; the buffers it still holds go back before the pool
        // goes.
        drop(self.pump.stop());
        drop(self.mirror);
        let Devices { eal, pool, ports, silences, .. } = self.devices;
        drop((ports, pool));
        // Linux hears its interfaces again.
        drop(silences);
        // Drivers that keep packets make a clean end impossible; the process ends all the same.
        if let Err(error) = eal.cleanup() {
            tracing::debug!("{error}");
        }
    }
}

fn port_paths(config: &Config, devices: &Devices) -> Vec<PortPath> {
    let paths = config.ports.iter().zip(&devices.ports).map(|(port, device)| PortPath {
        host_interface: port.host_interface.clone(),
        mac: Mac(device.mac()),
        input: linux::input(&port.host_interface),
        verify_checksum: port.rx_checksum == RxChecksum::Verify,
    });
    paths.collect()
}

fn report_memory(config: &Config, devices: &Devices) {
    if devices.hugepages {
        tracing::info!("packet buffers in huge pages");
    } else {
        tracing::warn!(
            "not enough free huge pages: packet buffers in 4 kB pages, several times the TLB misses"
        );
    }
    for (port, device) in config.ports.iter().zip(&devices.ports) {
        tracing::info!("port {}: {} ({}), {}", port.name, port.device, device.driver(), device.describe());
    }
}

/// What no client can guess, from the kernel's generator.
fn secrets() -> Result<Secrets, DaemonError> {
    let drawn = Secrets::draw(getrandom::u64);
    drawn.map_err(|error| runtime(format!("the kernel gives no random numbers: {error}")))
}
