//! Turns options into rules.

use super::options::{EXPECTED_MATCH, EXPECTED_TARGET, Given, Opt};
use super::parse::UsageError;
use super::value::{self, wrong};
use crate::ipvs::Names;
use model::{MarkRule, MarkTarget, Multiport, Net, Not, PortSide, Protocol};

/// The rules that the options describe: one for each pair of addresses in lists.
pub(super) fn rules(given: &[Given], names: &dyn Names) -> Result<Vec<MarkRule>, UsageError> {
    let options = Options(given);
    let mut rule = MarkRule::new(target(&options)?);
    rule.protocol = protocol(&options)?;
    check_modules(&options, rule.protocol)?;
    rule.in_interface = interface(&options)?;
    let range = |opt| {
        let read = |given: &Given| {
            let protocol = port_protocol(given, rule.protocol)?;
            let value = value::port_range(&given.said, &given.value, protocol, names)?;
            Ok(Not { value, negated: given.negated })
        };
        options.get(opt).map(read).transpose()
    };
    (rule.source_port, rule.destination_port) = (range(Opt::SourcePort)?, range(Opt::DestinationPort)?);
    rule.multiport = multiport(&options, rule.protocol, names)?;
    let mut rules = Vec::new();
    for source in networks(&options, Opt::Source)? {
        for destination in networks(&options, Opt::Destination)? {
            rules.push(MarkRule { source, destination, ..rule.clone() });
        }
    }
    Ok(rules)
}

struct Options<'a>(&'a [Given]);

impl Options<'_> {
    fn get(&self, opt: Opt) -> Option<&Given> {
        self.0.iter().find(|given| given.opt == opt)
    }

    fn first(&self, opts: &[Opt]) -> Option<&Given> {
        self.0.iter().find(|given| opts.contains(&given.opt))
    }
}

const MARKS: [Opt; 5] = [Opt::SetMark, Opt::SetXmark, Opt::AndMark, Opt::OrMark, Opt::XorMark];
const LISTS: [Opt; 3] = [Opt::SourcePorts, Opt::DestinationPorts, Opt::Ports];

fn target(options: &Options<'_>) -> Result<MarkTarget, UsageError> {
    let Some(jump) = options.get(Opt::Jump) else {
        return Err(UsageError(format!("-j: missing: expected {EXPECTED_TARGET}")));
    };
    let mut marks = options.0.iter().filter(|given| MARKS.contains(&given.opt));
    let (first, second) = (marks.next(), marks.next());
    match (jump.value.as_str(), first, second) {
        ("MARK", Some(given), None) => mark(given),
        ("MARK", Some(first), Some(second)) => {
            Err(UsageError(format!("{}: {} is given: expected one of them", second.said, first.said)))
        }
        ("MARK", None, _) => Err(wrong(
            &jump.said,
            "MARK",
            "--set-mark, --set-xmark, --and-mark, --or-mark or --xor-mark with it",
        )),
        ("ACCEPT" | "RETURN", Some(given), _) => {
            Err(UsageError(format!("{}: expected -j MARK with it", given.said)))
        }
        ("ACCEPT", None, _) => Ok(MarkTarget::Accept),
        ("RETURN", None, _) => Ok(MarkTarget::Return),
        (other, ..) => Err(wrong(&jump.said, other, EXPECTED_TARGET)),
    }
}

/// All five options have one form: clear some bits, invert some bits (`libxt_MARK.c`).
fn mark(given: &Given) -> Result<MarkTarget, UsageError> {
    let bits = || {
        let bits = value::number(&given.value);
        bits.ok_or_else(|| wrong(&given.said, &given.value, "a number from 0 to 0xffffffff"))
    };
    let (value, mask) = match given.opt {
        Opt::AndMark => (0, !bits()?),
        Opt::OrMark => (bits()?, bits()?),
        Opt::XorMark => (bits()?, 0),
        opt => {
            let (value, mask) = value::mark(&given.said, &given.value)?;
            let mask = mask.unwrap_or(u32::MAX);
            (value, if opt == Opt::SetMark { mask | value } else { mask })
        }
    };
    Ok(MarkTarget::Mark { value, mask })
}

fn protocol(options: &Options<'_>) -> Result<Option<Not<u8>>, UsageError> {
    let Some(given) = options.get(Opt::Protocol) else { return Ok(None) };
    match value::protocol(&given.said, &given.value)? {
        Some(value) => Ok(Some(Not { value, negated: given.negated })),
        None if given.negated => Err(wrong("! -p", &given.value, "a protocol: `! -p all` matches no packet")),
        None => Ok(None),
    }
}

/// Checks that the matches of `-m` exist and have the options they need.
fn check_modules(options: &Options<'_>, protocol: Option<Not<u8>>) -> Result<(), UsageError> {
    for given in options.0.iter().filter(|given| given.opt == Opt::Match) {
        let needed = match given.value.as_str() {
            "multiport" if options.first(&LISTS).is_some() => continue,
            "multiport" => {
                return Err(wrong(&given.said, "multiport", "--sports, --dports or --ports with it"));
            }
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            "comment" => continue,
            other => return Err(wrong(&given.said, other, EXPECTED_MATCH)),
        };
        if protocol != Some(Not { value: needed.number(), negated: false }) {
            return Err(wrong(&given.said, &given.value, &format!("-p {} with it", given.value)));
        }
    }
    Ok(())
}

/// The protocol of an option's ports.
fn port_protocol(given: &Given, protocol: Option<Not<u8>>) -> Result<Protocol, UsageError> {
    let known = protocol.filter(|term| !term.negated).and_then(|term| Protocol::from_number(term.value));
    known.ok_or_else(|| UsageError(format!("{}: expected -p tcp, -p udp or -p sctp with it", given.said)))
}

fn multiport(
    options: &Options<'_>,
    protocol: Option<Not<u8>>,
    names: &dyn Names,
) -> Result<Option<Not<Multiport>>, UsageError> {
    let mut lists = options.0.iter().filter(|given| LISTS.contains(&given.opt));
    let Some(given) = lists.next() else { return Ok(None) };
    if let Some(second) = lists.next() {
        return Err(UsageError(format!("{}: {} is given: expected one of them", second.said, given.said)));
    }
    let loaded = options.0.iter().any(|given| given.opt == Opt::Match && given.value == "multiport");
    if !loaded {
        return Err(UsageError(format!("{}: expected -m multiport with it", given.said)));
    }
    let protocol = port_protocol(given, protocol)?;
    let side = match given.opt {
        Opt::SourcePorts => PortSide::Source,
        Opt::DestinationPorts => PortSide::Destination,
        _ => PortSide::Either,
    };
    let ports = value::port_list(&given.said, &given.value, protocol, names)?;
    Ok(Some(Not { value: Multiport { side, ports }, negated: given.negated }))
}

fn interface(options: &Options<'_>) -> Result<Option<Not<String>>, UsageError> {
    let Some(given) = options.get(Opt::InInterface) else { return Ok(None) };
    let name = given.value.as_str();
    if name.is_empty() || name.len() > MOST_INTERFACE || name.contains(['/', ' ', '\t', '!']) {
        return Err(wrong(&given.said, name, "the name of a host interface, 15 characters at most"));
    }
    Ok(match (name, given.negated) {
        ("+", false) => None,
        _ => Some(Not { value: name.to_owned(), negated: given.negated }),
    })
}

/// The most characters of an interface's name.
const MOST_INTERFACE: usize = 15;

fn networks(options: &Options<'_>, opt: Opt) -> Result<Vec<Option<Not<Net>>>, UsageError> {
    let Some(given) = options.get(opt) else { return Ok(vec![None]) };
    let nets = value::nets(&given.said, &given.value)?;
    if given.negated && nets.len() > 1 {
        return Err(wrong(&format!("! {}", given.said), &given.value, "one network"));
    }
    let condition = |value: Net| {
        let all = value.mask.is_unspecified() && !given.negated;
        (!all).then_some(Not { value, negated: given.negated })
    };
    Ok(nets.into_iter().map(condition).collect())
}
