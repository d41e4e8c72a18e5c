//! The doors to Linux: host interfaces, routes and neighbours, signals, CPUs.
//!
//! Linux is the control plane of layers 2 and 3. Each port has a host interface, a TAP, on which
//! ARP, routing daemons and ssh run as on any NIC. What Linux decides there comes back over
//! rtnetlink as a [`MirrorState`]. Everything here belongs to control threads and to the network
//! namespace they run in. No worker ever calls it.

#![forbid(unsafe_code)]

pub mod affinity;
mod decode;
mod ethtool;
mod failure;
mod flat;
mod follow;
mod input;
mod link;
mod lookup;
mod mirror;
pub mod netfilter;
mod netlink;
pub mod notify;
mod ports;
pub mod pump;
mod resolve;
mod routes;
pub mod signals;
mod silence;
mod source;
mod state;
mod static_route;
mod tap;
mod watch;
mod wire;

pub use ethtool::{Channels, Ethtool};
pub use flat::FlatRoute;
pub use input::input;
pub use link::{LinkCounters, LinkError, Links, Underlying, look_at_underlying, prepare_underlying};
pub use lookup::{Lookup, RangeLookup};
pub use mirror::{Mirror, MirrorEvent, MirrorHandle};
pub use ports::local_port_range;
pub use resolve::{Asking, KEEP_ALIVE, Resolver};
pub use routes::RouteTable;
pub use silence::{Silence, SilenceError};
pub use state::{
    Address, Generations, Iface, MirrorState, Neighbour, NeighbourState, Route, RouteKind, TableId,
};
pub use static_route::{StaticRoute, StaticRouteError};
pub use tap::{Tap, TapError};
pub use watch::{LinkReport, LinkWatch};
