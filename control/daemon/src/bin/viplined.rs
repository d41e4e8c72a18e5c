//! `viplined`: the director daemon.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use api::DEFAULT_RUNTIME_DIR;
use clap::Parser;
use daemon::log::Log;
use daemon::{DaemonError, DaemonOptions, run};

/// The Vipline director: balances connections in user space, as Linux Virtual Server does in the
/// kernel.
#[derive(Debug, Parser)]
#[command(name = "viplined", version)]
struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the control socket is.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME_DIR)]
    runtime_dir: PathBuf,
    /// Where rules are kept while no daemon runs [default: state_dir of the configuration, or
    /// /var/lib/vipline]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Log more than log_level of the configuration says; twice for everything
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let level = match args.verbose {
        0 => None,
        1 => Some(tracing::Level::DEBUG),
        _ => Some(tracing::Level::TRACE),
    };
    let log = match Log::start() {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "viplined: cannot make the log: {error}");
            return ExitCode::from(1);
        }
    };
    log.install(level);
    let Args { config, runtime_dir, state_dir, .. } = args;
    let ended = run(&DaemonOptions { config, runtime_dir, state_dir, log: log.clone() });
    let code = match ended {
        Ok(()) => 0,
        Err(error) => {
            log.say(&format!("viplined: {error}\n"));
            match error {
                DaemonError::Usage(_) => 2,
                DaemonError::Runtime(_) => 1,
            }
        }
    };
    log.flush();
    ExitCode::from(code)
}
