//! Starts DPDK with bad arguments, in a process of its own.

mod common;

use dpdk::Eal;
use dpdk::EalInitError;

#[test]
fn a_failed_start_gives_one_line_and_cannot_be_repeated() {
    assert!(matches!(Eal::init(common::args().extra("nul\0byte")), Err(EalInitError::NulByte(_))));
    let error = Eal::init(common::args().vdev("net_nonsense0")).unwrap_err();
    println!("{error}");
    assert!(error.to_string().starts_with("Cannot start DPDK: "));
    assert!(!error.to_string().contains('\n'));
    assert!(matches!(Eal::init(common::args()), Err(EalInitError::AlreadyStarted)));
}
