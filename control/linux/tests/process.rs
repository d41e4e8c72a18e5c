//! What concerns a whole process: signals, and messages to systemd. This is a program of its own,
//! because it must begin with one thread.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use linux::notify;
use linux::signals::{Signal, Signals};
use nix::sys::signal::{Signal as Number, kill};
use nix::unistd::Pid;

fn main() {
    let has = |word: &str| std::env::args().any(|arg| arg == word);
    if has("--list") {
        // A test runner asks this first.
        if !has("--ignored") {
            println!("process: test");
        }
    } else if std::env::var_os("VIPLINE_TEST_PATS").is_some() {
        let mut watchdog = notify::Watchdog::new(Instant::now());
        for hour in 0..10_000 {
            watchdog.pat(Instant::now() + Duration::from_secs(3600 * hour));
        }
        notify::stopping();
    } else if std::env::var_os("VIPLINE_TEST_TELLS").is_some() {
        notify::ready("serving 3 services");
        let mut watchdog = notify::Watchdog::new(Instant::now());
        watchdog.pat(Instant::now());
        watchdog.pat(Instant::now() + Duration::from_secs(10));
        notify::stopping();
    } else {
        signals_arrive_in_order_and_do_not_kill();
        systemd_is_told();
        a_systemd_that_does_not_read_holds_nobody_up();
        println!("test process ... ok");
    }
}

fn signals_arrive_in_order_and_do_not_kill() {
    let signals = Signals::start().unwrap();
    let wanted = [
        (Number::SIGHUP, Signal::Reload),
        (Number::SIGTERM, Signal::Stop("SIGTERM")),
        (Number::SIGHUP, Signal::Reload),
        (Number::SIGINT, Signal::Stop("SIGINT")),
    ];
    // A thread that is started later must not be hit either.
    let idle = std::thread::spawn(|| std::thread::sleep(Duration::from_millis(100)));
    for (number, signal) in wanted {
        kill(Pid::this(), number).unwrap();
        assert_eq!(signals.receiver().recv_timeout(Duration::from_secs(5)), Ok(signal));
    }
    assert!(signals.receiver().is_empty());
    idle.join().unwrap();
}

fn systemd_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .env("VIPLINE_TEST_TELLS", "1")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "9000000")
        .status()
        .unwrap();
    assert!(status.success());
    let told = || {
        let mut bytes = [0; 512];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1\nSTATUS=serving 3 services");
    assert_eq!(told(), "WATCHDOG=1");
    assert_eq!(told(), "STOPPING=1");
}

fn a_systemd_that_does_not_read_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env("VIPLINE_TEST_PATS", "1")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "9000000")
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            panic!("it waits for systemd");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
}
