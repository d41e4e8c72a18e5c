//! The `ipvsadm` door: its grammar, its words, its listings and its exit codes, on top of the
//! control socket.
//!
//! Three layers, each testable alone: [`parse`] turns arguments into a [`Command`] and knows no
//! daemon; [`execute`] carries a command out through whoever can be asked ([`api::Ask`]) and
//! prints; [`mod@format`] turns what the daemon said into ipvsadm's text. [`run`] is the whole
//! program.
//!
//! Beyond ipvsadm 1.31 there is FULLNAT, in the words of the LVS fork that has it: `--fullnat` (or
//! `-b` with `-a` and `-e`), and `-P`, `-Q`, `-G` with `-z` for local addresses.

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
pub use rules::{Rule, RuleError, apply_rules, rules};
pub use run::{Invocation, run};
