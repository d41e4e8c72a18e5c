//! The `mark` verb: which packets bear which firewall mark, in iptables' words.
//!
//! There is one chain, `PREROUTING` of the table `mangle`. [`parse`](parse::parse) turns words into
//! a [`Command`] and knows no daemon; [`run`] carries it out; [`text`] turns rules back into words,
//! such that what is saved can be restored, here and by iptables.
//!
//! Wrong words exit with 2, a refusal with 1; each says in one line what is wrong, where, and what
//! was expected. A change is made whole or not at all.

mod help;
mod options;
mod parse;
mod restore;
mod run;
mod spec;
pub mod text;
mod value;

pub use parse::{Command, UsageError, parse};
pub use restore::{load, script};
pub use run::run;
