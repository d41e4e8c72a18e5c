//! `-S`: the table as commands.

use super::{name, sched_flags};
use crate::ipvs::names::Names;
use crate::ipvs::sort;
use api::{DestView, ServiceView};
use model::{
    DestSpec, ForwardingMethod, PersistenceMask, ServiceFlags, ServiceKey, ServiceSpec, Tunnel,
    TunnelChecksum, TunnelKind,
};

/// Every service with its local addresses and destinations, as lines that `-R` reads. As in
/// ipvsadm, thresholds are not saved.
pub fn save(list: &[ServiceView], names: &dyn Names) -> String {
    let mut order: Vec<&ServiceView> = list.iter().collect();
    sort::merge_sort(&mut order, &|a, b| sort::compare_services(&a.spec.key, &b.spec.key));
    let mut out = String::new();
    for view in order {
        let key = name::option(&view.spec.key, names);
        out.push_str(&format!("-A {key}{}\n", settings(&view.spec)));
        for local in &view.local_addresses {
            out.push_str(&format!("-P {key} -z {}\n", local.addr));
        }
        let mut order: Vec<&DestView> = view.destinations.iter().collect();
        sort::merge_sort(&mut order, &|a, b| sort::compare_destinations(&a.spec.key, &b.spec.key));
        for dest in order {
            out.push_str(&format!("-a {}\n", destination(&view.spec.key, &dest.spec, names)));
        }
    }
    out
}

/// A destination as the options of `-a` and `-e`, without thresholds.
pub(super) fn destination(service: &ServiceKey, dest: &DestSpec, names: &dyn Names) -> String {
    let key = name::option(service, names);
    let at = name::destination(dest.key, service, names);
    let (method, weight) = (method(dest.method), dest.weight);
    let tunnel = if dest.method == ForwardingMethod::Tunnel { tunnel(&dest.tunnel) } else { String::new() };
    format!("{key} -r {at} {method} -w {weight}{tunnel}")
}

/// A service's settings as options of `-A` and `-E`.
pub(super) fn settings(spec: &ServiceSpec) -> String {
    let mut out = format!(" -s {}", spec.scheduler);
    if spec.flags.contains(ServiceFlags::PERSISTENT) {
        out.push_str(&format!(" -p {}", spec.timeout));
        match spec.netmask {
            mask if mask.is_host() => {}
            PersistenceMask::V4(mask) => out.push_str(&format!(" -M {mask}")),
            PersistenceMask::V6(prefix) => out.push_str(&format!(" -M {prefix}")),
        }
    }
    if let Some(engine) = &spec.engine {
        out.push_str(&format!(" --pe {engine}"));
    }
    if spec.flags.contains(ServiceFlags::ONE_PACKET) {
        out.push_str(" -o");
    }
    let flags = sched_flags(spec);
    if !flags.is_empty() {
        out.push_str(&format!(" -b {flags}"));
    }
    out
}

fn method(method: ForwardingMethod) -> &'static str {
    match method {
        ForwardingMethod::Masquerade => "-m",
        ForwardingMethod::DirectRoute => "-g",
        ForwardingMethod::Tunnel => "-i",
        ForwardingMethod::FullNat => "-b",
    }
}

fn tunnel(tunnel: &Tunnel) -> String {
    let checksum = match tunnel.checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Outer => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    match tunnel.kind {
        TunnelKind::Ipip => " --tun-type ipip".to_owned(),
        TunnelKind::Gue => format!(" --tun-type gue --tun-port {} {checksum}", tunnel.port),
        TunnelKind::Gre => format!(" --tun-type gre {checksum}"),
    }
}
