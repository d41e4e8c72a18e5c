//! The LVS schedulers as pure functions of their arguments.
//!
//! A scheduler has two halves.
//!
//! The [`Plan`] holds the destination list in Linux's order (new ones at the **front**) and the
//! lookup table, if the algorithm has one. Control builds a plan whenever a service or its
//! destinations change. A plan never changes; all workers share it.
//!
//! The [`State`] belongs to one worker: a cursor, a current weight, a cache. Linux keeps such state
//! across edits. So an edit does not make a new state: it is an [`Edit`] that every worker replays,
//! in order, on its own state.
//!
//! The life of a state:
//!
//! 1. Control makes it with [`State::new`] and sends it to its worker.
//! 2. The worker calls [`State::pick`] for each new connection, and [`State::load_changed`]
//!    whenever a destination's numbers changed.
//! 3. When the plan changes, the worker calls [`State::replay`] for each edit it has not yet seen,
//!    then [`State::rebase`] once.
//! 4. When the new plan no longer fits ([`Room::holds`]), control sends a new, bigger state with
//!    it. The worker calls [`State::adopt`] on the new state, goes on with step 3, and sends the
//!    old state back.
//!
//! Nothing here reads a clock, draws a random number, or knows of packets. Steps 2 to 4 neither
//! allocate nor free.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod board;
mod cache;
mod ctx;
mod cursor;
mod dest;
mod dh;
mod edit;
mod flags;
mod fo;
mod group;
mod hash;
mod key;
mod kind;
mod lblc;
mod lblcr;
mod lc;
mod levels;
mod loads;
mod lt;
mod measure;
mod members;
mod mh;
mod nq;
mod ovf;
mod peaks;
mod plan;
mod positions;
mod rank;
mod room;
mod rr;
mod sed;
mod server;
mod sh;
mod siphash;
mod stagger;
mod state;
mod sums;
#[cfg(test)]
mod testing;
mod tree;
mod twos;
mod wlc;
mod wrr;
mod wrt;

pub use ctx::Ctx;
pub use ctx::Random;
pub use ctx::Tuning;
pub use ctx::XorShift;
pub use dest::Dest;
pub use dest::DestId;
pub use edit::Edit;
pub use edit::What;
pub use flags::Flags;
pub use key::Key;
pub use kind::Kind;
pub use levels::Levels;
pub use loads::Loads;
pub use mh::MhSize;
pub use plan::Options;
pub use plan::Plan;
pub use plan::PlanError;
pub use room::Room;
pub use stagger::Stagger;
pub use state::State;
