//! Carries out a command: asks the daemon, and prints as ipvsadm does.

use std::io::{BufRead, Write};

use super::command::{Command, Listing, Operation};
use super::error::{hint, refusal};
use super::names::{Names, Numeric};
use super::{format, help, restore};
use api::{Ask, ClientError, ConnectionQuery, ListQuery, Request, Response, ServiceView, pages};
use model::{Change, ServiceKey};

/// The streams that a command reads and writes, and the source of names.
pub struct Console<'a> {
    /// The name by which the program was called.
    pub program: &'a str,
    /// `-R` reads it.
    pub stdin: &'a mut dyn BufRead,
    /// For listings.
    pub stdout: &'a mut dyn Write,
    /// For error messages.
    pub stderr: &'a mut dyn Write,
    /// Names of hosts and services.
    pub names: &'a dyn Names,
}

impl Console<'_> {
    /// Prints to stdout. A write error does not make the command fail.
    pub(crate) fn print(&mut self, text: &str) {
        let _ = self.stdout.write_all(text.as_bytes());
    }

    /// Prints a line to stderr.
    pub(crate) fn complain(&mut self, text: &str) {
        let _ = writeln!(self.stderr, "{text}");
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// Whether this also ends the `-R` that ran the command.
    pub end: bool,
}

impl Exit {
    pub(super) const SUCCESS: Self = Self::with(0);

    pub(super) const fn with(code: u8) -> Self {
        Self { code, end: false }
    }
}

/// Carries out a command, prints its output, and returns the exit code.
pub fn execute(command: Command, client: &mut dyn Ask, console: &mut Console<'_>) -> Exit {
    let done = match command {
        Command::Help => {
            console.print(&help::usage(console.program));
            return Exit { code: 0, end: true };
        }
        Command::Version => {
            console.print(help::VERSION);
            return Exit { code: 0, end: true };
        }
        Command::Change(operation, change) => apply(client, console, operation, change),
        Command::Zero(service) => zero(client, service),
        Command::List(listing) => list(client, console, &listing),
        Command::Connections { numeric, engine } => connections(client, console, numeric, engine),
        Command::Timeouts => timeouts(client, console),
        Command::Daemons => Ok(()),
        Command::Save { numeric } => save(client, console, numeric),
        Command::LocalAddresses(service) => local_addresses(client, console, service),
        Command::Restore => return restore::restore(client, console),
        Command::StartDaemon => {
            Err(Failure::change("Synchronization daemons are not supported by this director"))
        }
        Command::StopDaemon => Err(Failure::change("No daemon is running")),
    };
    match done {
        Ok(()) => Exit::SUCCESS,
        Err(Failure { text, code }) => {
            console.complain(&text);
            // If the daemon does not answer now, each following line would wait for it again.
            Exit { code, end: code == NO_ANSWER }
        }
    }
}

/// The exit code if no daemon answers; ipvsadm's if the kernel has no IPVS.
const NO_ANSWER: u8 = 2;

/// A failure. Its exit code is 255 for changes, 1 for listings, and 2 if the daemon does not
/// answer.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn change(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 255 }
    }

    fn list(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// The failure for an answer other than the expected one.
    fn of(operation: Operation, response: Result<Response, ClientError>) -> Self {
        let text = match response {
            Ok(Response::Refused(error) | Response::BatchRefused { error, .. }) => {
                let words = refusal(operation, &error);
                hint(&error).map_or(words.clone(), |hint| format!("{words}\n{hint}"))
            }
            Ok(Response::Failed(text)) => text,
            Ok(other) => ClientError::unexpected(&other).to_string(),
            Err(error) if error.is_no_answer() => {
                return Self { text: error.to_string(), code: NO_ANSWER };
            }
            Err(error) => error.to_string(),
        };
        if operation == Operation::List { Self::list(text) } else { Self::change(text) }
    }
}

fn apply(
    client: &mut dyn Ask,
    console: &mut Console<'_>,
    operation: Operation,
    change: Change,
) -> Result<(), Failure> {
    match client.ask(Request::Change(change)) {
        Ok(Response::Done) => Ok(()),
        Ok(Response::Warned(lines)) => {
            lines.iter().for_each(|line| console.complain(line));
            Ok(())
        }
        other => Err(Failure::of(operation, other)),
    }
}

fn zero(client: &mut dyn Ask, service: Option<ServiceKey>) -> Result<(), Failure> {
    match client.ask(Request::Zero(service)) {
        Ok(Response::Done) => Ok(()),
        other => Err(Failure::of(Operation::Zero, other)),
    }
}

fn list(client: &mut dyn Ask, console: &mut Console<'_>, listing: &Listing) -> Result<(), Failure> {
    if listing.service.is_none() {
        match client.ask(Request::Totals) {
            Ok(Response::Totals(totals)) => console.print(&format::banner(totals.table_size)),
            other => return Err(Failure::of(Operation::List, other)),
        }
    }
    let services = services(client, listing.service)?;
    let names = if listing.numeric { &Numeric } else { console.names };
    console.print(&format::services(&services, listing, names));
    Ok(())
}

fn save(client: &mut dyn Ask, console: &mut Console<'_>, numeric: bool) -> Result<(), Failure> {
    let services = services(client, None)?;
    let names = if numeric { &Numeric } else { console.names };
    console.print(&format::save(&services, names));
    Ok(())
}

fn local_addresses(
    client: &mut dyn Ask,
    console: &mut Console<'_>,
    service: Option<ServiceKey>,
) -> Result<(), Failure> {
    let services = services(client, service)?;
    console.print(&format::local_addresses(&services));
    Ok(())
}

fn services(client: &mut dyn Ask, service: Option<ServiceKey>) -> Result<Vec<ServiceView>, Failure> {
    let mut all = Vec::new();
    let mut odd = None;
    let done = pages(client, Request::List(ListQuery { service, from: None }), &mut |page| match page {
        Response::Services { services, .. } => all.extend(services),
        other => odd = Some(other),
    });
    match (done, odd) {
        (Ok(()), None) => Ok(all),
        (Err(error), _) => Err(Failure::of(Operation::List, Err(error))),
        (Ok(()), Some(other)) => Err(Failure::of(Operation::List, Ok(other))),
    }
}

fn connections(
    client: &mut dyn Ask,
    console: &mut Console<'_>,
    numeric: bool,
    engine: bool,
) -> Result<(), Failure> {
    let names = if numeric { &Numeric } else { console.names };
    let mut odd = None;
    let mut title = Some(format::connections_title(engine));
    let done = pages(client, Request::Connections(ConnectionQuery::default()), &mut |page| match page {
        Response::Connections { rows, .. } => {
            console.print(&title.take().unwrap_or_default());
            console.print(&format::connections(&rows, engine, names));
        }
        other => odd = Some(other),
    });
    match (done, odd) {
        (Ok(()), None) => Ok(()),
        (Err(error), _) => Err(Failure::of(Operation::List, Err(error))),
        (Ok(()), Some(other)) => Err(Failure::of(Operation::List, Ok(other))),
    }
}

fn timeouts(client: &mut dyn Ask, console: &mut Console<'_>) -> Result<(), Failure> {
    match client.ask(Request::Timeouts) {
        Ok(Response::Timeouts(timeouts)) => {
            console.print(&format::timeouts(&timeouts));
            Ok(())
        }
        other => Err(Failure::of(Operation::List, other)),
    }
}
