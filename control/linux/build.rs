//! `VIPLINE_ROOT_TESTS=1` makes the tests that need root run; without it they are ignored.

fn main() {
    println!("cargo::rerun-if-env-changed=VIPLINE_ROOT_TESTS");
    println!("cargo::rustc-check-cfg=cfg(root_tests)");
    if std::env::var("VIPLINE_ROOT_TESTS").is_ok_and(|asked| asked == "1") {
        println!("cargo::rustc-cfg=root_tests");
    }
}
