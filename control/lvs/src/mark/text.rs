//! Turns rules into words. The functions are pure: data in, text out.

use std::fmt::Write as _;

use super::value::protocol_name;
use model::{MarkRule, MarkTarget, Net, Not, PortSide};

/// `-S`: the rules as commands; only the rule with `number`, if it is given.
pub fn print(rules: &[MarkRule], number: Option<usize>) -> String {
    let mut out = if number.is_some() { String::new() } else { "-P PREROUTING ACCEPT\n".to_owned() };
    for (_, rule) in chosen(rules, number) {
        let _ = writeln!(out, "{}", append(rule));
    }
    out
}

/// `save`: iptables-save's format.
pub fn save(rules: &[MarkRule]) -> String {
    let mut out = "*mangle\n:PREROUTING ACCEPT [0:0]\n".to_owned();
    for rule in rules {
        let _ = writeln!(out, "{}", append(rule));
    }
    out + "COMMIT\n"
}

/// `-L`: a table for people.
pub fn list(rules: &[MarkRule], number: Option<usize>, line_numbers: bool) -> String {
    let mut out = String::new();
    if number.is_none() {
        let title = "target     prot opt source               destination         \n";
        let numbers = if line_numbers { "num  " } else { "" };
        let _ = write!(out, "Chain PREROUTING (policy ACCEPT)\n{numbers}{title}");
    }
    for (place, rule) in chosen(rules, number) {
        if line_numbers {
            let _ = write!(out, "{place:<4} ");
        }
        let protocol =
            rule.protocol.map_or("all".to_owned(), |p| format!("{}{}", not(p), protocol_name(p.value)));
        let target = match rule.target {
            MarkTarget::Accept => "ACCEPT",
            MarkTarget::Mark { .. } => "MARK",
            MarkTarget::Return => "RETURN",
        };
        let (source, destination) = (place_of(rule.source), place_of(rule.destination));
        let line = format!("{target:<10} {protocol:<4} --  {source:<20} {destination:<20} {}", details(rule));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// A rule as the command that appends it.
pub fn append(rule: &MarkRule) -> String {
    with_terms("-A PREROUTING".to_owned(), rule)
}

/// A rule as the command that inserts it with this number.
pub fn insert(number: usize, rule: &MarkRule) -> String {
    with_terms(format!("-I PREROUTING {number}"), rule)
}

/// Adds the conditions and the target of a rule.
fn with_terms(mut out: String, rule: &MarkRule) -> String {
    let mut add = |negated, words: String| {
        let _ = write!(out, " {}{words}", if negated { "! " } else { "" });
    };
    if let Some(Not { value, negated }) = rule.source {
        add(negated, format!("-s {}", network(value)));
    }
    if let Some(Not { value, negated }) = rule.destination {
        add(negated, format!("-d {}", network(value)));
    }
    if let Some(Not { value, negated }) = &rule.in_interface {
        add(*negated, format!("-i {value}"));
    }
    if let Some(Not { value, negated }) = rule.protocol {
        add(negated, format!("-p {}", protocol_name(value)));
        if rule.source_port.is_some() || rule.destination_port.is_some() {
            add(false, format!("-m {}", protocol_name(value)));
        }
    }
    for (option, term) in [("--sport", rule.source_port), ("--dport", rule.destination_port)] {
        if let Some(Not { value, negated }) = term {
            add(negated, format!("{option} {}", range(value)));
        }
    }
    if let Some(Not { value, negated }) = &rule.multiport {
        add(false, "-m multiport".to_owned());
        let option = match value.side {
            PortSide::Destination => "--dports",
            PortSide::Either => "--ports",
            PortSide::Source => "--sports",
        };
        add(*negated, format!("{option} {}", ranges(&value.ports)));
    }
    add(
        false,
        match rule.target {
            MarkTarget::Accept => "-j ACCEPT".to_owned(),
            MarkTarget::Mark { value, mask } => format!("-j MARK --set-xmark {value:#x}/{mask:#x}"),
            MarkTarget::Return => "-j RETURN".to_owned(),
        },
    );
    out
}

fn chosen(rules: &[MarkRule], number: Option<usize>) -> impl Iterator<Item = (usize, &MarkRule)> {
    (1..).zip(rules).filter(move |(place, _)| number.is_none_or(|number| number == *place))
}

/// The parts of a rule that have no column in the table.
fn details(rule: &MarkRule) -> String {
    let mut words = Vec::new();
    if let Some(term) = &rule.in_interface {
        words.push(format!("in {}{}", not_ref(term), term.value));
    }
    let ports = [("spt", rule.source_port), ("dpt", rule.destination_port)];
    if let Some(protocol) = rule.protocol.filter(|_| ports.iter().any(|(_, term)| term.is_some())) {
        words.push(protocol_name(protocol.value));
    }
    for (word, term) in ports {
        if let Some(term) = term {
            let s = if term.value.0 == term.value.1 { "" } else { "s" };
            words.push(format!("{word}{s}:{}{}", not(term), range(term.value)));
        }
    }
    if let Some(term) = &rule.multiport {
        let side = match term.value.side {
            PortSide::Destination => "dports",
            PortSide::Either => "ports",
            PortSide::Source => "sports",
        };
        words.push(format!("multiport {side} {}{}", not_ref(term), ranges(&term.value.ports)));
    }
    if let MarkTarget::Mark { value, mask } = rule.target {
        words.push(match (value, mask) {
            (0, mask) => format!("MARK and {:#x}", !mask),
            (value, mask) if value == mask => format!("MARK or {value:#x}"),
            (value, 0) => format!("MARK xor {value:#x}"),
            (value, u32::MAX) => format!("MARK set {value:#x}"),
            (value, mask) => format!("MARK xset {value:#x}/{mask:#x}"),
        });
    }
    words.join(" ")
}

fn not<T: Copy>(term: Not<T>) -> &'static str {
    not_ref(&term)
}

fn not_ref<T>(term: &Not<T>) -> &'static str {
    if term.negated { "!" } else { "" }
}

/// A network in a table. A single address has no length.
fn place_of(term: Option<Not<Net>>) -> String {
    let Some(term) = term else { return "0.0.0.0/0".to_owned() };
    let network = network(term.value);
    format!("{}{}", not(term), network.strip_suffix("/32").unwrap_or(&network))
}

fn network(net: Net) -> String {
    let mask = net.mask.to_bits();
    if mask.leading_ones() + mask.trailing_zeros() >= u32::BITS {
        format!("{}/{}", net.addr, mask.leading_ones())
    } else {
        format!("{}/{}", net.addr, net.mask)
    }
}

fn ranges(ports: &[(u16, u16)]) -> String {
    ports.iter().map(|ports| range(*ports)).collect::<Vec<_>>().join(",")
}

fn range((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}:{last}") }
}
