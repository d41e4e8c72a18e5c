//! The arguments of `vipline bench`, and their limits.

use clap::ValueEnum;
use dataplane::snapshot::dest::Method;
use sched::Kind;
use serde::Serialize;

use crate::bench::error::BenchError;

/// The arguments of `vipline bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure: packets of standing connections; connections that begin and end; a flood;
    /// the latency of packets at constant rates; changes of rules while packets come; or the
    /// machine's memory, without a director
    #[arg(long, value_enum, default_value_t = Workload::Established)]
    pub workload: Workload,
    /// Forwarding method
    #[arg(long, value_enum, default_value_t = MethodName::Nat)]
    pub method: MethodName,
    /// Connections in the table (workload connections: about as many). For a flood the table has
    /// room for twice as many
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub flows: u32,
    /// Services; connections are spread evenly over them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub services: u32,
    /// Real servers behind each service
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub destinations: u32,
    /// Scheduler, by its IPVS name
    #[arg(long, value_name = "S", default_value = "rr")]
    pub scheduler: String,
    /// Frame length on the wire, including the 4 bytes of FCS
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    pub frame: u16,
    /// What a flood is made of
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: Option<FloodKind>,
    /// Packets a second of a flood [default: twice the rate at which the worker can make and end
    /// connections]
    #[arg(long, value_name = "N")]
    pub syn_rate: Option<u32>,
    /// Changes of rules a second (workload changes) [default: 1000]
    #[arg(long, value_name = "N")]
    pub change_rate: Option<u32>,
    /// How long to measure. Setting up comes first; before a flood, so do some ten seconds that
    /// measure what the worker can take. With --search, how long a load near the result is tried
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub seconds: u32,
    /// Search for the highest rates at which no packet (NDR) or at most 0.5 % of packets (PDR) are
    /// lost
    #[arg(long)]
    pub search: bool,
    /// The smallest load that --search tries: packets a second, both directions together
    #[arg(long, value_name = "PPS", requires = "search", default_value_t = 10_000)]
    pub min_load: u32,
    /// The largest load that --search tries [default: the packets that 100 Gb/s Ethernet carries]
    #[arg(long, value_name = "PPS", requires = "search")]
    pub max_load: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What the director has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Packets of standing connections, in random order
    Established,
    /// Whole TCP connections, from the SYN to the timeout
    Connections,
    /// Standing connections, and twice as many SYNs (or other packets that make connections) as the
    /// worker can handle
    Flood,
    /// Packets of standing connections, at constant rates below throughput
    Latency,
    /// Packets of standing connections, while another thread changes rules
    Changes,
    /// No packets: random memory loads, dependent and prefetched
    Memory,
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FloodKind {
    /// SYNs from random addresses
    #[default]
    Syn,
    /// UDP datagrams from random addresses
    Udp,
    /// A SYN and then an ACK from the same forged address
    SynAck,
    /// The same, to a persistent service
    SynAckSticky,
}

/// A forwarding method, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    /// Destination rewritten, replies pass the director
    Nat,
    /// Only the MAC is changed
    Dr,
    /// IPv4 in IPv4
    Tun,
    /// Both ends rewritten, replies pass the director
    Fullnat,
}

impl MethodName {
    /// The method as the packet path knows it.
    pub const fn method(self) -> Method {
        match self {
            Self::Nat => Method::Masquerade,
            Self::Dr => Method::DirectRoute,
            Self::Tun => Method::Tunnel,
            Self::Fullnat => Method::FullNat,
        }
    }
}

/// The most connections a run may ask for.
pub(super) const MOST_FLOWS: u32 = 50_000_000;
const MOST_DESTINATIONS: u32 = 65_536;
const MOST_SERVICES: u32 = 65_536;
/// The most real servers of all services together: each has its own next hop and counters.
const MOST_SERVERS: u32 = 1_000_000;
/// Frame lengths. The smallest frame holds the Ethernet, IPv4 and TCP headers and the FCS.
const FRAMES: core::ops::RangeInclusive<u16> = 64..=1518;
const LONGEST: u32 = 600;
const MOST_CHANGES: u32 = 100_000;
const CHANGES: u32 = 1000;
/// More SYNs a second than the fastest Ethernet in common use carries.
const MOST_SYNS: u32 = 150_000_000;

/// At this load some packets come due even in the shortest trial.
const LEAST_LOAD: u32 = 1000;
/// Bits a second of the fastest Ethernet in common use, and the bytes that each frame costs besides
/// its own.
const WIRE: u64 = 100_000_000_000;
const WIRE_OVERHEAD: u64 = 20;

impl BenchArgs {
    /// The largest load to try, in packets a second.
    pub(super) fn largest_load(&self) -> u32 {
        let wire = WIRE / (8 * (u64::from(self.frame) + WIRE_OVERHEAD));
        self.max_load.unwrap_or(u32::try_from(wire).unwrap_or(u32::MAX))
    }

    /// Changes of rules a second.
    pub(super) fn changes_a_second(&self) -> u32 {
        self.change_rate.unwrap_or(CHANGES)
    }

    /// What a flood is made of.
    pub(super) fn flood_kind(&self) -> FloodKind {
        self.kind.unwrap_or_default()
    }

    /// Refuses arguments out of range. Returns the scheduler.
    pub(super) fn check(&self) -> Result<Kind, BenchError> {
        let bad = |what: &str, value: &dyn core::fmt::Display, expected: String| {
            Err(BenchError::Argument(format!("--{what} {value}: expected {expected}")))
        };
        if !(1..=MOST_FLOWS).contains(&self.flows) {
            return bad("flows", &self.flows, format!("1 to {MOST_FLOWS}"));
        }
        if !(1..=MOST_DESTINATIONS).contains(&self.destinations) {
            return bad("destinations", &self.destinations, format!("1 to {MOST_DESTINATIONS}"));
        }
        if !(1..=MOST_SERVICES).contains(&self.services) {
            return bad("services", &self.services, format!("1 to {MOST_SERVICES}"));
        }
        if self.services.saturating_mul(self.destinations) > MOST_SERVERS {
            let most = MOST_SERVERS / self.services;
            return bad(
                "destinations",
                &self.destinations,
                format!("at most {most} for each of {} services", self.services),
            );
        }
        if !FRAMES.contains(&self.frame) {
            return bad("frame", &self.frame, format!("{} to {} bytes", FRAMES.start(), FRAMES.end()));
        }
        if !(1..=LONGEST).contains(&self.seconds) {
            return bad("seconds", &self.seconds, format!("1 to {LONGEST}"));
        }
        for (what, rate, most, workload) in [
            ("change-rate", self.change_rate, MOST_CHANGES, Workload::Changes),
            ("syn-rate", self.syn_rate, MOST_SYNS, Workload::Flood),
        ] {
            let Some(rate) = rate else { continue };
            if !(1..=most).contains(&rate) {
                return bad(what, &rate, format!("1 to {most} a second"));
            }
            if self.workload != workload {
                let name = workload.to_possible_value().map(|value| value.get_name().to_owned());
                return bad(what, &rate, format!("--workload {}", name.unwrap_or_default()));
            }
        }
        if let Some(kind) = self.kind.filter(|_| self.workload != Workload::Flood) {
            let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            return bad("kind", &name, "--workload flood".to_owned());
        }
        if self.search && self.workload != Workload::Established {
            return Err(BenchError::Argument("--search: expected --workload established".to_owned()));
        }
        let (min, max) = (self.min_load, self.largest_load());
        if !(LEAST_LOAD..max).contains(&min) {
            return bad(
                "min-load",
                &min,
                format!("{LEAST_LOAD} or more, and less than the largest load, {max}"),
            );
        }
        match Kind::from_name(&self.scheduler) {
            Some(kind) if kind != Kind::None => Ok(kind),
            _ => {
                let names: Vec<_> =
                    Kind::ALL.iter().filter(|kind| **kind != Kind::None).map(|kind| kind.name()).collect();
                bad("scheduler", &self.scheduler, format!("one of {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn check(words: &str) -> Result<Kind, String> {
        let cli = Cli::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
        cli.args.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_search_wants_the_established_workload_and_loads_in_order() {
        assert!(check("bench --search --min-load 5000 --max-load 20000").is_ok());
        assert!(check("bench --search --workload latency").is_err());
        assert!(check("bench --search --min-load 5000 --max-load 5000").is_err());
        assert!(check("bench --search --min-load 999").is_err());
        assert!(check("bench --max-load 20000").is_err());
    }

    #[test]
    fn rates_have_bounds_and_belong_to_a_workload() {
        assert!(check("bench --workload flood --syn-rate 1000").is_ok());
        assert!(check("bench --workload flood --kind syn-ack-sticky").is_ok());
        assert!(check("bench --workload changes --change-rate 1").is_ok());
        for (words, expected) in [
            ("bench --workload flood --syn-rate 0", "--syn-rate 0: expected 1 to 150000000 a second"),
            (
                "bench --workload flood --syn-rate 4294967295",
                "--syn-rate 4294967295: expected 1 to 150000000 a second",
            ),
            ("bench --syn-rate 5", "--syn-rate 5: expected --workload flood"),
            ("bench --kind syn-ack", "--kind syn-ack: expected --workload flood"),
            ("bench --workload latency --change-rate 5", "--change-rate 5: expected --workload changes"),
            ("bench --workload changes --change-rate 0", "--change-rate 0: expected 1 to 100000 a second"),
        ] {
            assert_eq!(check(words).err().as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_largest_load_is_what_fits_on_the_wire() {
        let cli = Cli::try_parse_from(["bench", "--search"]).map(|cli| cli.args.largest_load());
        assert_eq!(cli.ok(), Some(148_809_523));
    }
}
