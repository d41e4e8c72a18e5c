//! The generic netlink family `IPVS`.
//!
//! [`messages`] takes a datagram apart. [`receive`] says of each message what is to be done: either
//! there are [`Replies`] at once, or the director is to be asked ([`Step::Ask`]) and [`Pending`]
//! makes replies of its answer. Replies are datagrams, made one at a time, so that a long dump is
//! never in memory as a whole; when they end, [`Replies::more`] may have another question, for the
//! next page.
//!
//! A request that wants an acknowledgement always gets one, or a refusal; a dump always ends with
//! `NLMSG_DONE` or a refusal: `keepalived` waits for ever without.
//!
//! The caller carries out what is asked before it passes on the next message, for [`receive`] looks
//! at the model as it then is. It lets in only those who may change the rules.

mod attribute;
mod daemon;
mod destination;
mod family;
mod local;
mod message;
mod reply;
mod request;
mod service;
mod statistics;

pub use family::FAMILY;
pub use message::{Explain, Message, messages};
pub use reply::{Pending, Replies};
pub use request::{Step, receive};
