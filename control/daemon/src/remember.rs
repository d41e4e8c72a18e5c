//! The rules that the daemon starts with, and what it remembers while it runs.
//!
//! If there is a state, the daemon starts with it, and reads neither `rules` nor `marks` of the
//! configuration. A state is written at the first change that somebody makes while the daemon runs.
//! Until then every start takes the files of the configuration.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::state::keeper::{Keeper, News};
use super::state::store::{Found, Store};
use super::state::{Changes, Kept};
use super::{Daemon, DaemonError, DaemonOptions, runtime};
use crate::config::Config;
use api::words::counted;
use lvs::ipvs::{self, Rule};
use model::{Change, MarkChange};

/// Where the state is, unless the daemon is told another directory.
const DEFAULT_STATE_DIR: &str = "/var/lib/vipline";

/// How many refused rules of a state the log names.
const NAMED: usize = 10;

/// The state directory as the start found it.
pub(super) struct Remembered {
    store: Store,
    found: Result<Found, String>,
}

/// What the daemon starts with.
pub(super) enum Start {
    /// The files of the configuration.
    Files,
    /// The state.
    State(Changes),
}

impl Remembered {
    /// Opens the state directory and reads the state. A directory that cannot be used is no reason
    /// not to start, unless another daemon uses it.
    pub(super) fn open(options: &DaemonOptions, config: &Config) -> Result<Self, DaemonError> {
        let told = options.state_dir.clone().or_else(|| config.state_dir.clone());
        let dir = told.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR));
        let (store, found) = Store::open(dir, api::CLAIM_PATIENCE).map_err(runtime)?;
        Ok(Self { store, found })
    }

    /// Starts the thread that writes the state, and says what the daemon starts with.
    pub(super) fn keeper(self) -> Result<(Keeper, Start), DaemonError> {
        let Self { store, found } = self;
        let (mut written, mut trouble, mut start) = (false, None, Start::Files);
        let file = store.file();
        match found {
            Ok(Found::Nothing) => {}
            Ok(Found::State(changes)) => (written, start) = (true, Start::State(changes)),
            Ok(Found::Broken { aside, why }) => tracing::error!(
                "the state {} is broken ({why}): it is {aside} now, and the daemon starts without it",
                file.display()
            ),
            Err(why) => {
                tracing::error!("{why}; the daemon starts without a state, and rules are not kept");
                trouble = Some(format!(
                    "{why}; a restart would not know the rules; it is tried again at each change"
                ));
            }
        }
        let keeper = Keeper::start(store, written, trouble).map_err(runtime)?;
        Ok((keeper, start))
    }
}

impl Daemon {
    /// Loads what the daemon starts with.
    pub(super) fn begin(
        &mut self,
        start: Start,
        rules: &[Rule],
        marks: Vec<MarkChange>,
    ) -> Result<(), DaemonError> {
        match start {
            Start::Files => {
                self.director.change_marks(marks).map_err(runtime)?;
                self.load(rules)
            }
            Start::State(changes) => {
                self.recall(changes);
                Ok(())
            }
        }
    }

    /// Loads the rules and tunables of the configuration: all of them or none.
    fn load(&mut self, rules: &[Rule]) -> Result<(), DaemonError> {
        let tunables = self.config.tunables.clone();
        let tunables = tunables.into_iter().map(|(name, value)| Change::SetTunable(name, value));
        let changes = rules.iter().map(|rule| rule.change.clone()).chain(tunables);
        let Err(refused) = self.change(changes.collect()) else {
            return Ok(());
        };
        let path = self.config.rules.clone().unwrap_or_default();
        let why = match rules.get(refused.index) {
            Some(rule) => format!("line {}: {}", rule.line, ipvs::explained(rule.operation, &refused.error)),
            None => refused.to_string(),
        };
        Err(DaemonError::Usage(format!("{}: {why}", path.display())))
    }

    /// Loads the state. If a part of it is refused, because the configuration or the addresses of
    /// the machine have changed, the rest is loaded: it is better to serve most services than none.
    fn recall(&mut self, Changes { rules, marks }: Changes) {
        let (all, mut refused) = (rules.len() + marks.len(), Vec::new());
        if self.change(rules.clone()).is_err() {
            for change in rules {
                if let Err(error) = self.change(vec![change.clone()]) {
                    refused.push(format!("{}: {}", named(&change), error.error));
                }
            }
        }
        if self.director.change_marks(marks.clone()).is_err() {
            for change in marks {
                if let Err(error) = self.director.change_marks(vec![change]) {
                    refused.push(format!("mark rule: {}", error.error));
                }
            }
        }
        let file = self.keeper.file().to_owned();
        self.tell_refused(&file, &refused);
        let model = self.director.model();
        let services = counted(model.service_count() as u64, "service");
        let destinations = counted(model.destination_count() as u64, "destination");
        tracing::info!(
            "the rules are those of the state {}: {services}, {destinations} ({} of {all} lines)",
            file.display(),
            all - refused.len()
        );
        let Config { rules, marks, tunables, .. } = &self.config;
        let keys =
            [("rules", rules.is_some()), ("marks", marks.is_some()), ("[sysctl]", !tunables.is_empty())];
        let unread: Vec<_> =
            keys.iter().filter(|(_, there)| *there).map(|(key, _)| format!("`{key}`")).collect();
        if !unread.is_empty() {
            let were = if unread.len() == 1 { "was" } else { "were" };
            let unread = unread.join(" and ");
            tracing::info!("{unread} of the configuration {were} not loaded, because there is a state");
        }
    }

    fn tell_refused(&mut self, file: &Path, refused: &[String]) {
        if refused.is_empty() {
            return;
        }
        self.keeper.keep_copy();
        for line in refused.iter().take(NAMED) {
            tracing::error!("not taken from the state {}: {line}", file.display());
        }
        let more = refused.len().saturating_sub(NAMED);
        if more > 0 {
            tracing::error!("not taken from the state {}: {more} lines more", file.display());
        }
    }

    /// Has the rules written if they have changed.
    pub(super) fn remember(&mut self) {
        let Self { keeper, director, .. } = self;
        match keeper.look(Instant::now(), || Kept::of(director)) {
            Some(News::Bad(text)) => tracing::error!("{text}"),
            Some(News::Good(text)) => tracing::info!("{text}"),
            None => {}
        }
    }
}

/// What a change is about, for the log.
fn named(change: &Change) -> String {
    match change {
        Change::AddService(spec) => format!("service {}", spec.key),
        Change::AddDestination(key, spec) => {
            format!("{key}, destination {}", std::net::SocketAddr::new(spec.key.addr, spec.key.port))
        }
        Change::AddLocalAddress(key, addr) => format!("{key}, local address {addr}"),
        Change::SetTunable(name, _) => format!("net.ipv4.vs.{name}"),
        _ => "timeouts".to_owned(),
    }
}
