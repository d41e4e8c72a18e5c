//! Every broken configuration under `tests/configs` is refused with the line in the file beside it.
//!
//! `VIPLINE_BLESS=1` writes the lines anew. Read the difference before you commit it.

use std::fs;
use std::path::Path;

use daemon::config::{Config, ConfigError, Device, Poll, RxChecksum};

const CPUS: &[usize] = &[0, 1, 2, 3];

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("vipline.toml"), CPUS)
}

#[test]
fn each_broken_file_is_refused_with_its_line() {
    let bless = std::env::var_os("VIPLINE_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir("tests/configs").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let said = match Config::parse(&text, &path, CPUS) {
            Ok(config) => format!("accepted: {config:?}\n"),
            Err(error) => format!("{error}\n"),
        };
        let expected = path.with_extension("line");
        if bless {
            fs::write(&expected, &said).unwrap();
        }
        let line = fs::read_to_string(&expected).unwrap_or_default();
        if said != line || said.lines().count() != 1 {
            wrong.push(format!("{}:\n  expected {line}  got      {said}", path.display()));
        }
    }
    assert!(seen >= 20, "only {seen} files found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_port_is_all_that_must_be_said() {
    let config = parse("[[port]]\nname = \"wan\"\ndevice = \"af_xdp:enp1s0\"\n").unwrap();
    assert_eq!(config.cpus, [3]);
    assert_eq!(config.control_cpus, [0, 1, 2]);
    assert_eq!(config.poll, Poll::Adaptive);
    assert_eq!((config.memory_mb, config.max_connections, config.max_destinations), (512, 1 << 20, 1 << 16));
    assert_eq!(config.mh_size.slots(), 4093);
    assert_eq!((&config.rules, &config.marks), (&None, &None));
    let port = &config.ports[0];
    assert_eq!((port.name.as_str(), port.host_interface.as_str()), ("wan", "vl-wan"));
    assert_eq!(port.device, Device::AfXdp { iface: "enp1s0".into(), args: String::new() });
    assert_eq!((port.addresses.len(), port.routes.len(), port.rx_checksum), (0, 0, RxChecksum::Trust));
    assert!(config.memory_needed_mb() < config.memory_mb);
}

#[test]
fn all_that_may_be_said_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rules.ipvs"), "").unwrap();
    fs::write(dir.path().join("marks.rules"), "").unwrap();
    let text = r#"
        cpus = [2]
        control_cpus = [0, 1]
        poll = "busy"
        memory_mb = 1024
        max_connections = 2_000_000
        max_destinations = 1000
        mh_table_index = 16
        rules = "rules.ipvs"
        marks = "marks.rules"

        state_dir = "state"

        [sysctl]
        conn_reuse_mode = 0
        "net.ipv4.vs.sync_threshold" = "4 60"

        [[port]]
        name = "wan"
        device = "0000:03:00.0"
        host_interface = "wan0"
        addresses = ["192.0.2.1/24", "2001:db8::1/64", "198.51.100.0/31"]
        routes = ["default via 192.0.2.254", "100.64.0.1", "10.0.0.0/8 via 100.64.0.1", "default via fe80::1",
                  "default via 192.0.2.253 metric 10", "172.16.0.0/12 via 203.0.113.1 onlink"]
        rx_checksum = "verify"

        [[port]]
        name = "lan"
        device = "vdev:net_ring0"
    "#;
    let path = dir.path().join("vipline.toml");
    fs::write(&path, text).unwrap();
    let config = Config::parse(text, &path, CPUS).unwrap();
    assert_eq!((config.cpus, config.control_cpus, config.poll), (vec![2], vec![0, 1], Poll::Busy));
    assert_eq!((config.memory_mb, config.max_connections, config.max_destinations), (1024, 2_000_000, 1000));
    assert_eq!(config.mh_size.slots(), 65_521);
    assert_eq!(config.rules, Some(dir.path().join("rules.ipvs")));
    assert_eq!(config.marks, Some(dir.path().join("marks.rules")));
    assert_eq!(config.state_dir, Some(dir.path().join("state")));
    let tunables = [("conn_reuse_mode", "0"), ("sync_threshold", "4 60")];
    assert_eq!(config.tunables, tunables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(config.ports[0].addresses.len(), 3);
    assert_eq!(config.ports[0].routes.len(), 6);
    assert_eq!(config.ports[0].routes[2].to_string(), "10.0.0.0/8 via 100.64.0.1");
    assert_eq!(config.ports[0].rx_checksum, RxChecksum::Verify);
    assert_eq!(config.ports[1].host_interface, "vl-lan");
}

#[test]
fn one_cpu_serves_for_everything_when_there_is_only_one() {
    let config = Config::parse("[[port]]\nname='a'\ndevice='null'", Path::new("x"), &[5]).unwrap();
    assert_eq!((config.cpus, config.control_cpus), (vec![5], vec![5]));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = Config::load(Path::new("/nowhere/vipline.toml")).unwrap_err().to_string();
    assert_eq!(said, "/nowhere/vipline.toml: cannot be read: No such file or directory (os error 2)");
}
