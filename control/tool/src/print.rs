//! The output of the verbs, for people or as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use api::words::counted;
use api::{ConnectionRow, NamedCount, ServiceView, Status, TrafficReport};

/// The data of `vipline stats`.
#[derive(Serialize)]
pub(super) struct Stats {
    #[serde(flatten)]
    pub(super) traffic: TrafficReport,
    pub(super) services: Vec<ServiceView>,
}

/// The title line of `vipline conns`.
pub(super) const CONNECTIONS: &str = "proto expire state       client                virtual               \
                                      local                 destination           worker\n";

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

pub(super) fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

pub(super) fn connection(row: &ConnectionRow) -> String {
    let protocol = row.protocol.map_or("IP", |protocol| protocol.name());
    let expires = format!("{:02}:{:02}", row.expires / 60, row.expires % 60);
    let local = row.local.map_or_else(|| "-".to_owned(), |local| local.to_string());
    format!(
        "{protocol:<5} {expires:<6} {:<11} {:<21} {:<21} {local:<21} {:<21} {}\n",
        row.state,
        row.client.to_string(),
        row.target.to_string(),
        row.destination.to_string(),
        row.worker
    )
}

pub(super) fn status(status: &Status) -> String {
    let mut out = String::new();
    let serving = match (status.serving, status.degraded) {
        (false, _) => "not serving",
        (true, true) => "degraded",
        (true, false) => "serving",
    };
    let (version, pid, uptime) = (&status.version, status.pid, status.uptime);
    line(
        &mut out,
        format_args!("vipline {version}: {serving}, process {pid}, up {uptime} s, epoch {}", status.epoch),
    );
    let (services, destinations) = (status.services, status.destinations);
    let (connections, most) = (status.connections, status.max_connections);
    line(
        &mut out,
        format_args!(
            "{}, {}, {connections} of {most} connections",
            counted(services, "service"),
            counted(destinations, "destination")
        ),
    );
    let memory = &status.memory;
    let pages = if memory.hugepages { "huge pages" } else { "ordinary pages" };
    let (bytes, used, mbufs) = (memory.bytes >> 20, memory.mbufs_used, memory.mbufs);
    line(&mut out, format_args!("{bytes} MiB in {pages}, {used} of {mbufs} packet buffers in use"));
    for port in &status.ports {
        let speed = if port.mbps == 0 { String::new() } else { format!(", {} Mbit/s", port.mbps) };
        line(
            &mut out,
            format_args!(
                "port {}: {} ({}), {}, {}{speed}, MTU {}, {}, as {}",
                port.name,
                port.device,
                port.driver,
                port.mac,
                port.link,
                port.mtu,
                counted(port.queues, "queue"),
                port.host_interface
            ),
        );
        for trouble in &port.troubles {
            line(&mut out, format_args!("  {trouble}"));
        }
    }
    for note in &status.notes {
        line(&mut out, format_args!("note: {note}"));
    }
    for worker in &status.workers {
        let cycles = worker.cycles_per_packet.map(|cycles| format!(", {cycles:.0} cycles a packet"));
        line(
            &mut out,
            format_args!(
                "worker {} on CPU {}: {:.0} % busy{}, {}, epoch {}",
                worker.id,
                worker.cpu,
                worker.busy * 100.0,
                cycles.unwrap_or_default(),
                counted(worker.connections, "connection"),
                worker.epoch
            ),
        );
    }
    if status.log_lost > 0 {
        line(
            &mut out,
            format_args!(
                "{} lines of the log were lost: stderr cannot be written to, or nobody reads it",
                status.log_lost
            ),
        );
    }
    out
}

pub(super) fn stats(stats: &Stats) -> String {
    let mut out = String::new();
    let Stats { traffic, services } = stats;
    named(&mut out, "Packets", &traffic.verdicts);
    named(&mut out, "Dropped", &traffic.drops);
    for port in &traffic.ports {
        line(
            &mut out,
            format_args!(
                "port {}: {} packets in ({} missed, {} bad), {} out ({} failed)",
                port.name, port.rx_packets, port.rx_missed, port.rx_errors, port.tx_packets, port.tx_errors
            ),
        );
    }
    for worker in &traffic.workers {
        line(
            &mut out,
            format_args!(
                "worker {}: {} packets in, {} out, {} to the host, {} dropped",
                worker.id, worker.packets, worker.transmitted, worker.host, worker.dropped
            ),
        );
    }
    for service in services {
        let counted = service.traffic.counters;
        let (conns, inpkts, outpkts) = (counted.conns, counted.inpkts, counted.outpkts);
        line(
            &mut out,
            format_args!("{}: {conns} connections, {inpkts} packets in, {outpkts} out", service.spec.key),
        );
        for dest in &service.destinations {
            let counted = dest.traffic.counters;
            let (conns, inpkts, outpkts) = (counted.conns, counted.inpkts, counted.outpkts);
            let (addr, port) = (dest.spec.key.addr, dest.spec.key.port);
            let at = std::net::SocketAddr::new(addr, port);
            let answers = dest.response_us.map(|us| format!(", answers after {us} us")).unwrap_or_default();
            line(
                &mut out,
                format_args!("  -> {at}: {conns} connections, {inpkts} packets in, {outpkts} out{answers}"),
            );
        }
    }
    out
}

fn named(out: &mut String, title: &str, counts: &[NamedCount]) {
    if !counts.is_empty() {
        line(out, format_args!("{title}:"));
    }
    for NamedCount { name, text, count } in counts {
        line(out, format_args!("  {count:>16} {name:<20} {text}"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
