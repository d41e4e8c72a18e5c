//! `vipline bench` by itself.

use std::process::ExitCode;

use clap::Parser;

/// Measures the packet path on this machine
#[derive(Parser)]
#[command(name = "vipline-bench")]
struct Cli {
    #[command(flatten)]
    args: control::bench::BenchArgs,
}

fn main() -> ExitCode {
    control::bench::main(&Cli::parse().args)
}
