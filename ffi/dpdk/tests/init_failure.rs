//! A start that fails, in a process of its own.

mod common;

use dpdk::Eal;
use dpdk::EalInitError;

#[test]
fn refusal_is_one_line_with_the_reason_and_final() {
    assert!(matches!(Eal::init(common::args().extra("nul\0byte")), Err(EalInitError::NulByte(_))));
    let error = Eal::init(common::args().vdev("net_nonsense0")).unwrap_err();
    println!("{error}");
    assert!(error.to_string().starts_with("Cannot start DPDK: "));
    assert!(!error.to_string().contains('\n'));
    assert!(matches!(Eal::init(common::args()), Err(EalInitError::AlreadyStarted)));
}
