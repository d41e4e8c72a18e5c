//! From which senders Linux takes packets, by the kernel's own settings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use crate::netns::{in_netns, ip, sysctl};
use dataplane::snapshot::route::{Input, RpFilter};

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn the_interfaces_settings_and_those_of_all_take_effect_together() {
    in_netns(|| {
        ip("link add vl0 type veth peer name vl1");
        let set =
            |iface: &str, name: &str, value: &str| sysctl(&format!("net/ipv4/conf/{iface}/{name}"), value);
        let mut found = Vec::new();
        for (all, own) in [("0", "0"), ("0", "1"), ("1", "0"), ("1", "2"), ("2", "1")] {
            set("all", "rp_filter", all);
            set("vl0", "rp_filter", own);
            found.push(linux::input("vl0").rp_filter);
        }
        use RpFilter::{Loose, Off, Strict};
        assert_eq!(found, [Off, Strict, Strict, Loose, Loose]);
        let mut found = Vec::new();
        for (all, own) in [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")] {
            for name in ["accept_local", "accept_source_route"] {
                set("all", name, all);
                set("vl0", name, own);
            }
            let Input { accept_local, accept_source_route, .. } = linux::input("vl0");
            found.push((accept_local, accept_source_route));
        }
        assert_eq!(found, [(false, false), (true, false), (true, false), (true, true)]);
        assert_eq!(linux::input("gone").rp_filter, Loose, "those of all hold everywhere");
    });
}
