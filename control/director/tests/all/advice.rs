//! Rules that are accepted although they are hardly meant so: the command tells it, and so does the
//! status.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use crate::network;
use director::sim::Sim;

/// Runs a command that must succeed. Returns what it said on stderr.
fn run(sim: &mut Sim, line: &str) -> String {
    let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let said = if line.contains("PREROUTING") { sim.mark(&args) } else { sim.ipvsadm(&args) };
    assert_eq!(said.code, 0, "{line}: {}", said.err);
    said.err
}

fn quiet(sim: &mut Sim, line: &str) {
    assert_eq!(run(sim, line), "", "{line}");
}

/// There is exactly one note, and it contains these words.
fn only_note(sim: &Sim, words: &str) {
    let notes = sim.advice();
    assert!(matches!(&notes[..], [note] if note.contains(words)), "{words}: {notes:?}");
}

#[test]
fn fullnat_without_a_local_address_is_told() {
    let mut sim = network::sim();
    quiet(&mut sim, "-A -t 10.0.0.100:80 -s rr");
    quiet(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.12:80 -m");
    assert_eq!(sim.advice(), Vec::<String>::new());
    let said = run(&mut sim, "-a -t 10.0.0.100:80 -r 10.0.1.11:80 -b");
    assert!(
        said.starts_with("Warning: -t 10.0.0.100:80 has no local address") && said.lines().count() == 1,
        "{said}"
    );
    only_note(&sim, "TCP 10.0.0.100:80: destinations by FULLNAT, but no local address");
    quiet(&mut sim, "-P -t 10.0.0.100:80 -z 10.0.1.1");
    assert_eq!(sim.advice(), Vec::<String>::new());
    assert!(run(&mut sim, "-Q -t 10.0.0.100:80 -z 10.0.1.1").contains("-P -t 10.0.0.100:80 -z ADDRESS"));
    quiet(&mut sim, "-d -t 10.0.0.100:80 -r 10.0.1.11:80");
    assert_eq!(sim.advice(), Vec::<String>::new());
}

#[test]
fn fullnat_in_a_one_packet_service_is_told() {
    let mut sim = network::sim();
    quiet(&mut sim, "-A -u 10.0.0.100:53 -s rr -o");
    quiet(&mut sim, "-P -u 10.0.0.100:53 -z 10.0.1.1");
    assert!(run(&mut sim, "-a -u 10.0.0.100:53 -r 10.0.1.11:53 -b").contains("one-packet service"));
    only_note(&sim, "UDP 10.0.0.100:53: one-packet scheduling");
}

#[test]
fn a_mark_that_no_rule_gives_is_told() {
    let mut sim = network::sim();
    quiet(&mut sim, "-A -f 6 -s rr");
    only_note(&sim, "FWM 6: no rule gives a packet this mark");
    quiet(&mut sim, "-A PREROUTING -p tcp -j MARK --set-mark 5");
    only_note(&sim, "FWM 6: ");
    // Two more steps make mark 6 of mark 5: this one sets a bit, and the next one clears a bit.
    quiet(&mut sim, "-A PREROUTING -p tcp -j MARK --or-mark 2");
    only_note(&sim, "FWM 6: ");
    quiet(&mut sim, "-A PREROUTING -p tcp -j MARK --and-mark 6");
    assert_eq!(sim.advice(), Vec::<String>::new());
}

#[test]
fn addresses_that_no_interface_has_are_told_in_few_words() {
    let mut sim = network::sim();
    for last in 201..206 {
        quiet(&mut sim, &format!("-A -t 10.0.0.{last}:80 -s rr"));
    }
    only_note(&sim, "10.0.0.201, 10.0.0.202, 10.0.0.203 and 2 more: virtual, but on no interface");
    let mut sim = network::sim();
    quiet(&mut sim, "-A -t 10.0.0.100:80 -s rr");
    quiet(&mut sim, "-P -t 10.0.0.100:80 -z 10.0.1.200");
    only_note(&sim, "10.0.1.200: local addresses on no interface");
}
