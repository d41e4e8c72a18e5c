//! The verb `sysctl`. Expected texts and exit codes are those of procps 4.0.2 with Linux's IPVS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::io::Cursor;

use crate::common::{World, answer};
use api::{Ask, ClientError, Request, Response};
use lvs::ipvs::{Console, Numeric};
use lvs::sysctl;
use model::{Model, ModelOptions};

struct Direct<'a>(&'a mut Model);

impl Ask for Direct<'_> {
    fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        Ok(answer(self.0, &World::default(), &request))
    }
}

fn run(model: &mut Model, words: &[&str]) -> (String, String, u8) {
    let (mut out, mut err, mut stdin) = (Vec::new(), Vec::new(), Cursor::new([]));
    let mut console = Console {
        program: "vipline sysctl",
        stdin: &mut stdin,
        stdout: &mut out,
        stderr: &mut err,
        names: &Numeric,
    };
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let code = sysctl::run(&words, &mut console, || Ok(Direct(model)));
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

fn said(out: &str, err: &str, code: u8) -> (String, String, u8) {
    (out.to_owned(), err.to_owned(), code)
}

#[test]
fn tunables_are_printed_as_sysctl_prints_them() {
    let model = Model::new(ModelOptions::all());
    let run = |words: &[&str]| run(&mut model.clone(), words);
    let reuse = "net.ipv4.vs.conn_reuse_mode = 1\n";
    assert_eq!(run(&["net.ipv4.vs.conn_reuse_mode"]), said(reuse, "", 0));
    assert_eq!(run(&["net/ipv4/vs/conn_reuse_mode"]), said(reuse, "", 0));
    assert_eq!(run(&["-n", "sync_threshold"]), said("3\t50\n", "", 0));
    let (all, err, code) = run(&["-a"]);
    assert_eq!((all.lines().count(), err.as_str(), code), (30, "", 0));
    assert!(all.contains("\nnet.ipv4.vs.lblc_expiration = 86400\n"), "{all}");
    for words in [&[][..], &["net.ipv4.vs"], &["net.ipv4.vs."]] {
        assert_eq!(run(words), said(&all, "", 0));
    }
    let nope = "sysctl: cannot stat /proc/sys/net/ipv4/vs/nope: No such file or directory\n";
    assert_eq!(run(&["net.ipv4.vs.nope", "conn_reuse_mode"]), said(reuse, nope, 1));
    assert_eq!(run(&["-q"]).2, 2);
}

#[test]
fn tunables_are_set_one_by_one() {
    let mut model = Model::new(ModelOptions::all());
    let set = "net.ipv4.vs.sloppy_tcp = 1\n";
    assert_eq!(run(&mut model, &["-w", "net.ipv4.vs.sloppy_tcp=1"]), said(set, "", 0));
    assert_eq!(model.tunables().get("sloppy_tcp"), 1);
    let wrong = "sysctl: setting key \"net.ipv4.vs.drop_entry\": Invalid argument\n";
    let words = ["-w", "net.ipv4.vs.drop_entry=4", "net.ipv4.vs.sloppy_tcp=0"];
    assert_eq!(run(&mut model, &words), said("net.ipv4.vs.sloppy_tcp = 0\n", wrong, 1));
    assert_eq!((model.tunables().get("sloppy_tcp"), model.tunables().get("drop_entry")), (0, 0));
    let syntax = "sysctl: command line(0): invalid syntax, continuing...\n";
    assert_eq!(run(&mut model, &["-w", "net.ipv4.vs.sloppy_tcp"]), said("", syntax, 1));
    let nope = "sysctl: cannot stat /proc/sys/net/ipv4/vs/nope: No such file or directory\n";
    assert_eq!(run(&mut model, &["-w", "net.ipv4.vs.nope=1"]), said("", nope, 1));
}

#[test]
fn a_tunable_without_effect_says_so_and_keeps_its_value() {
    let mut model = Model::new(ModelOptions::all());
    let (out, err, code) = run(&mut model, &["-w", "net.ipv4.vs.secure_tcp=2"]);
    assert_eq!((out.as_str(), code), ("net.ipv4.vs.secure_tcp = 2\n", 0));
    assert!(err.starts_with("sysctl: net.ipv4.vs.secure_tcp keeps its value, but has no effect"), "{err}");
    assert_eq!(run(&mut model, &["secure_tcp"]).0, "net.ipv4.vs.secure_tcp = 2\n");
}
