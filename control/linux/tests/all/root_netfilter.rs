//! Rules of netfilter that mark packets are seen, whichever program made them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use crate::netns::{in_netns, run};
use linux::netfilter::marking_chains;

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn marks_of_iptables_are_seen() {
    in_netns(|| {
        assert_eq!(marking_chains(), Vec::<String>::new());
        run("iptables-nft -t mangle -A PREROUTING -p tcp -j ACCEPT").unwrap();
        run("iptables-nft -t mangle -A PREROUTING -m mark --mark 7 -j ACCEPT").unwrap();
        assert_eq!(marking_chains(), Vec::<String>::new(), "what matches a mark sets none");
        for _ in 0..2 {
            run("iptables-nft -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 5").unwrap();
        }
        assert_eq!(marking_chains(), ["chain PREROUTING of table mangle"]);
    });
}
