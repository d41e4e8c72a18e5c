//! `vipline mark` and iptables must agree about a table of commands. Here iptables is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use crate::netns::{in_netns, run};

const TABLE: &str = include_str!("../../../lvs/tests/mark_grammar.txt");

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn iptables_takes_and_refuses_what_the_table_says() {
    in_netns(|| {
        // The first rule makes the chain in nftables.
        run("iptables-nft -t mangle -A PREROUTING -j ACCEPT").unwrap();
        let mut wrong = Vec::new();
        for line in TABLE.lines().filter(|line| line.starts_with(['+', '-'])) {
            run("iptables-nft -t mangle -F").unwrap();
            let taken = run(&format!("iptables-nft -t mangle {}", &line[2..]));
            if taken.is_ok() != line.starts_with('+') {
                wrong.push(format!("{line}: {taken:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
