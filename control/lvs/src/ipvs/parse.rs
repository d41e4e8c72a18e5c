//! Turns arguments into a command, with ipvsadm's checks in ipvsadm's order: first each value as it
//! is read, then which options go together, then what they mean together.

use super::command::{Command, Listing, Mode, Operation, UsageError};
use super::names::Names;
use super::number::number;
use super::options::{Opt, Rule, Token, Verb, WORDS};
use super::popt::Scanner;
use super::syntax::{Values, timeout};
use model::{Change, Timeouts};

/// Reads a command line. `args` does not contain the program's name; `program` is the name by which
/// it was called.
pub fn parse(program: &str, args: &[String], names: &dyn Names) -> Result<Command, UsageError> {
    if args.is_empty() {
        return Ok(Command::List(Listing::default()));
    }
    let mut scanner = Scanner::new(WORDS, args);
    let (verb, state) = match scanner.option() {
        Ok(Some((Token::Verb(verb), value))) => (verb, value),
        Ok(Some((Token::Help, _))) => return Ok(Command::Help),
        Ok(Some((Token::Version, _))) => return Ok(Command::Version),
        _ => return Err(try_help(program)),
    };
    check_daemon_state(verb, state)?;
    if matches!(verb, Verb::AddServer | Verb::EditServer) {
        scanner.bare = Some('b');
    }
    let mut values = Values::new(verb, names);
    loop {
        match scanner.option() {
            Ok(Some((token, value))) => {
                let taken = values.take(token, value.unwrap_or_default(), value.is_some());
                if !taken.map_err(|error| error.about(scanner.place()))? {
                    let error = UsageError::new(format!("invalid option `{}'", scanner.word()));
                    return Err(error.about(scanner.place()));
                }
            }
            Ok(None) => break,
            Err(problem) => {
                let text = format!("{}: {}", scanner.word(), problem.text());
                return Err(UsageError { text, exit: 255, fatal: false, word: scanner.place() });
            }
        }
    }
    let mut words = scanner.leftovers().into_iter();
    let timeouts = if verb == Verb::Set { Some(three_timeouts(&mut words)?) } else { None };
    if let Some(word) = words.next() {
        let place = args.iter().rposition(|arg| arg == word);
        return Err(UsageError::new(format!("unexpected argument {word}")).about(place));
    }
    values.read_sched_flags()?;
    check_options(verb, &values)?;
    command(verb, values, timeouts)
}

/// ipvsadm's message for a line that does not begin with a command.
pub(super) fn try_help(program: &str) -> UsageError {
    let text = format!("Try `{program} -h' or '{program} --help' for more information.");
    UsageError { text, exit: 255, fatal: true, word: None }
}

fn command(verb: Verb, mut values: Values<'_>, timeouts: Option<Timeouts>) -> Result<Command, UsageError> {
    let change = |operation, change| Ok(Command::Change(operation, change));
    match verb {
        Verb::AddService => change(Operation::AddService, Change::AddService(values.service_spec()?)),
        Verb::EditService => change(Operation::EditService, Change::EditService(values.service_spec()?)),
        Verb::DeleteService => change(Operation::DeleteService, Change::DeleteService(values.service()?)),
        Verb::Flush => change(Operation::Flush, Change::Flush),
        Verb::AddServer => {
            let spec = values.dest_spec()?;
            change(Operation::AddServer, Change::AddDestination(values.service()?, spec))
        }
        Verb::EditServer => {
            let spec = values.dest_spec()?;
            change(Operation::EditServer, Change::EditDestination(values.service()?, spec))
        }
        Verb::DeleteServer => {
            let key = values.server()?;
            change(Operation::DeleteServer, Change::DeleteDestination(values.service()?, key))
        }
        Verb::AddLocalAddress => {
            let addr = values.local_address()?;
            change(Operation::AddLocalAddress, Change::AddLocalAddress(values.service()?, addr))
        }
        Verb::DeleteLocalAddress => {
            let addr = values.local_address()?;
            change(Operation::DeleteLocalAddress, Change::DeleteLocalAddress(values.service()?, addr))
        }
        Verb::Set => change(Operation::SetTimeouts, Change::SetTimeouts(timeouts.unwrap_or_default())),
        Verb::List => list(&values),
        Verb::Save => Ok(Command::Save { numeric: values.has(Opt::Numeric) }),
        Verb::Zero => Ok(Command::Zero(values.service_if_given())),
        Verb::GetLocalAddresses => Ok(Command::LocalAddresses(values.service_if_given())),
        Verb::Restore => Ok(Command::Restore),
        Verb::StartDaemon => Ok(Command::StartDaemon),
        Verb::StopDaemon => Ok(Command::StopDaemon),
    }
}

fn list(values: &Values<'_>) -> Result<Command, UsageError> {
    let any = |options: &[Opt]| options.iter().any(|option| values.has(*option));
    let shape = any(&[Opt::Stats, Opt::Rate, Opt::Thresholds]);
    let other = any(&[Opt::Connection, Opt::Timeout, Opt::Daemon]);
    if (other && shape) || (any(&[Opt::Timeout, Opt::Daemon]) && values.has(Opt::PersistentConn)) {
        return Err(UsageError::new("options conflicts in the list command"));
    }
    let numeric = values.has(Opt::Numeric);
    if values.has(Opt::Connection) {
        return Ok(Command::Connections { numeric, engine: values.has(Opt::PersistentConn) });
    }
    if values.has(Opt::Timeout) {
        return Ok(Command::Timeouts);
    }
    if values.has(Opt::Daemon) {
        return Ok(Command::Daemons);
    }
    let modes = [
        (Opt::Stats, Mode::Stats),
        (Opt::Rate, Mode::Rate),
        (Opt::Thresholds, Mode::Thresholds),
        (Opt::PersistentConn, Mode::Persistent),
        (Opt::TunInfo, Mode::Tunnels),
    ];
    let mode =
        modes.into_iter().find_map(|(option, mode)| values.has(option).then_some(mode)).unwrap_or_default();
    let service = values.service_if_given();
    let (exact, unsorted) = (values.has(Opt::Exact), values.has(Opt::NoSort));
    Ok(Command::List(Listing { service, mode, numeric, exact, unsorted }))
}

/// Checks which options go with this command. The error names the first wrong one, in the order of
/// the table.
fn check_options(verb: Verb, values: &Values<'_>) -> Result<(), UsageError> {
    let mut exclusive: Option<Opt> = None;
    for option in Opt::ALL {
        let (name, command) = (option.name(), verb.name());
        match (verb.rule(*option), values.has(*option)) {
            (Rule::Required, false) => {
                let text = format!("You need to supply the '{name}' option for the '{command}' command");
                return Err(UsageError::new(text));
            }
            (Rule::Illegal, true) => {
                return Err(UsageError::new(format!("Illegal '{name}' option with the '{command}' command")));
            }
            (Rule::Exclusive, true) => {
                if let Some(first) = exclusive.replace(*option) {
                    let first = first.name();
                    let text = format!(
                        "The option '{name}' conflicts with the '{first}' option in the '{command}' command"
                    );
                    return Err(UsageError::new(text));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_daemon_state(verb: Verb, state: Option<&str>) -> Result<(), UsageError> {
    let known = matches!(state, Some("master" | "backup"));
    match verb {
        Verb::StartDaemon if !known => Err(UsageError::new("illegal start-daemon parameter specified")),
        Verb::StopDaemon if !known => Err(UsageError::new("illegal start_daemon specified")),
        _ => Ok(()),
    }
}

fn three_timeouts<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Timeouts, UsageError> {
    let (Some(tcp), Some(tcp_fin), Some(udp)) = (words.next(), words.next(), words.next()) else {
        return Err(UsageError::new("--set option requires 3 timeout values"));
    };
    Ok(Timeouts { tcp: timeout(tcp, 0)?, tcp_fin: timeout(tcp_fin, 0)?, udp: timeout(udp, 0)? })
}

/// A number in a range; otherwise ipvsadm's error message `complaint`.
pub(super) fn ranged(
    text: &str,
    range: std::ops::RangeInclusive<i64>,
    complaint: &str,
) -> Result<u32, UsageError> {
    let value = number(text, range).and_then(|value| u32::try_from(value).ok());
    value.ok_or_else(|| UsageError::new(complaint))
}
