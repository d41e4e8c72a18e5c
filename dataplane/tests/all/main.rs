//! The tests of the packet path. They are one program, because every program is linked again
//! whenever the crate changes. Tests with an allocator of their own are in `tests/allocations`; the
//! test under the model checker is `tests/epoch_loom.rs`.

mod bursts;
mod counts;
mod epoch;
mod flood;
mod fragments;
mod frames;
mod fuzz;
mod icmp;
mod lifecycle;
mod limits;
mod local_ports;
mod marks;
mod marks_oracle;
mod methods;
mod one_packet;
mod openings;
mod patient;
mod persistence;
mod rates;
mod reuse;
#[path = "../rig/mod.rs"]
mod rig;
mod round_trip;
mod rules;
mod scaling;
mod shed;
mod sources;
mod steady;
mod steering;
mod tcp;
mod thresholds;
mod timers;
mod tunnel_errors;
mod unfinished;
mod unreachable;
mod workers;

/// Without a line above, a file would not be compiled and its tests would not run.
#[test]
fn every_file_here_is_a_module() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all");
    for entry in std::fs::read_dir(here).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = format!("\nmod {};\n", name.trim_end_matches(".rs"));
        assert!(name == "main.rs" || include_str!("main.rs").contains(&module), "{name} is no module here");
    }
}
