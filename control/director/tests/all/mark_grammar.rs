//! `vipline mark` accepts and refuses what iptables accepts and refuses: a table of commands, each
//! given to an empty director.
//!
//! `control/linux/tests/all/root_iptables.rs` asks iptables about the same table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use crate::network;
use director::sim::Said;

const TABLE: &str = include_str!("../../../lvs/tests/mark_grammar.txt");

fn mark(line: &str) -> Said {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    network::sim().mark(&words)
}

#[test]
fn commands_are_taken_and_refused_as_by_iptables() {
    let lines: Vec<_> = TABLE.lines().filter(|line| line.starts_with(['+', '-', '='])).collect();
    assert!(lines.len() > 100, "only {} lines", lines.len());
    let mut wrong = Vec::new();
    for line in lines {
        let (taken, command) = (!line.starts_with('-'), &line[2..]);
        // The director in memory has a port named `wan`, not `wan0`.
        let said = mark(&command.replace("wan0", "wan"));
        if (said.code == 0) != taken || said.err.lines().count() > 1 {
            wrong.push(format!("{line}\n    {}", said.err.trim()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn who_is_to_blame_is_blamed() {
    for (line, words) in [
        ("-A PREROUTING -p tcp -j DNAT --to 10.0.0.1", "-j: DNAT: expected MARK, ACCEPT or RETURN"),
        (
            "-A PREROUTING -m mac ! --mac-source 02:00:00:00:00:01 -j ACCEPT",
            "-m: mac: expected tcp, udp, sctp, multiport",
        ),
        ("-A PREROUTING -p tcp --syn -j ACCEPT", "--syn: not built"),
        ("-A PREROUTING -o wan -j ACCEPT", "-o: not built"),
        (
            "-A PREROUTING -j MARK --set 5",
            "--set: is short for --set-counters and --set-mark and --set-xmark",
        ),
        ("-N MINE", "-N: not built"),
        ("-X MINE", "-X: MINE: expected nothing behind it"),
        ("-P PREROUTING DROP", "-P: DROP: expected ACCEPT"),
    ] {
        let said = mark(line);
        assert!(
            said.err.starts_with(&format!("vipline mark: {words}")) && said.code == 2,
            "{line}: {}",
            said.err
        );
    }
}

#[test]
fn short_and_attached_options_say_what_long_ones_do() {
    let listed = |line: &str| {
        let mut sim = network::sim();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let said = sim.mark(&words(line));
        assert_eq!((said.err.as_str(), said.code), ("", 0), "{line}");
        sim.mark(&words("-S")).out.lines().nth(1).unwrap().to_owned()
    };
    for (short, long) in [
        (
            "-APREROUTING -ptcp -s10/8 -jMARK --set-m 5",
            "-A PREROUTING -p tcp -s 10.0.0.0/8 -j MARK --set-mark 5",
        ),
        (
            "-A PREROUTING -p tcp -m multiport --dport 80,443 -j MARK --or 5 -c 1 2",
            "-A PREROUTING -p tcp -m multiport --dports 80,443 -j MARK --or-mark 5",
        ),
        (
            "-4 -A PREROUTING -p tcp -m comment --comment web --destination-po 80 -j ACCEPT",
            "-A PREROUTING -p tcp --dport 80 -j ACCEPT",
        ),
    ] {
        assert_eq!(listed(short), listed(long), "{short}");
    }
}
