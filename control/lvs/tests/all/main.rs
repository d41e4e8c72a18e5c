//! The tests of the grammars, in one program. Several programs would each be linked again whenever a
//! crate below changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

#[path = "../../../api/tests/common/mod.rs"]
mod common;
mod mark_round_trip;
mod round_trip;
mod sysctl;
mod wire;

/// A file without a `mod` line above is never compiled, so its tests never run.
#[test]
fn every_file_here_is_a_module() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all");
    for entry in std::fs::read_dir(here).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = format!("\nmod {};\n", name.trim_end_matches(".rs"));
        assert!(
            name == "main.rs" || include_str!("main.rs").contains(&module),
            "{name} has no mod line here"
        );
    }
}
