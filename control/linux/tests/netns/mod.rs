//! For tests that need root. Each runs in a network namespace of its own.
//!
//! They are ignored, unless they are asked for by `VIPLINE_ROOT_TESTS=1 cargo test -p linux`. When
//! they are asked for without root, they fail.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

/// Runs `test` in a thread with a network namespace of its own, in which `lo` is up. The threads
/// and commands that it starts share the namespace.
///
/// One test runs at a time: some of them measure what a thread costs, and others at work would
/// change that.
pub(crate) fn in_netns(test: impl FnOnce() + Send + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test needs root; without VIPLINE_ROOT_TESTS=1 it is left out"
    );
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        test();
    };
    if let Err(panic) = thread::Builder::new().name("netns".into()).spawn(body).unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these words. It must succeed.
pub(crate) fn ip(words: &str) -> String {
    run(&format!("ip {words}")).unwrap_or_else(|said| panic!("ip {words}: {said}"))
}

/// Runs a command line without quotes. Returns its output, or what it said on failure.
pub(crate) fn run(line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs `ip -j` with these words, and returns what it printed.
pub(crate) fn ip_json(words: &str) -> Value {
    serde_json::from_str(&ip(&format!("-j {words}"))).unwrap()
}

/// Waits until something is true, at most 10 s.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Sets a sysctl of this namespace.
pub(crate) fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{path}"), value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// Numbers that look random, and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
