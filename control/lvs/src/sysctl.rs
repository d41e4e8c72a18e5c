//! The verb `sysctl`: the tunables `net.ipv4.vs.*`, in the words of `sysctl(8)` of procps.
//!
//! As there, one wrong setting does not keep the others from being made, and the exit code is 1 if
//! anything failed.

use crate::ipvs::Console;
use api::{Ask, ClientError, Request, Response, TunableView};
use model::{Change, Invalid, ModelError};

const PREFIX: &str = "net.ipv4.vs.";

const USAGE: &str = "\
Usage: vipline sysctl [-n] [NAME…]           print tunables; without a name, all
       vipline sysctl [-n] [-w] NAME=VALUE…  set tunables

  -a  all tunables
  -n  only values
  -w  every word must be a setting

A name is net.ipv4.vs.NAME, or NAME alone. Values outlive the daemon.
";

/// Runs the verb with the words behind it, and returns the exit code. `connect` is called after the
/// words were read without error.
pub fn run<C: Ask>(
    words: &[String],
    console: &mut Console<'_>,
    connect: impl FnOnce() -> Result<C, ClientError>,
) -> u8 {
    let line = match Line::read(words) {
        Ok(Some(line)) => line,
        Ok(None) => {
            console.print(USAGE);
            return 0;
        }
        Err(text) => {
            console.complain(&format!("{}: {text}", console.program));
            return 2;
        }
    };
    let mut client = match connect() {
        Ok(client) => client,
        Err(error) => return failed(console, &error),
    };
    match line.carry_out(&mut client, console) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => failed(console, &error),
    }
}

fn failed(console: &mut Console<'_>, error: &ClientError) -> u8 {
    console.complain(&format!("{}: {error}", console.program));
    if error.is_no_answer() { 3 } else { 1 }
}

/// The words of a command line.
#[derive(Debug, Default)]
struct Line<'a> {
    all: bool,
    only_values: bool,
    write: bool,
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// `None` stands for the wish for help.
    fn read(words: &'a [String]) -> Result<Option<Self>, String> {
        let mut line = Self::default();
        for word in words {
            match word.strip_prefix('-') {
                Some("-help") => return Ok(None),
                Some("-all") => line.all = true,
                Some("-values") => line.only_values = true,
                Some("-write") => line.write = true,
                Some(letters) if !letters.is_empty() && !letters.starts_with('-') => {
                    for letter in letters.chars() {
                        match letter {
                            'a' => line.all = true,
                            'n' => line.only_values = true,
                            'w' => line.write = true,
                            'h' => return Ok(None),
                            _ => return Err(format!("-{letter}: expected -a, -n, -w or -h")),
                        }
                    }
                }
                Some(_) => return Err(format!("{word}: expected -a, -n, -w or -h")),
                None => line.words.push(word),
            }
        }
        Ok(Some(line))
    }

    /// Returns whether everything was done.
    fn carry_out(&self, client: &mut dyn Ask, console: &mut Console<'_>) -> Result<bool, ClientError> {
        let mut good = true;
        if self.all || (self.words.is_empty() && !self.write) {
            for tunable in tunables(client)? {
                self.print(&tunable.name, &tunable.value, console);
            }
        }
        for (number, word) in self.words.iter().enumerate() {
            good &= match word.split_once('=') {
                Some((name, value)) => self.set(name.trim(), value.trim(), client, console)?,
                None if self.write => {
                    console
                        .complain(&format!("sysctl: command line({number}): invalid syntax, continuing..."));
                    false
                }
                None => self.show(word, client, console)?,
            };
        }
        Ok(good)
    }

    fn show(&self, name: &str, client: &mut dyn Ask, console: &mut Console<'_>) -> Result<bool, ClientError> {
        let name = name.replace('/', ".");
        let all = tunables(client)?;
        if name.trim_end_matches('.') == PREFIX.trim_end_matches('.') {
            all.iter().for_each(|tunable| self.print(&tunable.name, &tunable.value, console));
            return Ok(true);
        }
        match all.iter().find(|tunable| tunable.name == short(&name)) {
            Some(tunable) => self.print(&tunable.name, &tunable.value, console),
            None => {
                unknown(&name, console);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn set(
        &self,
        name: &str,
        value: &str,
        client: &mut dyn Ask,
        console: &mut Console<'_>,
    ) -> Result<bool, ClientError> {
        let name = name.replace('/', ".");
        let short = short(&name).to_owned();
        match client.ask(Request::Change(Change::SetTunable(short.clone(), value.to_owned())))? {
            Response::Done | Response::Warned(_) => {}
            Response::Refused(ModelError::NoTunable(_)) => {
                unknown(&name, console);
                return Ok(false);
            }
            Response::Refused(ModelError::Invalid(Invalid::Tunable)) => {
                console.complain(&format!("sysctl: setting key \"{PREFIX}{short}\": Invalid argument"));
                return Ok(false);
            }
            Response::Failed(text) => {
                console.complain(&format!("sysctl: {PREFIX}{short}: {text}"));
                return Ok(false);
            }
            other => return Err(ClientError::unexpected(&other)),
        }
        self.print(&short, value, console);
        if model::Tunable::find(&short).is_some_and(|tunable| !tunable.is_built()) {
            console.complain(&format!(
                "sysctl: {PREFIX}{short} keeps its value, but has no effect: this director does not have that feature yet"
            ));
        }
        Ok(true)
    }

    fn print(&self, name: &str, value: &str, console: &mut Console<'_>) {
        console.print(&if self.only_values {
            format!("{value}\n")
        } else {
            format!("{PREFIX}{name} = {value}\n")
        });
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The message of sysctl for a name that does not exist.
fn unknown(name: &str, console: &mut Console<'_>) {
    if !name.starts_with(PREFIX) && name.contains('.') {
        console.complain(&format!(
            "sysctl: {name}: expected a name in {PREFIX}; all others are Linux's own sysctl's"
        ));
        return;
    }
    let path = short(name).replace('.', "/");
    console.complain(&format!("sysctl: cannot stat /proc/sys/net/ipv4/vs/{path}: No such file or directory"));
}

fn tunables(client: &mut dyn Ask) -> Result<Vec<TunableView>, ClientError> {
    match client.ask(Request::Tunables)? {
        Response::Tunables(all) => Ok(all),
        other => Err(ClientError::unexpected(&other)),
    }
}
