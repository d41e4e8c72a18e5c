//! The commands that a command line can ask for.

use model::{Change, ServiceKey};

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-h`
    Help,
    /// `-v`
    Version,
    /// Every command that changes rules. The operation gives its error messages.
    Change(Operation, Change),
    /// `-L` of services.
    List(Listing),
    /// `-L -c`
    Connections {
        /// `-n`
        numeric: bool,
        /// `--persistent-conn`: show the data of persistence engines.
        engine: bool,
    },
    /// `-L --timeout`
    Timeouts,
    /// `-L --daemon`
    Daemons,
    /// `-S`
    Save {
        /// `-n`
        numeric: bool,
    },
    /// `-Z`
    Zero(Option<ServiceKey>),
    /// `-G`
    LocalAddresses(Option<ServiceKey>),
    /// `-R`
    Restore,
    /// `--start-daemon`: this director has no synchronization daemon.
    StartDaemon,
    /// `--stop-daemon`: no daemon is running.
    StopDaemon,
}

/// How to list services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Only this service.
    pub service: Option<ServiceKey>,
    /// What to show of each service.
    pub mode: Mode,
    /// `-n`
    pub numeric: bool,
    /// `--exact`
    pub exact: bool,
    /// `--nosort`
    pub unsorted: bool,
}

/// What to show of each service and destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Methods, weights and connections.
    #[default]
    Plain,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    Persistent,
    /// `--tun-info`
    Tunnels,
}

/// Operations. Some have their own error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `-A`
    AddService,
    /// `-E`
    EditService,
    /// `-D`
    DeleteService,
    /// `-C`
    Flush,
    /// `-a`
    AddServer,
    /// `-e`
    EditServer,
    /// `-d`
    DeleteServer,
    /// `-P`
    AddLocalAddress,
    /// `-Q`
    DeleteLocalAddress,
    /// `--set`
    SetTimeouts,
    /// `net.ipv4.vs.NAME = VALUE` in a file.
    SetTunable,
    /// `-Z`
    Zero,
    /// `-L`, `-S`, `-G`
    List,
}

/// A command line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct UsageError {
    /// What to print on stderr, without the final newline.
    pub text: String,
    /// The exit code.
    pub exit: u8,
    /// Whether the error also ends `-R`.
    pub fatal: bool,
    /// Which argument is wrong, counted from 0, if it is one.
    pub word: Option<usize>,
}

impl UsageError {
    /// An error in the options: exit code 2.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit: 2, fatal: true, word: None }
    }

    /// The same error, about this argument.
    pub(super) fn about(self, word: Option<usize>) -> Self {
        Self { word: self.word.or(word), ..self }
    }
}
