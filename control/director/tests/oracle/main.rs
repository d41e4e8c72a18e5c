//! For each connection Vipline picks the server that Linux IPVS picks. What Linux did was recorded,
//! and is replayed here in memory.
//!
//! `scripts/oracle --record` wrote down in `recorded/` how Linux answered each scenario: those in
//! `scenarios/`, and random ones, which are known by their seeds. Without arguments this program
//! runs the same scenarios and must get the same answers. `scripts/oracle` uses the arguments:
//! `run` runs scenarios from stdin, `generate SCHEDULER FIRST COUNT` makes random ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod frame;
mod generate;
mod network;
mod recorded;
mod run;

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use self::run::Scenario;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["run"] => run_stdin(),
        ["generate", kind, first, count] => {
            generate_stdout(kind, first.parse().unwrap(), count.parse().unwrap());
        }
        _ => return replay(),
    }
    ExitCode::SUCCESS
}

/// The test: replays everything that was recorded.
fn replay() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let (same, different) = recorded::replay(&folder);
    let word = if different == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {same} passed; {different} failed; each a scenario recorded from Linux");
    if different == 0 && same > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints random scenarios, one JSON object a line.
fn generate_stdout(kind: &str, first: u64, count: u64) {
    let mut stdout = std::io::stdout().lock();
    for seed in first..first + count {
        let scenario = generate::scenario(kind, seed);
        writeln!(stdout, "{}", serde_json::to_string(&scenario).unwrap()).unwrap();
    }
}

/// Runs scenarios from stdin and prints the results, each as one JSON object a line.
fn run_stdin() {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let scenario: Scenario = serde_json::from_str(&line.unwrap()).unwrap();
        writeln!(stdout, "{}", serde_json::to_string(&run::run(&scenario)).unwrap()).unwrap();
    }
}
