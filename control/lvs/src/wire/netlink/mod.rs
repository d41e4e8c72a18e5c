//! The generic netlink family `IPVS`.
//!
//! [`messages`] splits a datagram. [`receive`] decides what to do with each message: it gives
//! [`Replies`] at once, or a question for the director ([`Step::Ask`]). [`Pending`] turns the
//! director's answer into replies. Replies are datagrams. They are made one at a time, so a long
//! dump is never in memory as a whole. After the last one, [`Replies::more`] may give another
//! question, for the next page.
//!
//! A request that wants an acknowledgement always gets one, or a refusal. A dump always ends with
//! `NLMSG_DONE` or a refusal. Otherwise `keepalived` would wait for ever.
//!
//! The caller must carry out each request before it passes the next message, because [`receive`]
//! reads the model. It must also check that the client may change the rules.

mod attribute;
mod daemon;
mod destination;
mod family;
mod local;
mod message;
mod option;
mod reply;
mod request;
mod service;
mod statistics;
mod text;

pub use family::FAMILY;
pub use message::{Explain, Message, messages};
pub use reply::{Pending, Replies};
pub use request::{Step, receive};
