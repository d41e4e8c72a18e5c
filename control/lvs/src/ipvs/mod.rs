//! `ipvsadm` on top of the control socket: its grammar, its messages, its listings and its exit
//! codes.
//!
//! There are three layers; each can be tested alone. [`parse`] turns arguments into a [`Command`]
//! and needs no daemon. [`execute`] sends a command to the daemon through [`api::Ask`] and prints
//! the result. [`mod@format`] turns the daemon's answers into ipvsadm's text. [`run`] is the whole
//! program.
//!
//! FULLNAT is not in ipvsadm 1.31. Its options are those of the LVS fork that has it: `--fullnat`
//! (or `-b` with `-a` and `-e`), and `-P`, `-Q`, `-G` with `-z` for local addresses.

mod address;
mod command;
mod error;
mod execute;
pub mod format;
mod help;
mod names;
mod number;
mod options;
mod parse;
mod popt;
mod restore;
mod rules;
mod run;
mod sort;
mod syntax;

pub use command::{Command, Listing, Mode, Operation, UsageError};
pub use error::{explained, hint, refusal};
pub use execute::{Console, Exit, execute};
pub use names::{Names, Numeric, System};
pub use parse::parse;
pub(crate) use rules::rule;
pub use rules::{Rule, RuleError, apply_rules, rules};
pub use run::{Invocation, run};
