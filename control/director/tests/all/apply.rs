//! Rules that are replaced by those of a file: all or nothing, in one step, and what stays the same
//! is not touched.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::frame::{self, Options};
use crate::network::{self, WAN};
use api::{Ask, ConnectionQuery, Difference, Request, Response, Wanted};
use director::sim::Sim;
use lvs::ipvs::Numeric;
use lvs::saved;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

const BEFORE: &str = "-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.0.1.11:80 -m -w 1
-a -t 10.0.0.100:80 -r 10.0.1.12:80 -m -w 1
-A -t 10.0.0.100:81 -s rr
*mangle
-A PREROUTING -p tcp -j MARK --set-xmark 0x1/0xffffffff
COMMIT
";

fn apply(mut sim: &mut Sim, text: &str, dry_run: bool) -> Response {
    let saved = saved::read(text, &Numeric).unwrap();
    sim.ask(Request::Apply(Wanted {
        replace: saved.has_services,
        rules: saved.rules.into_iter().map(|rule| rule.change).collect(),
        marks: saved.marks.map(|marks| marks.into_iter().map(|(_, change)| change).collect()),
        dry_run,
    }))
    .unwrap()
}

fn applied(sim: &mut Sim, text: &str, dry_run: bool) -> Difference {
    match apply(sim, text, dry_run) {
        Response::Applied(difference) => difference,
        other => panic!("{other:?}"),
    }
}

fn now(sim: &mut Sim) -> String {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    sim.ipvsadm(&words("-S -n")).out + &sim.mark(&words("save")).out
}

fn syn(sim: &mut Sim, port: u16) -> usize {
    let service = (SocketAddrV4::new(CLIENT, port), SocketAddrV4::new(VIP, 80));
    let macs = (network::director(WAN), network::neighbour(WAN, CLIENT));
    sim.receive(WAN, &frame::build(macs, service, "syn", &Options::new(&[]))).len()
}

/// The number of connections whose next packet is still taken as theirs.
fn connections(mut sim: &mut Sim) -> usize {
    match sim.ask(Request::Connections(ConnectionQuery::default())).unwrap() {
        Response::Connections { rows, .. } => rows.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_taken_in_one_step_and_what_stays_is_not_touched() {
    let mut sim = network::sim();
    let difference = applied(&mut sim, BEFORE, false);
    assert_eq!((difference.rules.len(), difference.marks.len()), (4, 1));
    assert_eq!([syn(&mut sim, 5000), syn(&mut sim, 5001)], [1, 1]);
    let epoch = sim.epoch();
    let after = "-A -t 10.0.0.100:80 -s wlc
-a -t 10.0.0.100:80 -r 10.0.1.13:80 -m -w 2
-a -t 10.0.0.100:80 -r 10.0.1.11:80 -m -w 1
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -j MARK --set-xmark 0x2/0xffffffff
COMMIT
net.ipv4.vs.sloppy_tcp = 1
";
    let before = now(&mut sim);
    let would = applied(&mut sim, after, true);
    assert_eq!((now(&mut sim), sim.epoch()), (before, epoch), "a dry run changes nothing");
    let difference = applied(&mut sim, after, false);
    assert_eq!((&difference.rules, &difference.marks), (&would.rules, &would.marks));
    assert_eq!(sim.epoch(), epoch + 1);
    let lines: Vec<_> =
        difference.rules.iter().map(|change| lvs::ipvs::format::change(change, &Numeric)).collect();
    assert_eq!(
        lines,
        [
            "ipvsadm -D -t 10.0.0.100:81",
            "ipvsadm -d -t 10.0.0.100:80 -r 10.0.1.12:80",
            "ipvsadm -E -t 10.0.0.100:80 -s wlc",
            "ipvsadm -a -t 10.0.0.100:80 -r 10.0.1.13:80 -m -w 2",
            "sysctl -w net.ipv4.vs.sloppy_tcp=1",
        ]
    );
    assert_eq!(connections(&mut sim), 2);
    assert_eq!(applied(&mut sim, after, false).rules, []);
    sim.check_accounts().unwrap();
}

#[test]
fn a_wrong_line_is_named_and_changes_nothing() {
    let mut sim = network::sim();
    applied(&mut sim, BEFORE, false);
    let (before, epoch) = (now(&mut sim), sim.epoch());
    let twice = "-A -t 10.0.0.100:82 -s rr\n-A -t 10.0.0.100:82 -s rr\n";
    assert!(matches!(apply(&mut sim, twice, false), Response::BatchRefused { index: 1, .. }));
    let port = "-A -t 10.0.0.100:82 -s rr\n*mangle\n-A PREROUTING -i eth9 -j ACCEPT\nCOMMIT\n";
    assert!(matches!(apply(&mut sim, port, false), Response::MarksRefused { index: 0, .. }));
    assert_eq!((now(&mut sim), sim.epoch()), (before, epoch));
}

#[test]
fn only_the_parts_that_the_file_has_are_replaced() {
    let mut sim = network::sim();
    applied(&mut sim, BEFORE, false);
    let services = now(&mut sim).split("*mangle").next().unwrap().to_owned();
    let marks = "*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
    assert_eq!(applied(&mut sim, marks, false).rules, []);
    assert_eq!(now(&mut sim), services.clone() + marks);
    applied(&mut sim, "--set 800 0 0\n", false);
    assert_eq!(now(&mut sim), services + marks);
    applied(&mut sim, "-C\n", false);
    assert_eq!(now(&mut sim), marks);
}
