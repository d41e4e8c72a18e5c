//! What the daemon answers to each request, on the control thread.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dataplane::stats::WorkerStats;
use dataplane::verdict::DropReason;
use dataplane::wire::ether::Mac;

use super::Daemon;
use super::workers::PacketCost;
use crate::log;
use api::{
    MemoryStatus, NamedCount, PortStatus, PortTraffic, Request, Response, Status, TrafficReport,
    WorkerStatus, WorkerTraffic,
};
use director::answer;
use linux::pump::PumpDrop;
use model::{BatchError, Change, ModelError};

/// After this time the log is told again that a table is full.
const TELL_AGAIN: Duration = Duration::from_secs(60);
impl Daemon {
    /// The answer to one request.
    pub(super) fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Status => Response::Status(Box::new(self.status())),
            Request::Traffic => Response::Traffic(Box::new(self.traffic())),
            request => {
                let applies = matches!(&request, Request::Apply(wanted) if !wanted.dry_run);
                let rules = applies || matches!(request, Request::Change(_) | Request::ChangeAll(_));
                let marks = matches!(request, Request::ChangeMarks(_));
                self.hops_changed |= rules;
                let response =
                    answer::answer(&mut self.director, &mut self.collector, self.max_connections, request)
                        .unwrap_or_else(|request| Response::Failed(format!("nothing answers {request:?}")));
                self.tell_if_full(&response);
                let done = match &response {
                    Response::Done | Response::Warned(_) => true,
                    Response::Applied(made) => !made.rules.is_empty() || !made.marks.is_empty(),
                    _ => false,
                };
                if (rules || marks) && done {
                    self.keeper.changed();
                }
                response
            }
        }
    }

    /// Has the log name the table that was too full for a change, but not every time.
    fn tell_if_full(&mut self, response: &Response) {
        let (Response::Refused(error) | Response::BatchRefused { error, .. }) = response else { return };
        let told = self.full_told.is_some_and(|told| told.elapsed() < TELL_AGAIN);
        if matches!(error, ModelError::Full { .. }) && !told {
            tracing::warn!("a change was refused: {error}");
            self.full_told = Some(Instant::now());
        }
    }

    /// Applies changes, and does what has to follow outside the rules.
    pub(super) fn change(&mut self, changes: Vec<Change>) -> Result<(), BatchError> {
        answer::change(&mut self.director, &mut self.collector, changes)?;
        // A table that is loaded line by line makes thousands of changes. The pump is told of all
        // of them together.
        self.hops_changed = true;
        Ok(())
    }

    /// The status, without the note about Linux's marks: see [`super::aside`].
    pub(super) fn status(&self) -> Status {
        let ports = self.devices.ports.iter().zip(&self.links.ports).zip(&self.config.ports);
        let ports = ports.map(|((port, link), config)| PortStatus {
            name: config.name.clone(),
            device: config.device.to_string(),
            driver: port.driver().to_owned(),
            host_interface: config.host_interface.clone(),
            mac: Mac(port.mac()).to_string(),
            up: !link.is_down(),
            link: link.state.unwrap_or_default().to_string(),
            mbps: if link.is_down() { 0 } else { u64::from(link.speed.unwrap_or(0)) },
            mtu: link.mtu,
            queues: port.ground().queue_count(),
            troubles: link.troubles().map(str::to_owned).collect(),
        });
        let workers = self.collector.workers().iter().enumerate().map(|(id, stats)| WorkerStatus {
            id: id as u32,
            cpu: self.config.cpus.get(id).map_or(0, |cpu| *cpu as u32),
            epoch: self.director.epoch_seen(id),
            busy: self.busy_share(id),
            cycles_per_packet: self.costs.get(id).and_then(PacketCost::cycles_per_packet),
            connections: u64::from(stats.connections.get()),
        });
        let pool = &self.devices.pool;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            serving: self.handles.iter().all(|handle| !handle.is_finished()),
            degraded: self.links.degraded(),
            epoch: self.director.epoch(),
            ports: ports.collect(),
            workers: workers.collect(),
            memory: MemoryStatus {
                hugepages: self.devices.hugepages,
                bytes: u64::from(pool.capacity()) * u64::from(pool.data_room()) + self.table_bytes,
                mbufs: u64::from(pool.capacity()),
                mbufs_used: u64::from(pool.capacity() - pool.available()),
            },
            services: self.director.model().service_count() as u64,
            destinations: self.director.model().destination_count() as u64,
            connections: answer::connection_count(&self.collector),
            max_connections: u64::from(self.max_connections),
            log_lost: log::lost(),
            notes: self.notes(),
        }
    }

    fn busy_share(&self, worker: usize) -> f64 {
        let cycles = self.leashes.get(worker).map_or(0, |leash| leash.busy_cycles.load(Ordering::Relaxed));
        let all = self.started.elapsed().as_secs_f64() * self.devices.eal.tsc_hz() as f64;
        if all > 0.0 { cycles as f64 / all } else { 0.0 }
    }

    fn traffic(&mut self) -> TrafficReport {
        let workers = self.collector.workers();
        let sum = |pick: fn(&WorkerStats) -> u64| workers.iter().map(|worker| pick(worker)).sum::<u64>();
        let verdicts = [
            ("received", "frames received on ports", sum(|w| w.received.get())),
            ("from_host", "frames that Linux sent", sum(|w| w.from_host.get())),
            ("icmp_sent", "ICMP errors the director sent", sum(|w| w.icmp_sent.get())),
            (
                "unfinished",
                "frames whose checksum their sender left to a device, finished here",
                sum(|w| w.unfinished.get()),
            ),
            ("icmp_suppressed", "ICMP errors held back by the rate limit", sum(|w| w.icmp_suppressed.get())),
            ("transmitted", "frames sent out of ports", sum(|w| w.transmitted.get())),
            ("host", "frames given to Linux", sum(|w| w.host.get())),
            ("resolve", "packets that waited for a neighbour", sum(|w| w.resolve.get())),
            ("dropped", "frames dropped", sum(WorkerStats::dropped)),
            ("created", "connections made", sum(|w| w.created.get())),
            ("expired", "connections that timed out", sum(|w| w.expired.get())),
            (
                "cut_short",
                "connections that ended otherwise: begun anew by their client, or in the way of another",
                sum(|w| w.ended.get().saturating_sub(w.expired.get() + w.displaced.get())),
            ),
            (
                "connections",
                "connections there are now, templates included",
                sum(|w| w.connections.get().into()),
            ),
            ("half_open", "TCP connections that were never established", sum(|w| w.half_open.get().into())),
            (
                "displaced",
                "connections that made room for new ones in a full table, or gave up a local port",
                sum(|w| w.displaced.get()),
            ),
            (
                "displaced_silent",
                "of these, connections that had led to something and were silent",
                sum(|w| w.displaced_silent.get()),
            ),
        ];
        let named = |(name, text, count): (&str, &str, u64)| NamedCount {
            name: name.to_owned(),
            text: text.to_owned(),
            count,
        };
        let path_drops = DropReason::ALL.iter().map(|reason| {
            let count = workers.iter().map(|worker| worker.drops(*reason).get()).sum();
            (reason.word(), reason.sentence(), count)
        });
        let pump = self.pump.counters().totals();
        let pump_drops = PumpDrop::ALL.iter().map(|why| (why.name(), why.sentence(), pump.dropped(*why)));
        let drops = path_drops.chain(pump_drops).filter(|(.., count)| *count != 0).map(named).collect();
        self.links.count();
        let ports = self.devices.ports.iter().zip(&self.links.ports).zip(&self.config.ports);
        let ports = ports.map(|((port, link), config)| {
            let stats = link.stats(port);
            PortTraffic {
                name: config.name.clone(),
                rx_packets: stats.rx_packets,
                rx_bytes: stats.rx_bytes,
                rx_missed: stats.rx_missed,
                rx_errors: stats.rx_errors,
                tx_packets: stats.tx_packets,
                tx_bytes: stats.tx_bytes,
                tx_errors: stats.tx_errors,
            }
        });
        let by_worker = workers.iter().enumerate().map(|(id, worker)| WorkerTraffic {
            id: id as u32,
            packets: worker.received.get(),
            transmitted: worker.transmitted.get(),
            host: worker.host.get(),
            dropped: worker.dropped(),
        });
        TrafficReport {
            verdicts: verdicts.into_iter().map(named).collect(),
            drops,
            ports: ports.collect(),
            workers: by_worker.collect(),
        }
    }
}
