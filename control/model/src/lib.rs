//! The rules: every service, destination and local address, as pure data.
//!
//! There is one [`Model`], owned by the control loop; no other thread touches it. It refuses what
//! Linux refuses, with Linux's errors, and what the packet path does not carry yet
//! ([`Capabilities`]). A [`Change`] is applied whole or not at all, and [`Applied`] says what it
//! touched, so that whoever compiles the model for the workers compiles that and no more.
//!
//! Invariants: a slot ([`ServiceId`], [`DestId`](sched::DestId)) never moves and is not used again
//! before the owner says that nothing names it ([`Model::reclaim`], [`Model::reclaim_service`]);
//! every destination is either in exactly one service's list or in the trash.

#![forbid(unsafe_code)]

mod capabilities;
mod change;
mod counters;
mod destination;
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

pub use capabilities::{Capabilities, HostAddresses, Limits, ModelOptions, SCHEDULERS};
pub use change::{Applied, BatchError, Change, Origin, RemovedService};
pub use counters::{Counters, Rates};
pub use destination::{DestKey, DestSpec, MAX_WEIGHT, Method, Tunnel, TunnelChecksum, TunnelKind};
pub use error::{Feature, Invalid, ModelError, Table};
pub use estimator::{Statistics, TICK};
pub use marks::{
    MarkBatchError, MarkChange, MarkError, MarkRule, MarkTable, MarkTarget, Multiport, Net, Not, PortSide,
};
pub use rules::{Destination, Model, Service};
pub use service::{Family, PersistenceMask, Protocol, ServiceFlags, ServiceId, ServiceKey, ServiceSpec};
pub use timeouts::Timeouts;
