//! A changed configuration, taken up while the daemon runs: on SIGHUP and for `vipline reload`.
//!
//! A thread (`vl-reload`) reads and checks the files, because names in them may have to be resolved.
//! The control loop takes up what it read: rules, mark rules and tunables in one step, and the log
//! level. If anything is wrong, nothing changes. Keys that take effect only at the start are named.

use std::path::{Path, PathBuf};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Daemon;
use crate::config::Config;
use crate::files;
use crate::log::Log;
use api::words::counted;
use api::{Job, Reloaded, Request, Response, Wanted};
use director::answer;
use lvs::ipvs::{self, Rule};
use model::{Change, MarkChange};

/// The files as they are now, read and checked.
pub(super) struct Ready {
    config: Config,
    rules: Vec<Rule>,
    marks: Vec<MarkChange>,
}

/// What the thread answers.
pub(super) type Outcome = Result<Box<Ready>, String>;

/// Reads the configuration again, once for all who ask before it begins.
pub(super) struct Reloader {
    path: PathBuf,
    /// The CPUs that this process might use when it started. Its threads may use fewer now.
    allowed_cpus: Vec<usize>,
    sender: Sender<Outcome>,
    receiver: Receiver<Outcome>,
    /// Who waits for the reading that is under way; `None` if there is none.
    waiting: Option<Vec<Job>>,
    /// Who asked since it began. They get what the next reading finds.
    next: Option<Vec<Job>>,
}

impl Reloader {
    pub(super) fn new(path: &Path, allowed_cpus: Vec<usize>) -> Self {
        let (sender, receiver) = unbounded();
        Self { path: path.to_owned(), allowed_cpus, sender, receiver, waiting: None, next: None }
    }

    /// The configuration file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the outcome arrives.
    pub(super) const fn receiver(&self) -> &Receiver<Outcome> {
        &self.receiver
    }

    /// Begins to read the files. `job` is answered afterwards; a signal has none.
    pub(super) fn ask(&mut self, job: Option<Job>) {
        let list = if self.waiting.is_some() { &mut self.next } else { &mut self.waiting };
        let begins = list.is_none();
        list.get_or_insert_default().extend(job);
        if begins && self.next.is_none() {
            self.begin();
        }
    }

    /// Ends a reading: returns who waits for it, and begins the next one if somebody asked since.
    pub(super) fn ended(&mut self) -> Vec<Job> {
        let waiting = self.waiting.take().unwrap_or_default();
        self.waiting = self.next.take();
        if self.waiting.is_some() {
            self.begin();
        }
        waiting
    }

    fn begin(&self) {
        let (path, allowed, sender) = (self.path.clone(), self.allowed_cpus.clone(), self.sender.clone());
        let reads = move || {
            let _ = sender.send(read(&path, &allowed));
        };
        if let Err(error) = thread::Builder::new().name("vl-reload".into()).spawn(reads) {
            let _ = self.sender.send(Err(format!("cannot start a thread: {error}")));
        }
    }
}

fn read(path: &Path, allowed_cpus: &[usize]) -> Outcome {
    let config = Config::load_for(path, allowed_cpus).map_err(|error| error.to_string())?;
    let (rules, marks) = (files::rules_of(&config)?, files::marks_of(&config)?);
    Ok(Box::new(Ready { config, rules, marks }))
}

impl Daemon {
    /// Takes up what was read, tells the log, and answers those who wait.
    pub(super) fn reload(&mut self, outcome: Outcome, reloader: &mut Reloader, log: &Log) {
        let path = reloader.path().display().to_string();
        let taken = outcome.and_then(|ready| self.take_up(*ready, log));
        match &taken {
            Ok(Reloaded { difference, restart }) => {
                let made = counted((difference.rules.len() + difference.marks.len()) as u64, "change");
                tracing::info!("{path} was read again: {made} made");
                restart.iter().for_each(|line| tracing::warn!("{path}: {line}"));
                difference.advice.iter().for_each(|line| tracing::warn!("{line}"));
            }
            Err(why) => tracing::error!("reloading failed, and nothing changed: {why}"),
        }
        for job in reloader.ended() {
            job.answer(match &taken {
                Ok(reloaded) => Response::Reloaded(reloaded.clone()),
                Err(why) => Response::Failed(why.clone()),
            });
        }
    }

    fn take_up(&mut self, Ready { config, rules, marks }: Ready, log: &Log) -> Result<Reloaded, String> {
        let tunables =
            config.tunables.iter().map(|(name, value)| Change::SetTunable(name.clone(), value.clone()));
        let wanted = Wanted {
            replace: config.rules.is_some(),
            rules: rules.iter().map(|rule| rule.change.clone()).chain(tunables).collect(),
            marks: config.marks.is_some().then_some(marks),
            dry_run: false,
        };
        let request = Request::Apply(wanted);
        let response = answer::answer(&mut self.director, &mut self.collector, self.max_connections, request);
        let shown = |path: &Option<PathBuf>| path.clone().unwrap_or_default().display().to_string();
        let difference = match response {
            Ok(Response::Applied(difference)) => difference,
            Ok(Response::BatchRefused { index, error }) => {
                let place = rules
                    .get(index)
                    .map(|rule| format!("line {}: {}", rule.line, ipvs::explained(rule.operation, &error)));
                return Err(format!(
                    "{}: {}",
                    shown(&config.rules),
                    place.unwrap_or_else(|| error.to_string())
                ));
            }
            Ok(Response::MarksRefused { error, .. }) => {
                return Err(format!("{}: {error}", shown(&config.marks)));
            }
            Ok(Response::Failed(text)) => return Err(text),
            Ok(_) | Err(_) => return Err("the rules could not be compared".to_owned()),
        };
        self.hops_changed = true;
        // Without a state, the next start reads the same files.
        if self.keeper.is_written() {
            self.keeper.changed();
        }
        let restart = self.config.needs_restart(&config);
        log.set_level(config.log_level);
        let Config { rules, marks, tunables, log_level, .. } = config;
        self.config = Config { rules, marks, tunables, log_level, ..self.config.clone() };
        Ok(Reloaded { difference, restart })
    }
}
