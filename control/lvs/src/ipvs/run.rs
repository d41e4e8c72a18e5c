//! The whole program, under any of its three names.

use std::io::Cursor;

use super::command::{Command, Operation};
use super::execute::{Console, execute};
use super::parse::parse;
use api::{Ask, ClientError};
use model::Change;

/// One of the three programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `ipvsadm`
    Ipvsadm,
    /// `ipvsadm-save`
    Save,
    /// `ipvsadm-restore`
    Restore,
}

impl Invocation {
    /// The program with this name, which may be a path.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.rsplit('/').next() {
            Some("ipvsadm") => Some(Self::Ipvsadm),
            Some("ipvsadm-save") => Some(Self::Save),
            Some("ipvsadm-restore") => Some(Self::Restore),
            _ => None,
        }
    }
}

/// Runs the program and returns the exit code. `connect` is called after the command line was read
/// without error, and only if the command needs the daemon.
pub fn run<C: Ask>(
    invocation: Invocation,
    args: &[String],
    console: &mut Console<'_>,
    connect: impl FnOnce() -> Result<C, ClientError>,
) -> u8 {
    match invocation {
        Invocation::Ipvsadm => ipvsadm(args, console, connect),
        Invocation::Save => save(args, console, connect),
        Invocation::Restore => restore(console, connect),
    }
}

fn ipvsadm<C: Ask>(
    args: &[String],
    console: &mut Console<'_>,
    connect: impl FnOnce() -> Result<C, ClientError>,
) -> u8 {
    let command = match parse(console.program, args, console.names) {
        Ok(command) => command,
        Err(error) => {
            console.complain(&error.text);
            return error.exit;
        }
    };
    if matches!(command, Command::Help | Command::Version) {
        return execute(command, &mut Nobody, console).code;
    }
    match connect() {
        Ok(mut client) => execute(command, &mut client, console).code,
        Err(error) => no_daemon(console, &error),
    }
}

fn save<C: Ask>(
    args: &[String],
    console: &mut Console<'_>,
    connect: impl FnOnce() -> Result<C, ClientError>,
) -> u8 {
    if args.iter().any(|arg| arg.starts_with('-') && arg != "-n") {
        let name = console.program.rsplit('/').next().unwrap_or_default().to_owned();
        console.complain(&format!("{name}: print the table of virtual services as commands"));
        console.complain("   -n prints addresses and ports as numbers");
        return 1;
    }
    let numeric = args.iter().any(|arg| arg == "-n");
    match connect() {
        Ok(mut client) => execute(Command::Save { numeric }, &mut client, console).code,
        Err(error) => no_daemon(console, &error),
    }
}

/// Clears the table and reads a new one from stdin. Lines that begin with `#` are comments.
fn restore<C: Ask>(console: &mut Console<'_>, connect: impl FnOnce() -> Result<C, ClientError>) -> u8 {
    let mut text = Vec::new();
    if let Err(error) = console.stdin.read_to_end(&mut text) {
        console.complain(&format!("stdin: {error}"));
        return 1;
    }
    let commands: Vec<u8> = text
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"#"))
        .flatten()
        .copied()
        .collect();
    let mut client = match connect() {
        Ok(client) => client,
        Err(error) => return no_daemon(console, &error),
    };
    let flushed = execute(Command::Change(Operation::Flush, Change::Flush), &mut client, console);
    if flushed.code != 0 {
        return flushed.code;
    }
    let Console { stdout, stderr, names, .. } = console;
    let mut stdin = Cursor::new(commands);
    let mut console =
        Console { program: "ipvsadm", stdin: &mut stdin, stdout: *stdout, stderr: *stderr, names: *names };
    execute(Command::Restore, &mut client, &mut console).code
}

fn no_daemon(console: &mut Console<'_>, error: &ClientError) -> u8 {
    console.complain(&format!("Can't initialize ipvs: {error}"));
    2
}

/// For commands that need no daemon.
struct Nobody;

impl Ask for Nobody {
    fn ask(&mut self, _: api::Request) -> Result<api::Response, ClientError> {
        Err(ClientError::Closed)
    }
}
