//! A daemon in this process: the real socket, the real model, and no packets.

#![allow(dead_code, reason = "each test uses a part")]

use std::net::IpAddr;
use std::path::Path;
use std::thread::JoinHandle;

use api::{
    ConnectionRow, Job, ListQuery, Load, Observed, Request, Response, RuntimeDir, Server, ServerOptions,
    Status, Totals, Traffic, page, tunables,
};
use model::{MarkTable, Model, ModelOptions, ServiceSlot};
use sched::DestId;
use tempfile::TempDir;

/// A daemon with a runtime directory of its own.
pub(crate) struct Daemon {
    dir: TempDir,
    /// It is dropped first, which ends the control loop.
    server: Option<Server>,
    control: Option<JoinHandle<()>>,
    _claim: RuntimeDir,
}

/// What the daemon pretends to have seen.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) rows: Vec<ConnectionRow>,
    pub(crate) response_us: Option<u32>,
}

impl Observed for World {
    fn service(&self, _: ServiceSlot) -> Traffic {
        Traffic::default()
    }

    fn destination(&self, _: DestId) -> Traffic {
        Traffic::default()
    }

    fn load(&self, _: DestId) -> Load {
        Load::default()
    }

    fn response_us(&self, _: DestId) -> Option<u32> {
        self.response_us
    }

    fn local_address(&self, _: ServiceSlot, _: IpAddr) -> (u64, u64) {
        (0, 0)
    }
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::with(ModelOptions::all(), World::default(), ServerOptions::default())
    }

    pub(crate) fn with(model: ModelOptions, world: World, options: ServerOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let claim = RuntimeDir::claim(dir.path()).unwrap();
        let server = Server::bind(&claim, options).unwrap();
        let jobs = server.jobs().clone();
        let control = std::thread::spawn(move || {
            let mut model = Model::new(model);
            let mut marks = MarkTable::new(vec!["wan0".into(), "lan0".into()], 8);
            for job in jobs.into_iter().filter(Job::begin) {
                let response = match job.request.clone() {
                    Request::Marks => Response::Marks(marks.rules().to_vec()),
                    Request::ChangeMarks(changes) => Response::from_marks(marks.apply_all(changes)),
                    request => answer(&mut model, &world, &request),
                };
                job.answer(response);
            }
        });
        Self { dir, server: Some(server), control: Some(control), _claim: claim }
    }

    pub(crate) fn runtime_dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.server.take());
        self.control.take().unwrap().join().unwrap();
    }
}

pub(crate) fn answer(model: &mut Model, world: &World, request: &Request) -> Response {
    match request.clone() {
        Request::Change(change) => Response::from_change(model.apply(change).map(drop)),
        Request::ChangeAll(changes) => Response::from_batch(model.apply_all(changes).map(drop)),
        Request::List(query) => page(model, world, &query),
        Request::Connections(query) => {
            let from = query.from.unwrap_or(0) as usize;
            let rows: Vec<_> = world.rows.iter().skip(from).take(2).cloned().collect();
            let end = from + rows.len();
            let next = (end < world.rows.len()).then_some(end as u64);
            let rows = rows.into_iter().filter(|row| query.filter.matches(row)).collect();
            Response::Connections { rows, next }
        }
        Request::Timeouts => Response::Timeouts(model.timeouts()),
        Request::Zero(None) => Response::Done,
        Request::Zero(service) => match page(model, &(), &ListQuery { service, from: None }) {
            Response::Services { .. } => Response::Done,
            refused => refused,
        },
        Request::Totals => Response::Totals(Totals { table_size: 4096, ..Totals::default() }),
        Request::Status => Response::Status(Box::new(Status { serving: true, ..Status::default() })),
        Request::Tunables => Response::Tunables(tunables(model)),
        Request::Traffic => Response::Traffic(Box::default()),
        Request::Marks | Request::ChangeMarks(_) | Request::Apply(_) | Request::Reload => {
            Response::Failed("no marks here".into())
        }
    }
}
