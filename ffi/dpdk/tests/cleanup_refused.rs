//! Tries to shut the environment down too early, in a process of its own.

mod common;

use dpdk::CleanupError;
use dpdk::Eal;
use dpdk::Mempool;

#[test]
fn cleanup_is_refused_while_a_packet_is_out() {
    let eal = Eal::init(common::args()).unwrap();
    let pool = Mempool::new(&eal, "pool", 255, 32, Mempool::DATA_ROOM).unwrap();
    let mut frame = pool.alloc().unwrap();
    drop(pool);
    assert!(matches!(eal.cleanup(), Err(CleanupError::PacketsOut(1))));
    // The packet still exists.
    frame.append(60).unwrap().fill(1);
    assert_eq!(frame.data(), &[1; 60]);
}
