//! Shuts the environment down, in a process of its own.

mod common;

use dpdk::CleanupError;
use dpdk::Eal;
use dpdk::Mempool;
use dpdk::PortBuilder;

#[test]
fn cleanup_succeeds_once_everything_is_gone() {
    let before = common::allowed_cpus();
    let eal = Eal::init(common::args().main_cpu(0)).unwrap();
    assert_eq!(common::allowed_cpus(), before, "the caller's thread is not pinned");
    let pool = Mempool::new(&eal, "pool", 255, 32, Mempool::DATA_ROOM).unwrap();
    let id = eal.attach("net_null0").unwrap();
    let port = PortBuilder::new(&eal, id).mempool(&pool).start().unwrap();
    let frame = pool.alloc().unwrap();
    drop((pool, port));
    // The pool is only retired while a packet is out. When the packet is back, the next set-up call
    // frees the pool.
    drop(frame);
    eal.cleanup().unwrap();
    assert!(matches!(Eal::init(common::args()), Err(dpdk::EalInitError::AlreadyStarted)));
}

#[test]
fn errors_name_what_is_left() {
    assert_eq!(CleanupError::InUse(2).to_string(), "DPDK is still in use: 2 ports, pools or running cores");
}
