//! From which senders Linux takes packets on an interface
//! (`Documentation/networking/ip-sysctl.rst`).
//!
//! There are no events for changes to some of these settings, so they are read again regularly.

use std::fs;

use dataplane::snapshot::route::{Input, RpFilter};

const CONF: &str = "/proc/sys/net/ipv4/conf";

/// The settings of an interface in this thread's network namespace, together with those of `all`. A
/// setting that cannot be read counts as 0.
pub fn input(iface: &str) -> Input {
    let pair = |name: &str| [read("all", name), read(iface, name)];
    let rp_filter = pair("rp_filter").into_iter().max();
    Input {
        rp_filter: match rp_filter {
            Some(1) => RpFilter::Strict,
            Some(2..) => RpFilter::Loose,
            _ => RpFilter::Off,
        },
        accept_local: pair("accept_local").into_iter().any(|value| value != 0),
        accept_source_route: pair("accept_source_route").into_iter().all(|value| value != 0),
    }
}

fn read(iface: &str, name: &str) -> u32 {
    let text = fs::read_to_string(format!("{CONF}/{iface}/{name}"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
