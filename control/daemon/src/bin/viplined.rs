//! `viplined`: the director daemon.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use api::DEFAULT_RUNTIME_DIR;
use clap::Parser;
use daemon::{DaemonError, Options, run};

/// The Vipline director: balances connections in user space, as Linux Virtual Server does in the kernel.
#[derive(Debug, Parser)]
#[command(name = "viplined", version)]
struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the control socket is.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME_DIR)]
    runtime_dir: PathBuf,
    /// Where what outlives the daemon is kept: nothing so far.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Say more; twice for everything.
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let level = match args.verbose {
        0 => tracing::Level::INFO,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // Under systemd the journal stamps the time; on a terminal people want it.
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.without_time().with_ansi(false).init();
    }
    if let Some(dir) = args.state_dir {
        tracing::debug!("state directory {}: nothing is kept there", dir.display());
    }
    match run(&Options { config: args.config, runtime_dir: args.runtime_dir }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("viplined: {error}");
            ExitCode::from(match error {
                DaemonError::Usage(_) => 2,
                DaemonError::Runtime(_) => 1,
            })
        }
    }
}
