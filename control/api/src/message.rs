//! What a client may ask of the daemon, and what the daemon answers.

use serde::{Deserialize, Serialize};

use super::report::{Status, TrafficReport};
use super::view::{ConnectionFilter, ConnectionRow, ServiceView, Totals};
use model::{
    BatchError, Change, MarkBatchError, MarkChange, MarkError, MarkRule, ModelError, ServiceKey, Timeouts,
};

/// The protocol's version; both ends must have the same.
pub const VERSION: u32 = 1;

/// One request on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// The request or the response.
    pub message: T,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Apply one change. Answered by [`Response::Done`], [`Response::Warned`] or
    /// [`Response::Refused`].
    Change(Change),
    /// Apply all changes or none. Answered by [`Response::Done`] or [`Response::BatchRefused`].
    ChangeAll(Vec<Change>),
    /// List services with their destinations. Answered by a page, [`Response::Services`].
    List(ListQuery),
    /// List connections. Answered by a page, [`Response::Connections`].
    Connections(ConnectionQuery),
    /// The connection timeouts; they are set by [`Change::SetTimeouts`]. Answered by
    /// [`Response::Timeouts`].
    Timeouts,
    /// `-Z`: zero the counters of one service and its destinations, or of everything. Answered by
    /// [`Response::Done`] or [`Response::Refused`].
    Zero(Option<ServiceKey>),
    /// The director's counters. Answered by [`Response::Totals`].
    Totals,
    /// How the director is. Answered by [`Response::Status`].
    Status,
    /// What the director did with packets. Answered by [`Response::Traffic`].
    Traffic,
    /// The mark rules. Answered by [`Response::Marks`].
    Marks,
    /// Change the mark rules: all changes or none. Answered by [`Response::Done`] or
    /// [`Response::MarksRefused`].
    ChangeMarks(Vec<MarkChange>),
    /// Bring rules and mark rules to what is wanted: all or nothing, in one step. Answered by
    /// [`Response::Applied`], [`Response::BatchRefused`] or [`Response::MarksRefused`].
    Apply(Wanted),
    /// The tunables. Answered by [`Response::Tunables`].
    Tunables,
    /// Read the configuration again and take it up: all or nothing. Answered by
    /// [`Response::Reloaded`] or [`Response::Failed`].
    Reload,
}

/// What the rules are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whether services that `rules` does not make are deleted. Otherwise `rules` is added to what
    /// there is.
    pub replace: bool,
    /// The changes that make the wanted services on an empty table; and timeouts and tunables to
    /// set.
    pub rules: Vec<Change>,
    /// The changes that make the wanted mark rules on an empty table; `None` leaves the mark rules
    /// as they are.
    pub marks: Option<Vec<MarkChange>>,
    /// Only tell what would be changed.
    pub dry_run: bool,
}

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Changes of services, timeouts and tunables, in the order in which they were made.
    pub rules: Vec<Change>,
    /// Changes of the mark rules, in the order in which they were made.
    pub marks: Vec<MarkChange>,
    /// What is doubtful about the rules as they are now. One line for each doubt.
    pub advice: Vec<String>,
}

/// A configuration that was taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What was changed.
    pub difference: Difference,
    /// What takes effect only at the next start. One line for each key.
    pub restart: Vec<String>,
}

/// A tunable and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunableView {
    /// Its name, without `net.ipv4.vs.`.
    pub name: String,
    /// Its value, as `sysctl` prints it.
    pub value: String,
    /// Whether the packet path reads it. Otherwise it only keeps its value.
    pub built: bool,
}

/// Which services to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only this service; refused if there is no such service.
    pub service: Option<ServiceKey>,
    /// Where to go on: the `next` of the page before. Clients begin without.
    #[serde(default)]
    pub from: Option<u64>,
}

/// Which connections to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionQuery {
    /// Only those that match.
    #[serde(default)]
    pub filter: ConnectionFilter,
    /// Where to go on: the `next` of the page before. Clients begin without.
    #[serde(default)]
    pub from: Option<u64>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The change is applied and workers will see it at their next burst.
    Done,
    /// As [`Self::Done`], but the rules are hardly meant so. One line for each doubt.
    Warned(Vec<String>),
    /// The model refused the change; nothing changed.
    Refused(ModelError),
    /// The model refused one of the changes; none was applied.
    BatchRefused {
        /// Which one, counted from 0.
        index: usize,
        /// Why.
        error: ModelError,
    },
    /// One page of services.
    Services {
        /// The services, in no particular order. Their destinations are in the scheduler's order.
        services: Vec<ServiceView>,
        /// Where the next page begins; `None` on the last.
        next: Option<u64>,
    },
    /// One page of connections.
    Connections {
        /// In no particular order.
        rows: Vec<ConnectionRow>,
        /// Where the next page begins; `None` on the last.
        next: Option<u64>,
    },
    /// The connection timeouts.
    Timeouts(Timeouts),
    /// The director's counters.
    Totals(Totals),
    /// How the director is.
    Status(Box<Status>),
    /// What the director did with packets.
    Traffic(Box<TrafficReport>),
    /// The mark rules in order.
    Marks(Vec<MarkRule>),
    /// One of the changes of the mark rules was refused; none was made.
    MarksRefused {
        /// Which one, counted from 0.
        index: usize,
        /// Why.
        error: MarkError,
    },
    /// The rules are as wanted, or would be after a dry run; this is the difference.
    Applied(Difference),
    /// The configuration was taken up.
    Reloaded(Reloaded),
    /// All tunables, in the order of their names.
    Tunables(Vec<TunableView>),
    /// The request could not be served, for a reason that has nothing to do with the rules: one
    /// sentence.
    Failed(String),
}

impl Request {
    /// The request for the next page, where the page before ended in `next`; `None` if this request
    /// has no pages.
    pub fn continued(mut self, next: u64) -> Option<Self> {
        match &mut self {
            Self::List(query) => query.from = Some(next),
            Self::Connections(query) => query.from = Some(next),
            _ => return None,
        }
        Some(self)
    }
}

impl Response {
    /// Where the next page begins, if this is a page and not the last one.
    pub fn next(&self) -> Option<u64> {
        match self {
            Self::Services { next, .. } | Self::Connections { next, .. } => *next,
            _ => None,
        }
    }

    /// The answer to [`Request::ChangeAll`].
    pub fn from_batch(result: Result<(), BatchError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(BatchError { index, error }) => Self::BatchRefused { index, error },
        }
    }

    /// The answer to [`Request::ChangeMarks`].
    pub fn from_marks(result: Result<(), MarkBatchError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(MarkBatchError { index, error }) => Self::MarksRefused { index, error },
        }
    }

    /// The answer to [`Request::Change`] and [`Request::Zero`].
    pub fn from_change(result: Result<(), ModelError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::Refused(error),
        }
    }
}
