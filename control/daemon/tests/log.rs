//! The log of a process that panics. Its last words are written if anybody reads them, and nothing
//! keeps the process from ending. This is a program of its own, because stderr and the panic hook
//! belong to the whole process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon::log::{self, Log};

const CHILD: &str = "VIPLINE_TEST_PANICS";

fn main() {
    let has = |word: &str| std::env::args().any(|arg| arg == word);
    if has("--list") {
        // A test runner asks this first.
        if !has("--ignored") {
            println!("log: test");
        }
    } else if let Ok(lines) = std::env::var(CHILD) {
        panics(lines.parse().unwrap());
    } else {
        last_words_are_told();
        nobody_reads();
        println!("test log ... ok");
    }
}

/// Logs this number of lines, and ends in a panic.
fn panics(lines: u32) {
    let log = Log::start().unwrap();
    log.install(None);
    for line in 0..lines {
        tracing::warn!("line {line}");
    }
    // What a library writes to stderr takes the same way.
    let _ = nix::unistd::write(std::io::stderr(), b"a library's words\n");
    assert!(lines < 100 || log::lost() > 0);
    panic!("the end");
}

fn child(lines: u32, stderr: impl Into<Stdio>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, lines.to_string()).env_remove("RUST_BACKTRACE");
    command.stderr(stderr).spawn().unwrap()
}

fn last_words_are_told() {
    let mut child = child(2, Stdio::piped());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    let places: Vec<_> =
        ["line 0\n", "line 1\n", "a library's words\n", "thread main panicked at", "the end\n"]
            .map(|words| said.find(words).unwrap_or_else(|| panic!("no {words:?} in {said}")))
            .into();
    assert!(places.is_sorted(), "{said}");
}

fn nobody_reads() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut children = [child(50_000, full), child(50_000, Stdio::piped())];
    let begun = Instant::now();
    for child in &mut children {
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(60) {
                let _ = child.kill();
                panic!("it waits for its stderr");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
