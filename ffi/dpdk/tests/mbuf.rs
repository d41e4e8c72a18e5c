//! Packets and pools: growing and shrinking keeps the bytes and the lengths right, and every packet
//! comes back to its pool.

mod common;

use arrayvec::ArrayVec;
use common::eal;
use common::pool;
use dpdk::Mbuf;
use dpdk::Mempool;
use dpdk::MempoolError;
use dpdk::RxChecksum;
use dpdk::Sum;
use dpdk::TxChecksum;
use dpdk::TxIp;
use dpdk::TxL4;

#[test]
fn prepend_append_trim_round_trip() {
    let pool = pool(63);
    let mut frame = pool.alloc().unwrap();
    assert!(frame.is_empty());
    assert_eq!((frame.headroom(), frame.tailroom()), (128, 2048));
    assert_eq!((frame.segments(), frame.is_contiguous()), (1, true));

    frame.append(4).unwrap().copy_from_slice(b"body");
    frame.prepend(5).unwrap().copy_from_slice(b"head-");
    frame.append(5).unwrap().copy_from_slice(b"-tail");
    assert_eq!(frame.data(), b"head-body-tail");
    assert_eq!(frame.len(), 14);
    assert_eq!((frame.headroom(), frame.tailroom()), (123, 2039));

    assert!(frame.trim_front(5));
    assert!(frame.truncate(4));
    assert_eq!(frame.data(), b"body");
    frame.data_mut()[0] = b'B';
    assert_eq!(frame.data(), b"Body");
    assert_eq!((frame.headroom(), frame.tailroom()), (128, 2044));
}

#[test]
fn room_is_never_exceeded() {
    let pool = pool(63);
    let mut frame = pool.alloc().unwrap();
    assert!(frame.prepend(129).is_none());
    assert!(frame.append(2049).is_none());
    assert!(!frame.trim_front(1));
    assert!(!frame.truncate(1));
    for huge in [usize::from(u16::MAX) + 1, usize::MAX] {
        assert!(frame.prepend(huge).is_none());
        assert!(frame.append(huge).is_none());
        assert!(!frame.trim_front(huge));
        assert!(!frame.truncate(huge));
    }
    assert!(frame.is_empty());
    assert_eq!(frame.prepend(128).unwrap().len(), 128);
    assert_eq!(frame.append(2048).unwrap().len(), 2048);
    assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (2176, 0, 0));
    assert!(frame.trim_front(2176));
    assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (0, 2176, 0));
}

#[test]
fn reframing_grows_in_front_and_cuts_behind_or_does_nothing() {
    let pool = pool(63);
    let mut frame = pool.alloc().unwrap();
    frame.append(9).unwrap().copy_from_slice(b"body-tail");
    for (n, len) in [(129, 9), (usize::MAX, 9), (5, 15), (5, usize::MAX)] {
        assert!(!frame.reframe(n, len));
        assert_eq!((frame.data(), frame.headroom()), (&b"body-tail"[..], 128));
    }
    assert!(frame.reframe(5, 9));
    frame.data_mut()[..5].copy_from_slice(b"head-");
    assert_eq!((frame.data(), frame.len(), frame.headroom()), (&b"head-body"[..], 9, 123));
    assert!(frame.reframe(123, 132));
    assert_eq!((frame.len(), frame.headroom(), frame.data()[128]), (132, 0, b'b'));
}

#[test]
fn largest_room_still_fits_sixteen_bits() {
    let pool = Mempool::new(eal(), "large", 7, 0, u16::MAX - 128).unwrap();
    let mut frame = pool.alloc().unwrap();
    assert!(frame.append(usize::from(u16::MAX) - 128).is_some());
    assert!(frame.prepend(128).is_some());
    assert_eq!(frame.data().len(), usize::from(u16::MAX));
    assert!(frame.prepend(1).is_none());
}

#[test]
fn pool_gives_all_or_nothing_and_gets_all_back() {
    let pool = pool(63);
    let mut frames = ArrayVec::<Mbuf, 40>::new();
    assert!(pool.alloc_bulk(&mut frames));
    assert!(frames.is_full());
    assert_eq!(pool.available(), 23);
    let mut more = ArrayVec::<Mbuf, 40>::new();
    assert!(!pool.alloc_bulk(&mut more));
    assert!(more.is_empty());
    drop(frames.split_off_half());
    assert_eq!(pool.available(), 43);
    assert!(pool.alloc_bulk(&mut more));
    Mbuf::free_bulk(&mut frames);
    Mbuf::free_bulk(&mut frames);
    drop(more);
    assert_eq!(pool.available(), 63);
}

trait SplitOff {
    fn split_off_half(&mut self) -> Vec<Mbuf>;
}

impl<const N: usize> SplitOff for ArrayVec<Mbuf, N> {
    fn split_off_half(&mut self) -> Vec<Mbuf> {
        self.drain(N / 2..).collect()
    }
}

#[test]
fn packet_outlives_the_pools_last_handle() {
    let pool = pool(63);
    let other = pool.clone();
    let mut frame = pool.alloc().unwrap();
    drop(pool);
    drop(other);
    frame.append(100).unwrap().fill(7);
    assert_eq!(frame.data(), &[7; 100]);
}

#[test]
fn packet_changes_threads() {
    let pool = pool(63);
    let mut frame = pool.alloc().unwrap();
    frame.append(3).unwrap().copy_from_slice(b"abc");
    let back = std::thread::spawn(move || {
        assert_eq!(frame.data(), b"abc");
        frame
    });
    drop(back.join().unwrap());
    assert_eq!(pool.available(), 63);
}

#[test]
fn fresh_packet_has_no_checksum_hash_or_vlan_notes() {
    let pool = pool(63);
    let mut frame = pool.alloc().unwrap();
    assert_eq!(frame.rx_checksum(), RxChecksum { l3: Sum::Unknown, l4: Sum::Unknown });
    assert_eq!((frame.rss_hash(), frame.stripped_vlan(), frame.port()), (None, None, None));
    frame.set_tx_checksum_offload(TxChecksum { l2_len: 14, l3_len: 20, ip: TxIp::V4Checksum, l4: TxL4::Tcp });
    frame.set_vlan_insert(7);
    frame.clear_tx_checksum_offload();
    assert_eq!(frame.rx_checksum(), RxChecksum { l3: Sum::Unknown, l4: Sum::Unknown });
    frame.prefetch();
    dpdk::prefetch(frame.data());
}

#[test]
fn impossible_pools_are_one_line_errors() {
    let make = |name, count, cache, room| Mempool::new(eal(), name, count, cache, room).unwrap_err();
    let errors = [
        make("x", 1 << 30, 0, 2048),
        make("x", 64, 9999, 2048),
        make("x", 64, 0, u16::MAX),
        make("a name that is far too long", 64, 0, 2048),
        make("nul\0", 64, 0, 2048),
    ];
    for error in &errors {
        println!("{error}");
        assert!(!error.to_string().contains('\n'));
    }
    assert!(matches!(errors[0], MempoolError::Refused { .. }));
    assert!(matches!(errors[2], MempoolError::DataRoom { .. }));
    assert!(matches!(errors[3], MempoolError::BadName(_)));
}
