//! The rules: every service, destination and local address, as pure data.
//!
//! There is one [`Model`]. The control loop owns it; no other thread uses it. The model refuses
//! what Linux refuses, with Linux's errors. It also refuses what the packet path does not support
//! yet ([`Capabilities`]). A [`Change`] is applied completely or not at all. [`Applied`] says what
//! it touched, so that only those parts are compiled again for the workers.
//!
//! Invariants: a slot ([`ServiceSlot`], [`DestId`](sched::DestId)) never moves. It is not used again
//! before the owner reports that nothing names it ([`Model::reclaim`], [`Model::reclaim_service`]).
//! Every destination is either in exactly one service's list or in the trash.

#![forbid(unsafe_code)]

mod capabilities;
mod change;
mod counters;
mod destination;
mod difference;
mod error;
mod estimator;
mod marks;
mod rules;
mod service;
mod slab;
#[cfg(test)]
mod tests;
mod timeouts;
mod trash;
mod tunables;

pub use capabilities::{Capabilities, HostAddresses, Limits, ModelOptions, SCHEDULERS};
pub use change::{Applied, BatchError, Change, Origin, RemovedService};
pub use counters::{Counters, Rates};
pub use destination::{DestKey, DestSpec, ForwardingMethod, MAX_WEIGHT, Tunnel, TunnelChecksum, TunnelKind};
pub use error::{Feature, Invalid, ModelError, Table};
pub use estimator::{Statistics, TICK};
pub use marks::{
    MarkBatchError, MarkChange, MarkError, MarkRule, MarkTable, MarkTarget, Multiport, Net, Not, PortSide,
};
pub use rules::{Destination, Model, Service};
pub use service::{Family, PersistenceMask, Protocol, ServiceFlags, ServiceKey, ServiceSlot, ServiceSpec};
pub use timeouts::Timeouts;
pub use tunables::{Tunable, Tunables};
