//! The `mark` verb: rules that give packets firewall marks, in the words of iptables.
//!
//! There is one chain, `PREROUTING` of the table `mangle`. [`parse`](parse::parse) turns words into
//! a [`Command`] and needs no daemon. [`run`] carries the command out. [`text`] turns rules back
//! into words, so that saved rules can be restored, here and by iptables.
//!
//! Wrong words exit with code 2, a refusal with 1. The error says in one line what is wrong, where,
//! and what was expected. A change is made completely or not at all.

mod help;
mod options;
mod parse;
mod restore;
mod run;
mod spec;
pub mod text;
mod value;

pub use parse::{Command, UsageError, parse};
pub(crate) use restore::line;
pub use restore::{load, script};
pub use run::run;
