//! How a packet finds the worker that owns its connection.
//!
//! Pure: no I/O, no clock, and a look-up does not allocate. All of it is made by control at the
//! start, shared by all workers, and then only read, except [`Groups`], which follow the rules.
//!
//! * [`Plan`]: from what the cards can do to keys, tables and a word for `status`.
//! * [`Steering`]: the owner of a packet. A worker asks for strangers, and for ICMP errors about
//!   packets that it does not know. If a port is spread in software, it asks for each packet.
//! * [`Groups`]: the [`Rule`] of each service and real server.
//! * [`LocalPorts`]: FULLNAT's local ports, whose replies come to the owner.
//!
//! `docs/scaling.md` shows how these fit together. No worker uses them yet.

mod groups;
mod key;
mod pair;
mod plan;
mod ports;
mod rank;
mod rule;
mod spread;
mod steering;
mod table;
mod toeplitz;

pub use groups::Groups;
pub use groups::Member;
pub use key::RssKey;
pub use pair::KeyPair;
pub use plan::Plan;
pub use plan::PortAbilities;
pub use plan::PortPlan;
pub use plan::Rss;
pub use plan::Side;
pub use ports::LocalPorts;
pub use ports::Runs;
pub use rule::OwnerBy;
pub use rule::Rule;
pub use spread::Reason;
pub use spread::Spread;
pub use steering::Steering;
pub use table::ENTRIES;
pub use table::Entry;
pub use table::Table;
pub use table::WORKERS;
pub use table::WorkerId;
pub use toeplitz::Toeplitz;
