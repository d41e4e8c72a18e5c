//! What may be asked of the model, and what it answers that it did.

use std::net::IpAddr;

use sched::DestId;
use serde::{Deserialize, Serialize};

use super::destination::{DestKey, DestSpec};
use super::service::{ServiceId, ServiceKey, ServiceSpec};
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
    /// `-e`: everything the key does not fix is replaced.
    EditDestination(ServiceKey, DestSpec),
    /// `-d`
    DeleteDestination(ServiceKey, DestKey),
    /// `-P -z`
    AddLocalAddress(ServiceKey, IpAddr),
    /// `-Q -z`
    DeleteLocalAddress(ServiceKey, IpAddr),
    /// `--set`: a value of 0 leaves that timeout as it is.
    SetTimeouts(Timeouts),
}

/// What a change did, so that whatever is compiled from the model is touched there and only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A service appeared in a slot that nothing else uses.
    ServiceAdded {
        /// Its slot.
        service: ServiceId,
    },
    /// A service changed in place.
    ServiceEdited {
        /// Its slot.
        service: ServiceId,
        /// What it was.
        before: ServiceSpec,
    },
    /// A service went, and its destinations went to the trash.
    ServiceRemoved(RemovedService),
    /// All services went.
    Flushed(Vec<RemovedService>),
    /// A destination appeared at the front of its service's list.
    DestinationAdded {
        /// Its service.
        service: ServiceId,
        /// Its slot.
        dest: DestId,
        /// Whether the slot is new or came back from the trash.
        origin: Origin,
    },
    /// A destination changed in place.
    DestinationEdited {
        /// Its service.
        service: ServiceId,
        /// Its slot.
        dest: DestId,
        /// What it was.
        before: DestSpec,
    },
    /// A destination went to the trash.
    DestinationRemoved {
        /// Its service.
        service: ServiceId,
        /// Its slot, kept until [`reclaim`](super::Model::reclaim).
        dest: DestId,
        /// The element before it in the list; `None` when it was the front one.
        after: Option<DestId>,
    },
    /// A service gained a local address, at the end of its list.
    LocalAddressAdded {
        /// The service.
        service: ServiceId,
        /// The address.
        addr: IpAddr,
    },
    /// A service lost a local address.
    LocalAddressRemoved {
        /// The service.
        service: ServiceId,
        /// The address.
        addr: IpAddr,
    },
    /// The connection timeouts are now these.
    TimeoutsSet(Timeouts),
}

/// Where an added destination's slot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A fresh slot: live counts and statistics begin at 0.
    New,
    /// The slot this destination had before: its connections and live counts continue, and its
    /// statistics do too.
    Revived,
    /// As `Revived`, but the service was removed and made anew: statistics begin at 0.
    RevivedUnderNewService,
}

/// What a removed service leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedService {
    /// Its slot, kept until [`reclaim_service`](super::Model::reclaim_service).
    pub service: ServiceId,
    /// What it was.
    pub spec: ServiceSpec,
    /// Its destinations in list order, now in the trash.
    pub destinations: Vec<DestId>,
}

/// A list of changes was refused at one of them; none was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("change {index}: {error}")]
pub struct BatchError {
    /// Which change, counted from 0.
    pub index: usize,
    /// Why.
    #[source]
    pub error: super::ModelError,
}
