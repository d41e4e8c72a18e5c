//! Ports over software devices: sent packets come in, none is lost, and a weak device is no error.

mod common;

use arrayvec::ArrayVec;
use common::eal;
use common::pool;
use common::start;
use dpdk::AttachError;
use dpdk::DetachError;
use dpdk::Mbuf;
use dpdk::Offloads;
use dpdk::PortBuilder;
use dpdk::PortStartError;
use dpdk::Rss;

#[test]
fn null_device_takes_and_gives_without_leaking() {
    let pool = pool(1023);
    let (device, mut port) = start("net_null", ",size=60", &pool);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut frames = ArrayVec::<Mbuf, 32>::new();
    for _ in 0..100 {
        assert_eq!(rx.rx_burst(&mut frames), 32);
        assert!(frames.iter().all(|f| f.len() == 60 && f.port() == Some(port.id()) && f.is_contiguous()));
        assert_eq!(tx.tx_burst(&mut frames), 32);
        assert!(frames.is_empty());
    }
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (3200, 3200));
    drop((rx, tx, port));
    eal().detach(&device).unwrap();
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn rx_burst_fills_only_the_free_room() {
    let pool = pool(255);
    let (_, mut port) = start("net_null", "", &pool);
    let mut rx = port.take_rx(0).unwrap();
    let mut frames = ArrayVec::<Mbuf, 8>::new();
    frames.extend([pool.alloc().unwrap(), pool.alloc().unwrap(), pool.alloc().unwrap()]);
    assert_eq!(rx.rx_burst(&mut frames), 5);
    assert_eq!(rx.rx_burst(&mut frames), 0);
    assert_eq!(frames.iter().filter(|f| f.port().is_none()).count(), 3);
    Mbuf::free_bulk(&mut frames);
    assert!(frames.is_empty());
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn ring_carries_bytes() {
    let pool = pool(255);
    let (_, mut port) = start("net_ring", "", &pool);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut frames = ArrayVec::<Mbuf, 4>::new();
    for i in 0..3u8 {
        let mut frame = pool.alloc().unwrap();
        frame.append(64).unwrap().fill(i);
        frames.push(frame);
    }
    assert_eq!(tx.tx_burst(&mut frames), 3);
    assert_eq!(rx.rx_burst(&mut frames), 3);
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(frame.data(), &[i as u8; 64]);
    }
    drop(frames);
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn full_ring_leaves_the_rest_in_order() {
    let pool = pool(2047);
    let (_, mut port) = start("net_ring", "", &pool);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut frames = ArrayVec::<Mbuf, 100>::new();
    let mut next = 0u32;
    let mut sent = 0;
    let left = loop {
        while !frames.is_full() {
            let mut frame = pool.alloc().unwrap();
            frame.append(60).unwrap()[..4].copy_from_slice(&next.to_be_bytes());
            next += 1;
            frames.push(frame);
        }
        sent += tx.tx_burst(&mut frames);
        if !frames.is_empty() {
            break frames.len();
        }
    };
    assert!(left < 100, "the last burst was taken in part");
    assert_eq!(sent + left, next as usize);
    let number = |f: &Mbuf| u32::from_be_bytes(f.data()[..4].try_into().unwrap());
    assert!(frames.iter().map(number).eq(sent as u32..next));
    assert_eq!(tx.tx_burst(&mut frames), 0, "still full");
    assert_eq!(frames.len(), left);

    let mut come = ArrayVec::<Mbuf, 32>::new();
    let mut expected = 0;
    while rx.rx_burst(&mut come) > 0 {
        for frame in come.drain(..) {
            assert_eq!(number(&frame), expected);
            expected += 1;
        }
    }
    assert_eq!(expected as usize, sent);
    drop(frames);
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn a_weak_device_grants_only_what_it_has() {
    let pool = pool(255);
    let id = eal().attach("net_null_weak").unwrap();
    let port = PortBuilder::new(eal(), id)
        .rx_queues(9999)
        .tx_queues(4)
        .mempool(&pool)
        .want(Offloads::CHECKSUMS_AND_HASH)
        .rss(Rss::default())
        .mtu(1500)
        .promiscuous(true)
        .start()
        .unwrap();
    let granted = port.granted();
    println!("{granted}");
    assert_eq!(granted.tx_queues, 4);
    assert!(granted.rx_queues < 9999);
    assert_eq!(granted.wanted.without(granted.offloads), granted.wanted, "net_null offers none of them");
    assert!(granted.to_string().contains("not offered: rx checksum"));
    assert_eq!(port.driver(), "net_null");
    assert_eq!(port.device(), "net_null_weak");
    assert_eq!(port.link().speed_mbps, Some(10_000));
}

#[test]
fn queue_is_taken_once_and_keeps_the_port_running() {
    let pool = pool(255);
    let (device, mut port) = start("net_null", "", &pool);
    let mut rx = port.take_rx(0).unwrap();
    assert!(port.take_rx(0).is_none());
    assert!(port.take_rx(1).is_none());
    let id = port.id();
    drop(port);
    let mut frames = ArrayVec::<Mbuf, 4>::new();
    assert_eq!(rx.rx_burst(&mut frames), 4);
    assert!(matches!(eal().detach(&device), Err(DetachError::InUse(_))));
    assert!(matches!(PortBuilder::new(eal(), id).mempool(&pool).start(), Err(PortStartError::InUse { .. })));
    drop(rx);
    eal().detach(&device).unwrap();
}

#[test]
fn detached_device_can_come_back() {
    let pool = pool(255);
    for _ in 0..3 {
        let id = eal().attach("net_ring_again").unwrap();
        assert_eq!(eal().device_of(id).as_deref(), Some("net_ring_again"));
        let port = PortBuilder::new(eal(), id).mempool(&pool).start().unwrap();
        drop(port);
        eal().detach("net_ring_again").unwrap();
    }
    assert!(matches!(eal().detach("net_ring_again"), Err(DetachError::Refused { .. })));
}

#[test]
fn device_is_attached_once() {
    let id = eal().attach("net_null_twice").unwrap();
    assert!(eal().ports().contains(&id));
    assert!(matches!(eal().attach("net_null_twice"), Err(AttachError::AlreadyAttached(_))));
    eal().detach("net_null_twice").unwrap();
}

#[test]
fn unknown_device_is_a_one_line_error() {
    for device in ["net_nonsense0", "nonsense", "net_af_packet0", "net_af_packet0,iface=no-such-if", "", "\0"]
    {
        let error = eal().attach(device).unwrap_err().to_string();
        println!("{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(error.contains(device) || device == "\0", "{error}");
    }
}

#[test]
fn start_without_a_pool_fails() {
    let id = eal().attach("net_null_poolless").unwrap();
    let error = PortBuilder::new(eal(), id).start().unwrap_err();
    assert_eq!(error.to_string(), "net_null_poolless: no mempool given");
}

#[test]
fn the_number_of_a_closed_port_can_be_claimed_at_once() {
    // DPDK gives a closed port's number to the next device at once.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let pool = pool(256);
                for _ in 0..100 {
                    drop(start("net_null", "", &pool));
                }
            });
        }
    });
}
