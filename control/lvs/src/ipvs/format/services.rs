//! The listings of services and destinations.

use std::fmt::Write;

use super::{name, sched_flags};
use crate::ipvs::command::{Listing, Mode};
use crate::ipvs::names::Names;
use crate::ipvs::sort;
use api::{DestView, ServiceView, Traffic};
use model::{
    ForwardingMethod, PersistenceMask, ServiceFlags, ServiceKey, ServiceSpec, Tunnel, TunnelChecksum,
    TunnelKind,
};

/// `-L`: the title, and every service with its destinations, without the [`banner`](super::banner).
pub fn services(list: &[ServiceView], listing: &Listing, names: &dyn Names) -> String {
    let mut order: Vec<&ServiceView> = list.iter().collect();
    if !listing.unsorted {
        sort::merge_sort(&mut order, &|a, b| sort::compare_services(&a.spec.key, &b.spec.key));
    }
    let mut out = title(listing.mode);
    for view in order {
        service(&mut out, view, listing, names);
    }
    out
}

/// `-G`: every service with its local addresses.
pub fn local_addresses(list: &[ServiceView]) -> String {
    let mut order: Vec<&ServiceView> = list.iter().collect();
    sort::merge_sort(&mut order, &|a, b| sort::compare_services(&a.spec.key, &b.spec.key));
    let mut out =
        format!("{:<20} {:<8} {:<20} {:<10} {:<10}\n", "VIP:VPORT", "TOTAL", "SNAT_IP", "CONFLICTS", "CONNS");
    for view in order {
        let key = name::service(&view.spec.key, &crate::ipvs::Numeric);
        let key = key.split_whitespace().next_back().unwrap_or_default();
        push(&mut out, format_args!("{key:<20} {:<8} \n", view.local_addresses.len()));
        for local in &view.local_addresses {
            let (addr, conflicts, conns) = (local.addr.to_string(), local.conflicts, local.conns);
            push(&mut out, format_args!("{:<20} {:<8} {addr:<20} {conflicts:<10} {conns:<10}\n", "", ""));
        }
    }
    out
}

fn title(mode: Mode) -> String {
    let heads: [&str; 5] = match mode {
        Mode::Stats => ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"],
        Mode::Rate => ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"],
        Mode::Thresholds => {
            let [a, b, c, d] = ["Uthreshold", "Lthreshold", "ActiveConn", "InActConn"];
            return format!("{ADDRESS:<33} {a:<10} {b:<10} {c:<10} {d:<10}\n{REMOTE}\n");
        }
        Mode::Persistent => {
            let [a, b, c, d] = ["Weight", "PersistConn", "ActiveConn", "InActConn"];
            return format!("{ADDRESS:<33} {a:<9} {b:<11} {c:<10} {d:<10}\n{REMOTE}\n");
        }
        Mode::Plain => {
            return format!("{ADDRESS} Scheduler Flags\n{REMOTE:<33} Forward Weight ActiveConn InActConn\n");
        }
        Mode::Tunnels => {
            return format!(
                "{ADDRESS} Scheduler Flags\n{REMOTE:<33} Forward TunnelInfo    Weight ActiveConn InActConn\n"
            );
        }
    };
    let heads: String = heads.iter().map(|head| format!(" {head:>8}")).collect();
    format!("{ADDRESS:<33}{heads}\n{REMOTE}\n")
}

const ADDRESS: &str = "Prot LocalAddress:Port";
const REMOTE: &str = "  -> RemoteAddress:Port";

fn service(out: &mut String, view: &ServiceView, listing: &Listing, names: &dyn Names) {
    let key = &view.spec.key;
    let name = name::service(key, names);
    match listing.mode {
        Mode::Stats | Mode::Rate => {
            push(out, format_args!("{name:<33}{}\n", columns(&view.traffic, listing)))
        }
        _ => push(out, format_args!("{name} {}\n", settings(&view.spec))),
    }
    let mut order: Vec<&DestView> = view.destinations.iter().collect();
    if !listing.unsorted {
        sort::merge_sort(&mut order, &|a, b| sort::compare_destinations(&a.spec.key, &b.spec.key));
    }
    for dest in order {
        destination(out, dest, key, listing, names);
    }
}

/// A service's scheduler, flags and persistence.
fn settings(spec: &ServiceSpec) -> String {
    let mut out = spec.scheduler.clone();
    let flags = sched_flags(spec);
    if !flags.is_empty() {
        push(&mut out, format_args!(" ({flags})"));
    }
    if spec.flags.contains(ServiceFlags::PERSISTENT) {
        push(&mut out, format_args!(" persistent {}", spec.timeout));
        match spec.netmask {
            mask if mask.is_host() => {}
            PersistenceMask::V4(mask) => push(&mut out, format_args!(" mask {mask}")),
            PersistenceMask::V6(prefix) => push(&mut out, format_args!(" mask {prefix}")),
        }
        if let Some(engine) = &spec.engine {
            push(&mut out, format_args!(" pe {engine}"));
        }
    }
    if spec.flags.contains(ServiceFlags::ONE_PACKET) {
        out.push_str(" ops");
    }
    out
}

fn destination(
    out: &mut String,
    view: &DestView,
    service: &ServiceKey,
    listing: &Listing,
    names: &dyn Names,
) {
    let DestView { spec, load, .. } = view;
    let name = name::destination_column(spec.key, service, names);
    let (weight, active, inactive) = (spec.weight, load.active, load.inactive);
    push(out, format_args!("  -> {name:<28}"));
    let method = method(spec.method);
    match listing.mode {
        Mode::Stats => out.push_str(&columns(&view.traffic, listing)),
        Mode::Rate => {
            let rates = &view.traffic.rates;
            push(out, format_args!(" {:>8} {:>8} {:>8}", rates.cps, rates.inpps, rates.outpps));
            out.push_str(&large(rates.inbps, listing.exact));
            out.push_str(&large(rates.outbps, listing.exact));
        }
        Mode::Thresholds => {
            push(out, format_args!(" {:<10} {:<10} {active:<10} {inactive:<10}", spec.upper, spec.lower));
        }
        Mode::Persistent => {
            push(out, format_args!(" {weight:<9} {:<11} {active:<10} {inactive:<10}", load.persistent));
        }
        Mode::Plain => push(out, format_args!(" {method:<7} {weight:<6} {active:<10} {inactive:<10}")),
        Mode::Tunnels => {
            let tunnel =
                if spec.method == ForwardingMethod::Tunnel { tunnel(&spec.tunnel) } else { "n/a".to_owned() };
            push(out, format_args!(" {method:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}"));
        }
    }
    out.push('\n');
}

fn method(method: ForwardingMethod) -> &'static str {
    match method {
        ForwardingMethod::Masquerade => "Masq",
        ForwardingMethod::DirectRoute => "Route",
        ForwardingMethod::Tunnel => "Tunnel",
        ForwardingMethod::FullNat => "FullNat",
    }
}

fn tunnel(tunnel: &Tunnel) -> String {
    let checksum = match tunnel.checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Outer => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match tunnel.kind {
        TunnelKind::Ipip => "ipip".to_owned(),
        TunnelKind::Gue => format!("gue:{}:{checksum}", tunnel.port),
        TunnelKind::Gre => format!("gre:{checksum}"),
    }
}

/// The five numbers of `--stats` or `--rate`.
fn columns(traffic: &Traffic, listing: &Listing) -> String {
    let (counters, rates) = (&traffic.counters, &traffic.rates);
    let numbers = match listing.mode {
        Mode::Rate => [rates.cps, rates.inpps, rates.outpps, rates.inbps, rates.outbps],
        _ => [counters.conns, counters.inpkts, counters.outpkts, counters.inbytes, counters.outbytes],
    };
    numbers.iter().map(|number| large(*number, listing.exact)).collect()
}

/// A number in nine columns. A number that does not fit is shown in thousands (K), millions (M) and
/// so on, unless `exact` is set.
fn large(number: u64, exact: bool) -> String {
    let (number, unit) = match number {
        _ if exact => {
            let number = number.to_string();
            return format!("{number:>width$}", width = 9.max(number.len() + 1));
        }
        0..100_000_000 => return format!("{number:>9}"),
        100_000_000..1_000_000_000 => (number / 1000, 'K'),
        1_000_000_000..100_000_000_000 => (number / 1_000_000, 'M'),
        100_000_000_000..100_000_000_000_000 => (number / 1_000_000_000, 'G'),
        _ => (number / 1_000_000_000_000, 'T'),
    };
    format!("{number:>8}{unit}")
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::large;

    #[test]
    fn large_numbers_shrink_to_nine_columns() {
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(large(number, false), text);
        }
        assert_eq!(large(5, true), "        5");
        assert_eq!(large(100_000_000, true), " 100000000");
        assert_eq!(large(u64::MAX, true), " 18446744073709551615");
    }
}
