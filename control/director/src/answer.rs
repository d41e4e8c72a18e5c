//! The answers and chores that are the same for every director: the daemon's and the one in memory.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use api::{ConnectionFilter, ConnectionRow, Difference, Request, Response, Totals, Wanted, page, tunables};
use dataplane::conn::entry::Flags;
use dataplane::conn::tcp::TcpState;
use dataplane::conn::track::ASSURED;
use dataplane::snapshot::dest::Method;
use dataplane::time::Ticks;
use dataplane::worker::report::ConnView;
use model::{
    Applied, BatchError, Change, ForwardingMethod, MarkBatchError, Model, ModelError, Protocol, ServiceKey,
};
use sched::DestId;

use crate::compile::{Director, Refusal};
use crate::statistics::Collector;
use crate::trash::TrashWatch;

/// Answers a request from the rules and the counts. `table_size` is the number of connections that
/// the director's table has room for. A request that only the director's owner can answer is given
/// back: the owner knows the devices, and how the workers are asked.
pub fn answer(
    director: &mut Director,
    collector: &mut Collector,
    table_size: u32,
    request: Request,
) -> Result<Response, Box<Request>> {
    Ok(match request {
        Request::Change(one) => match change(director, collector, vec![one.clone()]) {
            Ok(()) => match director.advice_on(&one) {
                said if said.is_empty() => Response::Done,
                said => Response::Warned(said),
            },
            Err(refused) => Response::Refused(refused.error),
        },
        Request::ChangeAll(changes) => Response::from_batch(change(director, collector, changes)),
        Request::List(query) => {
            match query.service {
                // Programs list many services one by one.
                Some(key) => collect_one(director.model(), collector, &key),
                None => collector.collect(director.model()),
            }
            page(director.model(), collector, &query)
        }
        Request::Timeouts => Response::Timeouts(director.model().timeouts()),
        Request::Zero(key) => Response::from_change(zero(director, collector, key)),
        Request::Totals => {
            collector.collect(director.model());
            Response::Totals(Totals {
                traffic: collector.total(),
                entries: connection_count(collector),
                table_size: u64::from(table_size),
            })
        }
        Request::Marks => Response::Marks(director.marks().to_vec()),
        Request::ChangeMarks(changes) => Response::from_marks(director.change_marks(changes)),
        Request::Apply(wanted) => apply(director, collector, &wanted),
        Request::Tunables => Response::Tunables(tunables(director.model())),
        Request::Connections(_) | Request::Reload | Request::Status | Request::Traffic => {
            return Err(Box::new(request));
        }
    })
}

/// How many connections and templates the workers have.
pub fn connection_count(collector: &Collector) -> u64 {
    collector.workers().iter().map(|worker| u64::from(worker.connections.get())).sum()
}

/// Gives the slots of deleted destinations back once nothing has named them for long enough.
/// Returns whether there were any.
pub fn empty_trash(
    director: &mut Director,
    collector: &mut Collector,
    trash: &mut TrashWatch,
    now: Instant,
) -> bool {
    // The workers must have seen the deletion first. A worker that has not seen it may still make a
    // connection to a destination that looks idle.
    if !director.settled() {
        return false;
    }
    let over = trash.look(director.model(), collector, now);
    for dest in &over {
        director.reclaim_dest(*dest);
        collector.dest_reclaimed(*dest);
    }
    !over.is_empty()
}

/// How long a change may wait until the workers have seen the changes before it. It waits only when
/// it needs the slots that those changes freed.
const SETTLING: Duration = Duration::from_millis(50);
/// How many deleted destinations are given up together when room is short.
const AT_ONCE: usize = 1024;

/// Applies changes, and has `collector` follow them.
pub fn change(
    director: &mut Director,
    collector: &mut Collector,
    changes: Vec<Change>,
) -> Result<(), BatchError> {
    collect_before(director.model(), collector, &changes);
    make_room(director, collector, &changes);
    let applied = director.change(changes)?;
    follow(director, collector, applied);
    Ok(())
}

/// As [`change`], for rules and mark rules in one step.
fn change_both(
    director: &mut Director,
    collector: &mut Collector,
    Difference { rules, marks, .. }: Difference,
) -> Result<(), Refusal> {
    collect_before(director.model(), collector, &rules);
    make_room(director, collector, &rules);
    let applied = director.change_both(rules, marks)?;
    follow(director, collector, applied);
    Ok(())
}

/// Has `collector` follow what was changed.
fn follow(director: &Director, collector: &mut Collector, applied: Vec<Applied>) {
    for done in applied {
        match done {
            Applied::ServiceAdded { service } => collector.service_added(service),
            Applied::ServiceEdited { service, before } => {
                let service = director.model().service(service);
                let other = service.filter(|service| service.spec.scheduler != before.scheduler);
                other
                    .into_iter()
                    .flat_map(|now| &now.destinations)
                    .for_each(|id| collector.forget_response(*id));
            }
            Applied::DestinationAdded { dest, origin, .. } => collector.dest_added(dest, origin),
            // The destination gets work again. Perhaps somebody has mended it, so its response time
            // is measured anew.
            Applied::DestinationEdited { dest, before, .. } if before.weight == 0 => {
                collector.forget_response(dest);
            }
            Applied::LocalAddressAdded { .. } => collector.follow_locals(director.locals()),
            _ => {}
        }
    }
}

/// Brings the rules to what is wanted. What is there already stays untouched.
fn apply(director: &mut Director, collector: &mut Collector, wanted: &Wanted) -> Response {
    let difference = match difference(director, wanted) {
        Ok(difference) => difference,
        Err(Refusal::Rule(BatchError { index, error })) => return Response::BatchRefused { index, error },
        Err(Refusal::Mark(MarkBatchError { index, error })) => {
            return Response::MarksRefused { index, error };
        }
    };
    if wanted.dry_run {
        return Response::Applied(difference);
    }
    match change_both(director, collector, difference.clone()) {
        Ok(()) => Response::Applied(Difference { advice: director.advice(), ..difference }),
        // The wanted rules are right, but the way to them needs room for deleted destinations.
        Err(Refusal::Rule(BatchError { error, .. })) => {
            Response::Failed(format!("{error}; nothing was changed"))
        }
        Err(Refusal::Mark(MarkBatchError { error, .. })) => {
            Response::Failed(format!("{error}; nothing was changed"))
        }
    }
}

/// The changes that bring the rules to what is wanted. The error names the place in `wanted`.
fn difference(director: &Director, wanted: &Wanted) -> Result<Difference, Refusal> {
    let own = director.model();
    let mut model = if wanted.replace { own.without_services() } else { own.clone() };
    model.apply_all(wanted.rules.clone()).map_err(Refusal::Rule)?;
    let marks = match &wanted.marks {
        Some(changes) => {
            let mut table = director.mark_table().emptied();
            table.apply_all(changes.clone()).map_err(Refusal::Mark)?;
            director.mark_table().changes_to(&table)
        }
        None => Vec::new(),
    };
    Ok(Difference { rules: own.changes_to(&model), marks, advice: Vec::new() })
}

/// Gives slots of deleted destinations back early when new destinations need them. A slot is given
/// back only when no connection names its destination, and only once all workers know of the
/// deletion: otherwise a worker could make such a connection at this moment.
fn make_room(director: &mut Director, collector: &mut Collector, changes: &[Change]) {
    let adds = changes.iter().filter(|change| {
        matches!(change, Change::AddDestination(key, spec) if !director.model().would_revive(*key, spec.key))
    });
    let wanted = adds.count().saturating_sub(director.model().free_destinations());
    if wanted == 0 || !director.settle(SETTLING) {
        return;
    }
    let idle = director.model().trash().filter(|dest| collector.is_idle(*dest));
    // Several are given back together. Otherwise a table that is loaded line by line would look for
    // one at every line.
    let idle: Vec<_> = idle.take(wanted.max(AT_ONCE)).collect();
    for dest in idle {
        director.reclaim_dest(dest);
        collector.dest_reclaimed(dest);
    }
}

/// What was counted so far belongs to the services as they were. So the services that lose
/// destinations are counted before the change.
fn collect_before(model: &Model, collector: &mut Collector, changes: &[Change]) {
    for change in changes {
        match change {
            Change::DeleteService(key) | Change::DeleteDestination(key, _) => {
                collect_one(model, collector, key);
            }
            Change::Flush => collector.collect(model),
            _ => {}
        }
    }
}

/// Brings the counters of one service up to date, if it exists.
fn collect_one(model: &Model, collector: &mut Collector, key: &ServiceKey) {
    let found = model.find(key).and_then(|id| Some((id, model.service(id)?)));
    if let Some((id, service)) = found {
        collector.collect_service(id, service);
    }
}

/// `-Z`: begins to count anew, for one service or for everything.
pub fn zero(
    director: &Director,
    collector: &mut Collector,
    key: Option<ServiceKey>,
) -> Result<(), ModelError> {
    let model = director.model();
    collector.collect(model);
    let Some(key) = key else {
        collector.zero_all();
        return Ok(());
    };
    let id = model.find(&key).ok_or(ModelError::NoService)?;
    let dests = model.service(id).map(|service| service.destinations.clone()).unwrap_or_default();
    collector.zero_service(id, &dests);
    Ok(())
}

/// The rows that `filter` shows of a worker's connections.
pub fn rows(
    model: &Model,
    filter: &ConnectionFilter,
    views: &[ConnView],
    worker: usize,
) -> Vec<ConnectionRow> {
    let service = filter.service.as_ref().map(|key| model.find(key));
    // Another service may have the slot by now that the connection names. The destination tells
    // whose connection it is.
    let wanted = |view: &&ConnView| {
        service.is_none_or(|id| id.is_some_and(|id| model.belongs(DestId::new(view.dest_id), id)))
    };
    views.iter().filter(wanted).map(|view| row(view, worker)).filter(|row| filter.matches(row)).collect()
}

/// A connection as clients see it.
fn row(view: &ConnView, worker: usize) -> ConnectionRow {
    let at = |(addr, port): (std::net::Ipv4Addr, u16)| SocketAddr::new(IpAddr::V4(addr), port);
    let template = view.flags.has(Flags::TEMPLATE);
    let state = match view.protocol {
        _ if template => {
            if view.state == ASSURED {
                "ASSURED"
            } else {
                "NONE"
            }
        }
        17 => "UDP",
        _ => TcpState::from_raw(view.state).name(),
    };
    ConnectionRow {
        protocol: Protocol::from_number(view.protocol),
        expires: view.expires_in / Ticks::PER_SECOND,
        state: state.to_owned(),
        client: at(view.client),
        target: at(view.virt),
        destination: at(view.dest),
        local: view.local.map(at),
        method: match Method::from_bits(view.flags.bits()) {
            Method::Masquerade => ForwardingMethod::Masquerade,
            Method::DirectRoute => ForwardingMethod::DirectRoute,
            Method::Tunnel => ForwardingMethod::Tunnel,
            Method::FullNat => ForwardingMethod::FullNat,
        },
        worker: worker as u32,
        engine: None,
    }
}
