//! The changes that the model can be asked for, and its report of what it did.

use std::net::IpAddr;

use sched::DestId;
use serde::{Deserialize, Serialize};

use super::destination::{DestKey, DestSpec};
use super::service::{ServiceKey, ServiceSlot, ServiceSpec};
use super::timeouts::Timeouts;

/// One change of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// `-A`
    AddService(ServiceSpec),
    /// `-E`: everything the key does not fix is replaced.
    EditService(ServiceSpec),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-C`: all services.
    Flush,
    /// `-a`
    AddDestination(ServiceKey, DestSpec),
    /// `-e`: everything but the key is replaced.
    EditDestination(ServiceKey, DestSpec),
    /// `-d`
    DeleteDestination(ServiceKey, DestKey),
    /// `-P -z`
    AddLocalAddress(ServiceKey, IpAddr),
    /// `-Q -z`
    DeleteLocalAddress(ServiceKey, IpAddr),
    /// `--set`: a value of 0 keeps that timeout as it is.
    SetTimeouts(Timeouts),
    /// `sysctl -w net.ipv4.vs.NAME=VALUE`: the name without `net.ipv4.vs.`, and the value.
    SetTunable(String, String),
}

/// What a change did. The compiler of the rules then updates those parts and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A service was added, in a slot that nothing else uses.
    ServiceAdded {
        /// Its slot.
        service: ServiceSlot,
    },
    /// A service changed in place.
    ServiceEdited {
        /// Its slot.
        service: ServiceSlot,
        /// What it was.
        before: ServiceSpec,
    },
    /// A service was removed, and its destinations were moved to the trash.
    ServiceRemoved(RemovedService),
    /// All services were removed.
    Flushed(Vec<RemovedService>),
    /// A destination was added at the front of its service's list.
    DestinationAdded {
        /// Its service.
        service: ServiceSlot,
        /// Its slot.
        dest: DestId,
        /// Whether the slot is new or came back from the trash.
        origin: Origin,
    },
    /// A destination changed in place.
    DestinationEdited {
        /// Its service.
        service: ServiceSlot,
        /// Its slot.
        dest: DestId,
        /// What it was.
        before: DestSpec,
    },
    /// A destination was moved to the trash.
    DestinationRemoved {
        /// Its service.
        service: ServiceSlot,
        /// Its slot, kept until [`reclaim`](super::Model::reclaim).
        dest: DestId,
        /// The element before it in the list; `None` if it was the first.
        after: Option<DestId>,
    },
    /// A local address was added at the end of a service's list.
    LocalAddressAdded {
        /// The service.
        service: ServiceSlot,
        /// The address.
        addr: IpAddr,
    },
    /// A local address was removed from a service.
    LocalAddressRemoved {
        /// The service.
        service: ServiceSlot,
        /// The address.
        addr: IpAddr,
    },
    /// The connection timeouts were set; these are the new ones.
    TimeoutsSet(Timeouts),
    /// A tunable was set. The model has the values of all.
    TunableSet,
}

/// Where an added destination's slot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A new slot: live counts and statistics begin at 0.
    New,
    /// The slot that the destination had before. Its connections, live counts and statistics
    /// continue.
    Revived,
    /// Like `Revived`, but the service was removed and added again: statistics begin at 0.
    RevivedUnderNewService,
}

/// The remains of a removed service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedService {
    /// Its slot, kept until [`reclaim_service`](super::Model::reclaim_service).
    pub service: ServiceSlot,
    /// What it was.
    pub spec: ServiceSpec,
    /// Its destinations in list order, now in the trash.
    pub destinations: Vec<DestId>,
}

/// One change of a list was refused, so none was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("change {index}: {error}")]
pub struct BatchError {
    /// Which change, counted from 0.
    pub index: usize,
    /// Why.
    #[source]
    pub error: super::ModelError,
}
