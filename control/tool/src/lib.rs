//! `vipline`: the operator's tool, with its own verbs and all of ipvsadm.

#![forbid(unsafe_code)]

mod apply;
mod args;
mod exec;
mod print;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use sched::MhSize;

use api::words::counted;
use api::{self, Client, ClientError, ConnectionQuery, DEFAULT_RUNTIME_DIR, Request, Response, pages};
use args::{Args, Conns, Verb};
use benches::bench::BenchArgs;
use daemon::config::Config;
use daemon::files::{self, RulesFile};
use daemon::memory;
use daemon::survey::{Survey, SurveyError};
use lvs::ipvs::{self, Console, Invocation, System};
use model::ModelOptions;

/// Runs the tool with a whole command line, and returns the exit code.
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.collect();
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let program = words.first().map_or("vipline", String::as_str);
    if let Some(invocation) = Invocation::from_name(program) {
        return ipvsadm(invocation, program, words.get(1..).unwrap_or_default(), &runtime_dir(None));
    }
    // ipvsadm and iptables have their own grammars. Their words do not go through the parser of the
    // other verbs.
    if let Some((dir, rest)) = args::behind("mark", &words) {
        return mark(rest, &runtime_dir(dir.map(PathBuf::from)));
    }
    if let Some((dir, rest)) = args::behind("sysctl", &words) {
        return sysctl(rest, &runtime_dir(dir.map(PathBuf::from)));
    }
    if let Some((dir, rest)) = args::behind("ipvsadm", &words) {
        return ipvsadm(Invocation::Ipvsadm, "vipline ipvsadm", rest, &runtime_dir(dir.map(PathBuf::from)));
    }
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    let dir = runtime_dir(args.runtime_dir);
    let done = match args.verb {
        Verb::Ipvsadm { .. } | Verb::Mark { .. } | Verb::Sysctl { .. } => Ok(()),
        Verb::Check { file } => check(&file),
        Verb::Apply { file, dry_run } => apply::apply(&dir, &file, dry_run),
        Verb::Reload => apply::reload(&dir),
        Verb::Status { json } => status(&dir, json),
        Verb::Stats { json } => stats(&dir, json),
        Verb::Conns(wanted) => conns(&dir, &wanted),
        Verb::Bench(args) => bench(&args),
        Verb::Exec { command } => exec::exec(&command, &dir),
    };
    match done {
        Ok(()) => 0,
        Err(Failure { text, code }) => {
            complain(&text);
            code
        }
    }
}

/// The runtime directory: `told`, or else `VIPLINE_RUNTIME_DIR`, or else the default.
fn runtime_dir(told: Option<PathBuf>) -> PathBuf {
    let of_environment =
        || std::env::var_os("VIPLINE_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    told.or_else(of_environment).unwrap_or_else(|| DEFAULT_RUNTIME_DIR.into())
}

fn ipvsadm(invocation: Invocation, program: &str, args: &[String], dir: &Path) -> u8 {
    with_console(program, |console| ipvs::run(invocation, args, console, || Client::connect(dir)))
}

fn mark(words: &[String], dir: &Path) -> u8 {
    with_console("vipline mark", |console| lvs::mark::run(words, console, || Client::connect(dir)))
}

fn sysctl(words: &[String], dir: &Path) -> u8 {
    with_console("vipline sysctl", |console| lvs::sysctl::run(words, console, || Client::connect(dir)))
}

/// Runs a command with the streams of this process.
fn with_console(program: &str, run: impl FnOnce(&mut Console<'_>) -> u8) -> u8 {
    let names = System::default();
    let (mut stdin, mut stdout, mut stderr) = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
    run(&mut Console { program, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr, names: &names })
}

/// Why a verb failed.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = if error.is_no_answer() { 3 } else { 1 };
        Self { text: error.to_string(), code }
    }
}

/// Checks a configuration with its rules, or a rules file. Changes nothing.
fn check(file: &Path) -> Result<(), Failure> {
    let of_file = |rules: &Path, options: ModelOptions| {
        let RulesFile { services, destinations, .. } = files::rules(rules, options).map_err(Failure::new)?;
        let (services, destinations) = (services as u64, destinations as u64);
        let (services, destinations) = (counted(services, "service"), counted(destinations, "destination"));
        say(&format!("{}: {services}, {destinations}\n", rules.display()));
        Ok(())
    };
    if file.extension().is_none_or(|extension| extension != "toml") {
        return of_file(file, ModelOptions::served(Config::MAX_DESTINATIONS, MhSize::default()));
    }
    let config = Config::load(file).map_err(|error| Failure::new(error.to_string()))?;
    let (ports, workers) = (config.ports.len() as u64, config.cpus.len() as u64);
    say(&format!("{}: {}, {}\n", file.display(), counted(ports, "port"), counted(workers, "worker")));
    let survey = check_devices(&config)?;
    if let Some(rules) = &config.rules {
        of_file(rules, ModelOptions::served(config.max_destinations, config.mh_size))?;
    }
    if let Some(marks) = &config.marks {
        let count = files::marks_of(&config).map_err(Failure::new)?.len() as u64;
        say(&format!("{}: {}\n", marks.display(), counted(count, "mark rule")));
    }
    let memory = memory::check(&config, &survey)
        .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    say(&format!("{}: {memory}\n", file.display()));
    Ok(())
}

/// Checks the interfaces under the ports. A missing interface is no error: it may exist on the
/// machine that the file is for.
fn check_devices(config: &Config) -> Result<Survey, Failure> {
    match Survey::of(config) {
        Ok(survey) => Ok(survey),
        Err(missing @ SurveyError::Link { .. }) => {
            let _ = writeln!(io::stderr(), "vipline: not checked: {missing}");
            Ok(Survey::ordinary(config))
        }
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let report = benches::bench::run(args)
        .map_err(|error| Failure { code: error.exit_code(), text: error.to_string() })?;
    say(&if args.json { print::json_line(&report) } else { format!("{report}\n") });
    Ok(())
}

fn status(dir: &Path, json: bool) -> Result<(), Failure> {
    match Client::connect(dir)?.call(&Request::Status)? {
        Response::Status(status) => {
            say(&if json { print::json(&status) } else { print::status(&status) });
            match (status.serving, status.degraded) {
                (true, false) => Ok(()),
                (true, true) => {
                    let text = "The director is degraded: see the ports above".to_owned();
                    Err(Failure { text, code: 3 })
                }
                (false, _) => Err(Failure::new("The director is not serving: see the workers above")),
            }
        }
        other => Err(odd(&other)),
    }
}

fn stats(dir: &Path, json: bool) -> Result<(), Failure> {
    let mut client = Client::connect(dir)?;
    let traffic = match client.call(&Request::Traffic)? {
        Response::Traffic(traffic) => traffic,
        other => return Err(odd(&other)),
    };
    let mut services = Vec::new();
    let mut wrong = None;
    pages(&mut client, Request::List(api::ListQuery::default()), &mut |page| match page {
        Response::Services { services: page, .. } => services.extend(page),
        other => wrong = Some(odd(&other)),
    })?;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let stats = print::Stats { traffic: *traffic, services };
    say(&if json { print::json(&stats) } else { print::stats(&stats) });
    Ok(())
}

fn conns(dir: &Path, wanted: &Conns) -> Result<(), Failure> {
    let mut client = Client::connect(dir)?;
    let mut left = wanted.limit.unwrap_or(usize::MAX);
    let mut request = Request::Connections(ConnectionQuery { filter: wanted.filter(), from: None });
    if !wanted.json {
        say(print::CONNECTIONS);
    }
    while left > 0 {
        let response = client.call(&request)?;
        let next = response.next();
        let Response::Connections { rows, .. } = response else { return Err(odd(&response)) };
        for row in rows.iter().take(left) {
            say(&if wanted.json { print::json_line(row) } else { print::connection(row) });
        }
        left -= rows.len().min(left);
        match next.and_then(|next| request.continued(next)) {
            Some(following) => request = following,
            None => break,
        }
    }
    Ok(())
}

fn odd(response: &Response) -> Failure {
    match response {
        Response::Failed(text) => Failure::new(text),
        other => ClientError::unexpected(other).into(),
    }
}

/// Prints a line to stderr. A write error is ignored.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "vipline: {text}");
}

/// Prints to stdout. A write error is ignored.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
