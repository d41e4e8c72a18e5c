//! Carries out a command: asks the daemon and prints.

use super::parse::{Command, UsageError, parse};
use super::{help, restore, text};
use crate::ipvs::Console;
use api::{Ask, ClientError, Request, Response};
use model::{MarkChange, MarkError, MarkRule};

/// Runs the verb with the words behind it, and returns the exit code. `connect` is called after the
/// words were read without error.
pub fn run<C: Ask>(
    words: &[String],
    console: &mut Console<'_>,
    connect: impl FnOnce() -> Result<C, ClientError>,
) -> u8 {
    match carry_out(words, console, connect) {
        Ok(()) => 0,
        Err(Failure { text, code }) => {
            if !text.is_empty() {
                console.complain(&format!("{}: {text}", console.program));
            }
            code
        }
    }
}

/// Why the command failed.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn refused(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }
}

impl From<UsageError> for Failure {
    fn from(UsageError(text): UsageError) -> Self {
        Self { text, code: 2 }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = if error.is_no_answer() { 3 } else { 1 };
        Self { text: error.to_string(), code }
    }
}

fn carry_out<C: Ask>(
    words: &[String],
    console: &mut Console<'_>,
    connect: impl FnOnce() -> Result<C, ClientError>,
) -> Result<(), Failure> {
    match parse(words, console.names)? {
        Command::Help => console.print(help::USAGE),
        Command::Change(changes) => {
            let (changes, refused) = (changes, |_: usize| String::new());
            change(&mut connect()?, changes, refused)?;
        }
        Command::Restore { flush } => {
            let mut input = String::new();
            let read = console.stdin.read_to_string(&mut input);
            read.map_err(|error| Failure::refused(format!("stdin: {error}")))?;
            if restore::is_blank(&input) {
                let nothing =
                    "restore: nothing on stdin: expected rules as save prints them, or -F to delete all";
                return Err(UsageError(nothing.to_owned()).into());
            }
            let script = restore::script(&input, console.names)?;
            let (mut lines, mut changes): (Vec<_>, Vec<_>) = script.into_iter().unzip();
            if flush {
                lines.insert(0, 0);
                changes.insert(0, MarkChange::Flush);
            }
            let line = |index: usize| lines.get(index).map_or(String::new(), |line| format!("line {line}: "));
            change(&mut connect()?, changes, line)?;
        }
        Command::Check(wanted) => {
            let there = rules(&mut connect()?)?;
            if let Some(missing) = wanted.iter().find(|rule| !there.contains(rule)) {
                return Err(Failure::refused(format!("{}: {}", text::append(missing), MarkError::NoRule)));
            }
        }
        Command::List { number, line_numbers } => {
            let rules = numbered(&mut connect()?, number)?;
            console.print(&text::list(&rules, number, line_numbers));
        }
        Command::Print { number } => {
            let rules = numbered(&mut connect()?, number)?;
            console.print(&text::print(&rules, number));
        }
        Command::Save => {
            let rules = rules(&mut connect()?)?;
            console.print(&text::save(&rules));
        }
    }
    Ok(())
}

/// Sends the changes. `place` gives the place of the change with an index, for the error message.
fn change(
    client: &mut dyn Ask,
    changes: Vec<MarkChange>,
    place: impl Fn(usize) -> String,
) -> Result<(), Failure> {
    match client.ask(Request::ChangeMarks(changes))? {
        Response::Done => Ok(()),
        Response::MarksRefused { index, error } => Err(Failure::refused(format!("{}{error}", place(index)))),
        other => Err(odd(&other)),
    }
}

fn rules(client: &mut dyn Ask) -> Result<Vec<MarkRule>, Failure> {
    match client.ask(Request::Marks)? {
        Response::Marks(rules) => Ok(rules),
        other => Err(odd(&other)),
    }
}

/// All rules. The rule with `number` must be among them.
fn numbered(client: &mut dyn Ask, number: Option<usize>) -> Result<Vec<MarkRule>, Failure> {
    let rules = rules(client)?;
    match number.filter(|number| *number > rules.len()) {
        Some(number) => Err(Failure::refused(MarkError::NoNumber { number, last: rules.len() }.to_string())),
        None => Ok(rules),
    }
}

fn odd(response: &Response) -> Failure {
    match response {
        Response::Failed(text) => Failure::refused(text),
        other => ClientError::unexpected(other).into(),
    }
}
