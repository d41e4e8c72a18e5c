//! Runs command lines against a daemon in this process, and compares the answers with those of the
//! real ipvsadm.
//!
//! The transcripts were taken from Debian's ipvsadm 1.31 on Linux 6.1. They leave out what cannot
//! be compared: help, synchronization daemons, and the order of unsorted services. Two transcripts
//! are not from Linux: `fullnat.txt` and `mark.txt` hold Vipline's own answers. They show changes,
//! but do not show whether an answer is right.
//!
//! Linux serves more than Vipline does today, so each transcript of Linux is compared twice. The
//! first model accepts all that Linux accepts; that checks grammar, errors and listings. The second
//! is the product's model. Its answers differ where it refuses IPv6, SCTP or a persistence engine,
//! and in listings without these. `transcripts/served` holds these answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::fmt::Write as _;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr};

use crate::common::{Daemon, World};
use api::{Client, ServerOptions};
use lvs::ipvs::{Console, Invocation, Names, run};
use model::{ModelOptions, Protocol};
use sched::MhSize;

/// A transcript and its name.
struct Transcript {
    name: &'static str,
    text: &'static str,
    /// The product's own answers, one for each entry where it differs from the transcript.
    served: &'static str,
}

macro_rules! transcript {
    ($name:literal) => {
        Transcript {
            name: $name,
            text: include_str!(concat!("../transcripts/", $name, ".txt")),
            served: include_str!(concat!("../transcripts/served/", $name, ".txt")),
        }
    };
}

/// From ipvsadm on Linux.
const LINUX: [Transcript; 4] =
    [transcript!("matrix"), transcript!("quirks"), transcript!("more"), transcript!("listing")];

#[test]
fn every_option_with_every_command_as_on_linux() {
    as_linux(&LINUX[0]);
}

#[test]
fn odd_words_and_values_as_on_linux() {
    as_linux(&LINUX[1]);
}

#[test]
fn names_of_hosts_and_services_as_on_linux() {
    as_linux(&LINUX[2]);
}

#[test]
fn listings_as_on_linux() {
    as_linux(&LINUX[3]);
}

/// Linux has no FULLNAT: these are Vipline's own answers.
#[test]
fn fullnat_and_local_addresses() {
    as_written(include_str!("../transcripts/fullnat.txt"));
}

/// These are the answers of `vipline mark` itself, modelled on iptables 1.8.
#[test]
fn marks() {
    as_written(include_str!("../transcripts/mark.txt"));
}

/// FULLNAT's listings must have ipvsadm's head lines and columns.
#[test]
fn listings_of_fullnat_have_the_form_of_ipvsadm_s() {
    let rows = |text: &'static str| text.lines().filter_map(|line| line.strip_prefix("out |"));
    let columns = |row: &str| {
        let starts = row.match_indices(' ').map(|(at, _)| at + 1).filter(|at| !row[*at..].starts_with(' '));
        starts.collect::<Vec<_>>()
    };
    let linux: Vec<_> = LINUX.iter().flat_map(|transcript| rows(transcript.text)).collect();
    let layouts: Vec<_> = linux.iter().filter(|row| row.contains("Masq ")).map(|row| columns(row)).collect();
    let (mut heads, mut found) = (0, 0);
    for row in rows(include_str!("../transcripts/fullnat.txt")) {
        if row.starts_with("Prot ") || row.contains("RemoteAddress") {
            assert!(linux.contains(&row), "no head of ipvsadm's: {row}");
            heads += 1;
        } else if row.contains(" FullNat ") {
            // Padded to the width of the column.
            let columns = columns(&row.replace("FullNat", "Masq   "));
            assert!(layouts.contains(&columns), "not the columns of ipvsadm: {row}");
            found += 1;
        }
    }
    assert!(heads >= 4 && found >= 6, "{heads} heads and {found} rows");
}

/// The product answers as in the transcripts of Linux, except for the answers in `served/`.
#[test]
fn the_product_answers_like_linux_except_for_the_served_answers() {
    let mut wrong = String::new();
    for transcript in &LINUX {
        let options = ModelOptions::served(4096, MhSize::default());
        let daemon = Daemon::with(options, World::default(), ServerOptions::default());
        let actual = replay(&daemon, transcript.text);
        let answers: Vec<_> =
            differing(transcript.text, &actual).into_iter().map(|(_, vipline)| vipline).collect();
        let (_, written) = transcript.served.split_once("\n\n").unwrap();
        let written: Vec<_> = written.trim_end().split("\n\n").collect();
        if answers != written {
            let name = transcript.name;
            writeln!(wrong, "served/{name}.txt should be, after its head:\n\n{}", answers.join("\n\n"))
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A daemon that serves all that Linux serves must give Linux's answers.
fn as_linux(transcript: &Transcript) {
    as_written(transcript.text);
}

fn as_written(text: &str) {
    let actual = replay(&Daemon::start(), text);
    let mut wrong = String::new();
    for (expected, actual) in differing(text, &actual) {
        writeln!(wrong, "ipvsadm:\n{expected}\nvipline:\n{actual}\n").unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(text.trim_end().len(), actual.trim_end().len());
}

/// The entries of two transcripts that differ.
fn differing<'a>(expected: &'a str, actual: &'a str) -> Vec<(&'a str, &'a str)> {
    let entries = expected.trim_end().split("\n\n").zip(actual.trim_end().split("\n\n"));
    entries.filter(|(expected, actual)| expected != actual).collect()
}

/// Runs a transcript line by line. Returns the answers as a transcript.
fn replay(daemon: &Daemon, expected: &str) -> String {
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
            let (out, err, code) = start(daemon, &words[0], &words[1..], &stdin);
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
    actual
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

/// The words of a line. Quotes keep blanks.
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
