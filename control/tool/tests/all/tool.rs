//! The program `vipline` as users start it, under all its names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Daemon, World};
use api::{ConnectionRow, SOCKET, ServerOptions};
use model::{ForwardingMethod, ModelOptions, Protocol};
use tempfile::TempDir;

const VIPLINE: &str = env!("CARGO_BIN_EXE_vipline");

fn start(program: &Path, dir: &Path, args: &[&str], stdin: &str) -> (String, String, i32) {
    let mut command = Command::new(program);
    command.args(args).env("VIPLINE_RUNTIME_DIR", dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that reads no stdin may have ended already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

fn vipline(dir: &Path, line: &str) -> (String, String, i32) {
    start(Path::new(VIPLINE), dir, &line.split(' ').collect::<Vec<_>>(), "")
}

#[test]
fn without_a_daemon_every_verb_says_so_in_one_line() {
    let dir = TempDir::new().unwrap();
    let said = format!("No daemon answers at {}: is viplined running?\n", dir.path().join(SOCKET).display());
    let file = dir.path().join("rules");
    std::fs::write(&file, "-A -t 10.0.0.1:80\n").unwrap();
    let apply = format!("apply {}", file.display());
    for line in ["status", "status --json", "stats", "conns", "conns --json", &apply] {
        assert_eq!(vipline(dir.path(), line), (String::new(), format!("vipline: {said}"), 3), "{line}");
    }
    let (out, err, code) = vipline(dir.path(), "ipvsadm -Ln");
    assert_eq!((out.as_str(), err, code), ("", format!("Can't initialize ipvs: {said}"), 2));
    // Commands that need no daemon work.
    assert_eq!(vipline(dir.path(), "ipvsadm -v").2, 0);
    let (out, err, code) = vipline(dir.path(), "ipvsadm -h");
    assert!(out.starts_with("ipvsadm v1.31"), "{out}");
    assert!(out.contains("\n  vipline ipvsadm -D virtual-service\n"), "{out}");
    assert_eq!((err.as_str(), code), ("", 0));
}

#[test]
fn ipvsadm_works_under_all_its_names() {
    let daemon = Daemon::start();
    let dir = daemon.runtime_dir();
    let bin = TempDir::new().unwrap();
    let name = |name: &str| {
        let path = bin.path().join(name);
        std::os::unix::fs::symlink(VIPLINE, &path).unwrap();
        path
    };
    let (ipvsadm, save, restore) = (name("ipvsadm"), name("ipvsadm-save"), name("ipvsadm-restore"));
    assert_eq!(start(&ipvsadm, dir, &["-A", "-t", "10.0.0.1:80", "-s", "rr"], ""), Default::default());
    assert_eq!(vipline(dir, "ipvsadm -a -t 10.0.0.1:80 -r 10.0.1.1 -m"), Default::default());
    let told = format!("--runtime-dir {} ipvsadm -e -t 10.0.0.1:80 -r 10.0.1.1 -m -w 4", dir.display());
    assert_eq!(vipline(Path::new("/nowhere"), &told), Default::default());
    let table = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 4\n";
    assert_eq!(start(&save, dir, &["-n"], ""), (table.to_owned(), String::new(), 0));
    let other = "# another\n-A -u 10.0.0.1:53 -s wlc\n";
    assert_eq!(start(&restore, dir, &[], other), Default::default());
    assert_eq!(vipline(dir, "ipvsadm -Sn").0, "-A -u 10.0.0.1:53 -s wlc\n");
    let (out, err, code) = start(&ipvsadm, dir, &["bogus"], "");
    let said = format!("Try `{0} -h' or '{0} --help' for more information.\n", ipvsadm.display());
    assert_eq!((out.as_str(), err, code), ("", said, 255));
    let (out, _, code) = start(&ipvsadm, dir, &[], "");
    assert!(out.starts_with("IP Virtual Server version 1.2.1 (size=4096)\n"));
    assert_eq!(code, 0);
}

#[test]
fn status_and_stats_and_connections() {
    let row = |number: u16, protocol| ConnectionRow {
        protocol: Some(protocol),
        expires: 100,
        state: "ESTABLISHED".into(),
        client: ([10, 0, 0, 2], number).into(),
        target: ([10, 0, 0, 100], 80).into(),
        destination: ([10, 0, 1, 11], 8080).into(),
        local: Some(([10, 0, 2, 1], 40000).into()),
        method: ForwardingMethod::FullNat,
        worker: 1,
        engine: None,
    };
    let rows = (1..=5).map(|number| row(number, if number == 3 { Protocol::Udp } else { Protocol::Tcp }));
    let world = World { rows: rows.collect(), ..World::default() };
    let daemon = Daemon::with(ModelOptions::all(), world, ServerOptions::default());
    let dir = daemon.runtime_dir();
    let (out, err, code) = vipline(dir, "status");
    assert!(out.contains("serving"), "{out}");
    assert_eq!((err.as_str(), code), ("", 0));
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(&vipline(dir, line).0).unwrap();
    assert_eq!(json("status --json")["serving"], true);
    assert_eq!(vipline(dir, "ipvsadm -A -t 10.0.0.1:80 -s rr").2, 0);
    assert_eq!(json("stats --json")["services"][0]["spec"]["scheduler"], "rr");
    assert_eq!(vipline(dir, "stats").0, "TCP 10.0.0.1:80: 0 connections, 0 packets in, 0 out\n");

    let (out, _, _) = vipline(dir, "conns");
    let line = "TCP   01:40  ESTABLISHED 10.0.0.2:1            10.0.0.100:80         \
                10.0.2.1:40000        10.0.1.11:8080        1\n";
    assert!(out.contains(line), "{out}");
    assert_eq!(out.lines().count(), 6);
    assert_eq!(vipline(dir, "conns --json --protocol udp").0.lines().count(), 1);
    assert_eq!(vipline(dir, "conns --json --limit 3").0.lines().count(), 3);
    assert_eq!(vipline(dir, "conns --json --client 10.0.0.2:4").0.lines().count(), 1);
    assert_eq!(
        vipline(dir, "conns --json --rip :8080 --vip 10.0.0.100 --state established").0.lines().count(),
        5
    );
    assert_eq!(vipline(dir, "conns --client bogus").2, 2);
    let (out, err, code) = vipline(dir, "conns --state FOO");
    assert!(out.is_empty() && code == 2 && err.contains("ESTABLISHED, SYN_SENT"), "{code} {err}");
}

#[test]
fn stats_show_a_response_time_if_there_is_one() {
    let stats = |response_us| {
        let world = World { response_us, ..World::default() };
        let daemon = Daemon::with(ModelOptions::all(), world, ServerOptions::default());
        let dir = daemon.runtime_dir();
        assert_eq!(vipline(dir, "ipvsadm -A -t 10.0.0.1:80 -s wrt"), Default::default());
        assert_eq!(vipline(dir, "ipvsadm -a -t 10.0.0.1:80 -r 10.0.1.1:8080 -m"), Default::default());
        let json: serde_json::Value = serde_json::from_str(&vipline(dir, "stats --json").0).unwrap();
        let text = vipline(dir, "stats").0.lines().last().unwrap().to_owned();
        (text, json["services"][0]["destinations"][0]["response_us"].as_u64())
    };
    let line = "  -> 10.0.1.1:8080: 0 connections, 0 packets in, 0 out";
    assert_eq!(stats(None), (line.to_owned(), None));
    assert_eq!(stats(Some(1530)), (format!("{line}, answers after 1530 us"), Some(1530)));
}

#[test]
fn check_names_the_file_and_line_of_an_error() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("rules.ipvs");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        start(Path::new(VIPLINE), dir.path(), &["check", file.to_str().unwrap()], "")
    };
    let at = file.display();
    let good = "# web\n-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.1 -m\n";
    assert_eq!(check(good), (format!("{at}: 1 service, 1 destination\n"), String::new(), 0));
    for (text, said) in [
        ("-A -t 10.0.0.1:80 -s rr\n\n-a -t 10.0.0.1:81 -r 10.0.1.1\n", "line 3: Service not defined"),
        ("-A -t 10.0.0.1:80 -s rrr\n", "line 1: Scheduler or persistence engine not found"),
        ("-A -t 10.0.0.1:99999 -s rr\n", "line 1: illegal virtual server address[:port] specified"),
    ] {
        assert_eq!(check(text), (String::new(), format!("vipline: {at}: {said}\n"), 1));
    }
    let toml = dir.path().join("vipline.toml");
    let config = |port: &str| {
        std::fs::write(&toml, format!("rules = \"rules.ipvs\"\n{port}\n")).unwrap();
        start(Path::new(VIPLINE), dir.path(), &["check", toml.to_str().unwrap()], "")
    };
    let port = "[[port]]\nname = \"wan\"\ndevice = \"null\"";
    std::fs::write(&file, good).unwrap();
    let (out, err, code) = config(port);
    assert_eq!((err.as_str(), code), ("", 0));
    assert!(out.contains(&format!("1 port, 1 worker\n{at}: 1 service, 1 destination\n")), "{out}");
    let needs = format!("{}: needs ", toml.display());
    assert!(out.lines().any(|line| line.starts_with(&needs) && line.contains(" MB of memory for ")), "{out}");
    std::fs::write(&file, format!("{good}-a -t 10.0.0.1:80 -r 10.0.1.2 -m\n")).unwrap();
    let (_, err, code) = config(&format!("max_destinations = 1\n{port}"));
    assert!(err.starts_with("vipline: ") && code == 1, "{err}");
    assert!(err.contains("line 4: "), "{err}");
    std::fs::write(&file, "-A -q\n").unwrap();
    let said = format!("vipline: {at}: line 1: -q: unknown option\n");
    assert_eq!((config(port).1, config(port).2), (said, 1));
    let marks = dir.path().join("marks.rules");
    std::fs::write(&file, good).unwrap();
    let marked = format!("marks = \"marks.rules\"\n{port}\nhost_interface = \"wan0\"");
    std::fs::write(&marks, "-A PREROUTING -i wan0 -j MARK --set-mark 1\n").unwrap();
    let (out, err, code) = config(&marked);
    assert!(out.contains(&format!("{}: 1 mark rule\n", marks.display())), "{out}");
    assert_eq!((err.as_str(), code), ("", 0));
    std::fs::write(&marks, "\n-A PREROUTING -i lan0 -j ACCEPT\n").unwrap();
    let said = "line 2: -i: lan0: no port has this host interface: expected one of wan0";
    assert_eq!(
        (config(&marked).1, config(&marked).2),
        (format!("vipline: {}: {said}\n", marks.display()), 1)
    );
    let (_, err, code) = config("[[port]]\nname = 5");
    assert!(err.starts_with(&format!("vipline: {}:", toml.display())), "{err}");
    assert_eq!(code, 1);
    let (_, err, code) = vipline(dir.path(), "check /nowhere/at/all");
    assert!(err.starts_with("vipline: /nowhere/at/all: "), "{err}");
    assert_eq!(code, 1);
}

#[test]
fn apply_names_the_place_of_a_wrong_line_before_it_asks_the_daemon() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("rules");
    let said = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let (out, err, code) = vipline(dir.path(), &format!("apply {}", file.display()));
        assert_eq!((out.as_str(), code), ("", 1));
        err.strip_prefix(&format!("vipline: {}:", file.display())).unwrap().to_owned()
    };
    let wrong = said("-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.0.0.2 -w x\n");
    assert_eq!(wrong, "2:34: illegal weight specified\n");
    assert!(said("# no rules\n").starts_with(" there is nothing in it; expected "));
}
