//! The tests of the director, in one program: each program is linked anew whenever a crate below
//! changes. What is recorded of Linux is replayed by `tests/oracle`, which is a program of its own for
//! `scripts/oracle`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]
#![allow(dead_code, unreachable_pub, reason = "modules of `tests/oracle`, of which a part is used here")]

mod advice;
mod apply;
#[path = "../oracle/frame.rs"]
mod frame;
mod listing;
mod mark_grammar;
#[path = "../oracle/network.rs"]
mod network;
mod paths;
mod replacement;
mod response_time;
mod timeouts;
mod tunables;

/// A file without a line above would never be compiled, and its tests never be run.
#[test]
fn every_file_here_is_a_module() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all");
    for entry in std::fs::read_dir(here).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = format!("\nmod {};\n", name.trim_end_matches(".rs"));
        assert!(name == "main.rs" || include_str!("main.rs").contains(&module), "{name} is no module here");
    }
}
