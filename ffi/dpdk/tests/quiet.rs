//! DPDK prints its usage when it refuses an argument. An operator who starts a daemon must not see
//! it.

mod common;

use std::process::Command;

use dpdk::Eal;

const CHILD: &str = "VIPLINE_TEST_USAGE";

#[test]
fn a_refused_argument_prints_no_usage() {
    if std::env::var_os(CHILD).is_some() {
        let error = Eal::init(common::args().extra("--no-such-argument")).unwrap_err().to_string();
        assert!(error.starts_with("Cannot start DPDK: ") && !error.contains('\n'), "{error}");
        return;
    }
    let name = "a_refused_argument_prints_no_usage";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Usage") && !said.contains("EAL"), "{said}");
}
