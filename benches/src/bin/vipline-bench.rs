//! `vipline bench` by itself.

use std::process::ExitCode;

use clap::Parser;

/// Measures the packet path on this machine
#[derive(Parser)]
#[command(name = "vipline-bench")]
struct Cli {
    #[command(flatten)]
    args: benches::bench::BenchArgs,
}

fn main() -> ExitCode {
    benches::bench::main(&Cli::parse().args)
}
