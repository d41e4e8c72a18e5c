//! The environment starts once in a process, its cores do work, and the caller's thread is not
//! pinned.

mod common;

use std::sync::mpsc;

use arrayvec::ArrayVec;
use common::allowed_cpus;
use common::args;
use common::eal;
use common::pool;
use common::start;
use dpdk::Eal;
use dpdk::EalInitError;
use dpdk::LaunchError;
use dpdk::Mbuf;
use dpdk::tsc;

/// The tests here share the cores.
static CORES: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn second_start_fails() {
    eal();
    let error = Eal::init(args()).unwrap_err();
    assert!(matches!(error, EalInitError::AlreadyStarted));
    assert_eq!(error.to_string(), "DPDK was already started in this process");
}

#[test]
fn version_clock_and_cores_are_plausible() {
    assert!(eal().tsc_hz() > 100_000_000);
    assert!(eal().version().starts_with("DPDK "));
    let (before, after) = (tsc(), tsc());
    assert!(after >= before);
    assert_eq!(eal().worker_lcores().len(), 2);
    for lcore in eal().worker_lcores() {
        assert_eq!(eal().cpu_of(lcore), Some(0));
    }
}

#[test]
fn work_runs_on_its_core_and_gives_a_result() {
    let _cores = CORES.lock().unwrap();
    let lcore = eal().worker_lcores()[0];
    let name = String::from("captured");
    let handle = eal().launch(lcore, move || format!("{name} on {:?}", allowed_cpus())).unwrap();
    assert_eq!(handle.lcore(), lcore);
    assert_eq!(handle.join().unwrap(), "captured on [0]");
    // The core is free again at once.
    assert_eq!(eal().launch(lcore, || 7).unwrap().join().unwrap(), 7);
}

#[test]
fn busy_core_is_refused() {
    let _cores = CORES.lock().unwrap();
    let lcore = eal().worker_lcores()[1];
    let (stop, stopped) = mpsc::channel::<()>();
    let handle = eal().launch(lcore, move || stopped.recv().is_err()).unwrap();
    assert!(!handle.is_finished());
    assert!(matches!(eal().launch(lcore, || ()), Err(LaunchError::Busy(l)) if l == lcore));
    drop(stop);
    assert!(handle.join().unwrap());
}

#[test]
fn join_reports_a_panic_on_the_core() {
    let _cores = CORES.lock().unwrap();
    let lcore = eal().worker_lcores()[0];
    let error = eal().launch(lcore, || panic!("on purpose")).unwrap().join().unwrap_err();
    assert_eq!(error.to_string(), format!("The work on core {lcore} panicked: on purpose"));
    eal().launch(lcore, || ()).unwrap().join().unwrap();
}

#[test]
fn queues_work_on_a_core() {
    let _cores = CORES.lock().unwrap();
    let pool = pool(511);
    let (_, mut port) = start("net_null", "", &pool);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let work = move || {
        let mut frames = ArrayVec::<Mbuf, 32>::new();
        (0..1000).map(|_| rx.rx_burst(&mut frames) + tx.tx_burst(&mut frames)).sum::<usize>()
    };
    let handle = eal().launch(eal().worker_lcores()[0], work).unwrap();
    assert_eq!(handle.join().unwrap(), 64_000);
    assert_eq!(port.stats().unwrap().tx_packets, 32_000);
    drop(port);
    assert_eq!(pool.available(), 511);
}

#[test]
fn abandoned_work_runs_on_and_frees_its_core() {
    let _cores = CORES.lock().unwrap();
    let pool = pool(63);
    let frame = pool.alloc().unwrap();
    let lcore = eal().worker_lcores()[1];
    let (go, gone) = mpsc::channel::<()>();
    let work = move || {
        let _ = gone.recv();
        frame
    };
    drop(eal().launch(lcore, work).unwrap());
    assert!(matches!(eal().launch(lcore, || ()), Err(LaunchError::Busy(_))));
    drop(go);
    while matches!(eal().launch(lcore, || ()).map(|handle| handle.join()), Err(LaunchError::Busy(_))) {
        std::thread::yield_now();
    }
    assert_eq!(pool.available(), 63);
}

#[test]
fn core_takes_work_again_and_again() {
    let _cores = CORES.lock().unwrap();
    let lcore = eal().worker_lcores()[0];
    for i in 0..2000 {
        assert_eq!(eal().launch(lcore, move || i).unwrap().join().unwrap(), i);
    }
}
