//! Command lines, and what the real ipvsadm answered to each, against a daemon in this process.
//!
//! The transcripts were taken from Debian's ipvsadm 1.31 on Linux 6.1. Left out is what cannot be
//! compared: help, synchronization daemons, and the order of unsorted services.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

#[path = "../../api/tests/common/mod.rs"]
mod common;

use std::fmt::Write as _;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr};

use api::Client;
use common::Daemon;
use lvs::ipvs::{Console, Invocation, Names, run};
use model::Protocol;

#[test]
fn every_option_with_every_command() {
    replay(include_str!("transcripts/matrix.txt"));
}

#[test]
fn odd_words_and_values() {
    replay(include_str!("transcripts/quirks.txt"));
}

#[test]
fn names_of_hosts_and_services() {
    replay(include_str!("transcripts/more.txt"));
}

#[test]
fn listings() {
    replay(include_str!("transcripts/listing.txt"));
}

#[test]
fn fullnat_and_local_addresses() {
    replay(include_str!("transcripts/fullnat.txt"));
}

/// Written down from `vipline mark`, after iptables 1.8.
#[test]
fn marks() {
    replay(include_str!("transcripts/mark.txt"));
}

/// Runs a transcript line by line and compares it with itself.
fn replay(expected: &str) {
    let daemon = Daemon::start();
    let mut actual = String::new();
    for entry in expected.split("\n\n").map(str::trim_end).filter(|entry| !entry.is_empty()) {
        if let Some((line, rest)) = entry.split_once('\n').filter(|(line, _)| line.starts_with("$ ")) {
            let stdin: Vec<_> =
                rest.lines().filter_map(|line| line.strip_prefix("in |")?.strip_suffix('|')).collect();
            let shown = rest.lines().filter(|line| line.starts_with("in "));
            writeln!(actual, "{line}").unwrap();
            shown.for_each(|line| writeln!(actual, "{line}").unwrap());
            let mut stdin = stdin.join("\n");
            if !stdin.is_empty() && !rest.contains("in: no newline at the end") {
                stdin.push('\n');
            }
            let words = words(&line[2..]);
            let (out, err, code) = start(&daemon, &words[0], &words[1..], &stdin);
            show(&mut actual, "err", &err);
            show(&mut actual, "out", &out);
            if rest.contains("in: no newline at the end") {
                let place = actual.rfind("in |").unwrap();
                let end = place + actual[place..].find('\n').unwrap() + 1;
                if !actual[end..].starts_with("in:") {
                    actual.insert_str(end, "in: no newline at the end\n");
                }
            }
            writeln!(actual, "exit {code}\n").unwrap();
        } else {
            writeln!(actual, "{entry}\n").unwrap();
        }
    }
    let (expected, actual) = (expected.trim_end(), actual.trim_end());
    let mut wrong = String::new();
    for (expected, actual) in expected.split("\n\n").zip(actual.split("\n\n")) {
        if expected != actual {
            writeln!(wrong, "ipvsadm:\n{expected}\nvipline:\n{actual}\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(expected.len(), actual.len());
}

fn show(into: &mut String, tag: &str, text: &str) {
    for line in text.lines() {
        writeln!(into, "{tag} |{line}|").unwrap();
    }
}

fn start(daemon: &Daemon, program: &str, args: &[String], stdin: &str) -> (String, String, u8) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdin = BufReader::new(stdin.as_bytes());
    let mut console = Console { program, stdin: &mut stdin, stdout: &mut out, stderr: &mut err, names: &Few };
    let connect = || Client::connect(daemon.runtime_dir());
    let code = match program {
        "mark" => lvs::mark::run(args, &mut console, connect),
        _ => run(Invocation::Ipvsadm, args, &mut console, connect),
    };
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

/// The words of a line, where quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut some) = (Vec::new(), String::new(), false, false);
    for c in line.chars().chain([' ']) {
        match c {
            '\'' => (quoted, some) = (!quoted, true),
            ' ' if !quoted => {
                if some || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                some = false;
            }
            c => word.push(c),
        }
    }
    words
}

/// The names that the machine of the transcripts knew.
struct Few;

const HOSTS: [(&str, [u8; 4]); 4] = [
    ("localhost", [127, 0, 0, 1]),
    ("a-very-long-host-name-that-will-not-fit.example.org", [10, 1, 1, 1]),
    ("short", [10, 1, 1, 2]),
    ("a23456789012345678901234567.x", [10, 1, 1, 3]),
];

const SERVICES: [(&str, u16, &[Protocol]); 8] = [
    ("ssh", 22, &[Protocol::Tcp]),
    ("domain", 53, &[Protocol::Tcp, Protocol::Udp]),
    ("http", 80, &[Protocol::Tcp]),
    ("kerberos", 88, &[Protocol::Tcp, Protocol::Udp]),
    ("https", 443, &[Protocol::Tcp, Protocol::Udp]),
    ("sip", 5060, &[Protocol::Tcp, Protocol::Udp]),
    ("sip-tls", 5061, &[Protocol::Tcp, Protocol::Udp]),
    ("http-alt", 8080, &[Protocol::Tcp, Protocol::Udp]),
];

impl Names for Few {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        HOSTS.iter().find(|host| host.0 == name).map(|host| Ipv4Addr::from(host.1))
    }

    fn service(&self, name: &str, protocol: Protocol) -> Option<u16> {
        SERVICES
            .iter()
            .find(|service| service.0 == name && service.2.contains(&protocol))
            .map(|service| service.1)
    }

    fn host_name(&self, addr: IpAddr) -> Option<String> {
        HOSTS.iter().find(|host| IpAddr::from(host.1) == addr).map(|host| host.0.to_owned())
    }

    fn service_name(&self, port: u16, protocol: Protocol) -> Option<String> {
        let found = SERVICES.iter().find(|service| service.1 == port && service.2.contains(&protocol));
        found.map(|service| service.0.to_owned())
    }
}
