//! Turns words into a command.

use super::options::{Line, Opt, Verb, take_apart};
use super::{spec, value};
use crate::ipvs::Names;
use model::{MarkChange, MarkRule};

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-A`, `-I`, `-R`, `-D`, `-F`
    Change(Vec<MarkChange>),
    /// `-C`: whether these rules exist.
    Check(Vec<MarkRule>),
    /// `-h`
    Help,
    /// `-L`: a table for people.
    List {
        /// Only the rule with this number.
        number: Option<usize>,
        /// Whether to show numbers.
        line_numbers: bool,
    },
    /// `-S`: the rules as commands.
    Print {
        /// Only the rule with this number.
        number: Option<usize>,
    },
    /// `restore`: rules from stdin.
    Restore {
        /// Whether to delete the present rules first.
        flush: bool,
    },
    /// `save`: the rules in iptables-save's format.
    Save,
}

/// A wrong command line: what is wrong, where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Reads a command line, without the verb `mark`.
pub fn parse(words: &[String], names: &dyn Names) -> Result<Command, UsageError> {
    match words {
        [first, rest @ ..] if first == "save" => plain(rest, &[]).map(|_| Command::Save),
        [first, rest @ ..] if first == "restore" => {
            plain(rest, &["-n", "--noflush"]).map(|kept| Command::Restore { flush: !kept })
        }
        [first] if first == "help" => Ok(Command::Help),
        _ => command(&take_apart(words)?, names),
    }
}

/// Whether `words` contains one of `flags`. No other word is allowed.
fn plain(words: &[String], flags: &[&str]) -> Result<bool, UsageError> {
    match words.iter().find(|word| !flags.contains(&word.as_str())) {
        Some(other) if flags.is_empty() => Err(UsageError(format!("{other}: expected nothing behind save"))),
        Some(other) => Err(UsageError(format!("{other}: expected --noflush or nothing behind restore"))),
        None => Ok(!words.is_empty()),
    }
}

fn command(line: &Line, names: &dyn Names) -> Result<Command, UsageError> {
    let said = line.said.as_str();
    let rules = || spec::rules(&line.given, names);
    match line.verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Append | Verb::Check | Verb::Insert | Verb::Replace => {}
        Verb::Delete if line.words.len() < 2 => {}
        Verb::Delete
        | Verb::DeleteChain
        | Verb::Flush
        | Verb::List
        | Verb::Policy
        | Verb::Print
        | Verb::Zero => {
            if let Some(given) = line.given.first() {
                return Err(UsageError(format!("{}: expected no condition with {said}", given.said)));
            }
        }
    }
    if line.verb == Verb::DeleteChain {
        // It deletes all chains but the built-in ones. There are no others.
        return match line.words.first() {
            None => Ok(Command::Change(Vec::new())),
            Some(chain) => Err(value::wrong(said, chain, "nothing behind it, as there are no other chains")),
        };
    }
    if line.verb == Verb::Policy {
        return match line.words.get(1).map(String::as_str) {
            _ if line.words.first().is_none_or(|chain| chain != "PREROUTING") => {
                Err(UsageError(format!("{said}: expected PREROUTING ACCEPT behind it")))
            }
            Some("ACCEPT") => Ok(Command::Change(Vec::new())),
            other => Err(value::wrong(said, other.unwrap_or("nothing"), "ACCEPT behind the chain")),
        };
    }
    let number = place(line)?;
    Ok(match line.verb {
        Verb::Append => Command::Change(rules()?.into_iter().map(MarkChange::Append).collect()),
        Verb::Insert => {
            let first = number.unwrap_or(1);
            Command::Change((first..).zip(rules()?).map(|(at, rule)| MarkChange::Insert(at, rule)).collect())
        }
        Verb::Replace => {
            let number = number
                .ok_or_else(|| UsageError(format!("{said}: expected a rule's number behind the chain")))?;
            let mut rules = rules()?;
            match (rules.pop(), rules.is_empty()) {
                (Some(rule), true) => Command::Change(vec![MarkChange::Replace(number, rule)]),
                _ => return Err(several(line)),
            }
        }
        Verb::Delete => Command::Change(match number {
            Some(number) => vec![MarkChange::DeleteNumber(number)],
            None => rules()?.into_iter().map(MarkChange::Delete).collect(),
        }),
        Verb::Check => Command::Check(rules()?),
        Verb::Flush => Command::Change(vec![MarkChange::Flush]),
        // Counters are not kept.
        Verb::Zero | Verb::DeleteChain | Verb::Policy => Command::Change(Vec::new()),
        Verb::List => Command::List { number, line_numbers: line.line_numbers },
        Verb::Print => Command::Print { number },
        Verb::Help => Command::Help,
    })
}

/// The number behind the chain, if the command allows one.
fn place(line: &Line) -> Result<Option<usize>, UsageError> {
    let said = line.said.as_str();
    let may_lack_chain = matches!(line.verb, Verb::Flush | Verb::List | Verb::Print | Verb::Zero);
    match line.words.first().map(String::as_str) {
        Some("PREROUTING") => {}
        None if may_lack_chain => {}
        None => return Err(UsageError(format!("{said}: expected the chain PREROUTING behind it"))),
        Some(other) => {
            return Err(value::wrong(said, other, "PREROUTING, the only chain there is"));
        }
    }
    let most = if matches!(line.verb, Verb::Append | Verb::Check | Verb::Flush) { 1 } else { 2 };
    match line.words.get(1..).unwrap_or_default() {
        [] => Ok(None),
        [other, ..] if most == 1 => Err(UsageError(format!("{other}: expected an option"))),
        [number] => value::rule_number(said, number).map(Some),
        [_, other, ..] => Err(UsageError(format!("{other}: expected an option"))),
    }
}

fn several(line: &Line) -> UsageError {
    let lists = line.given.iter().filter(|given| matches!(given.opt, Opt::Source | Opt::Destination));
    let list = lists.map(|given| given.said.as_str()).next().unwrap_or("-s");
    UsageError(format!("{list}: expected one address with {}", line.said))
}
