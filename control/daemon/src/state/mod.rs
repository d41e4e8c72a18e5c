//! What outlives the daemon: rules, mark rules, timeouts and tunables.
//!
//! The control loop takes a copy ([`Kept`]) when something has changed, and a thread writes it
//! ([`keeper::Keeper`]). An answer never waits for the disk. The write begins within 100 ms after
//! the answer, so a change is lost only if the daemon is killed, or the machine fails, within that
//! time. A write replaces the whole file ([`store`]): a daemon that starts reads the state before a
//! change or the state after it, wherever the write was cut off.

pub(super) mod disk;
pub(super) mod keeper;
pub(super) mod store;

use std::net::IpAddr;

use director::compile::Director;
use model::{Change, DestSpec, MarkChange, MarkRule, ServiceSpec, Timeouts};
use serde::{Deserialize, Serialize};

/// The first line of the file. The number changes when older daemons could not read the file.
const FIRST: &str = "vipline state 1";

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    services: Vec<KeptService>,
    marks: Vec<MarkRule>,
    timeouts: Option<Timeouts>,
    /// Those that are not at their defaults: name and value.
    tunables: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeptService {
    spec: ServiceSpec,
    local_addresses: Vec<IpAddr>,
    /// The oldest first. So adding them in this order gives the order that schedulers know.
    destinations: Vec<DestSpec>,
}

/// One line of the file, in JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Change(Change),
    Mark(MarkRule),
}

/// The changes that make a state on empty tables, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) rules: Vec<Change>,
    pub(super) marks: Vec<MarkChange>,
}

impl Kept {
    /// What the director has now.
    pub(super) fn of(director: &Director) -> Self {
        let model = director.model();
        let services = model.services().map(|(_, service)| KeptService {
            spec: service.spec.clone(),
            local_addresses: service.local_addresses.clone(),
            destinations: {
                let mut newest_first: Vec<_> =
                    model.destinations(service).map(|(_, dest)| dest.spec).collect();
                newest_first.reverse();
                newest_first
            },
        });
        let tunables = model.tunables().changed().map(|(tunable, value)| (tunable.name.to_owned(), value));
        Self {
            services: services.collect(),
            marks: director.marks().to_vec(),
            timeouts: Some(model.timeouts()).filter(|timeouts| *timeouts != Timeouts::default()),
            tunables: tunables.collect(),
        }
    }

    /// The file's text.
    fn text(self) -> String {
        let mut text = format!("{FIRST}\n");
        let mut put = |line: &Line| {
            // Only a map with odd keys could fail, and there is none.
            text.push_str(&serde_json::to_string(line).unwrap_or_default());
            text.push('\n');
        };
        for KeptService { spec, local_addresses, destinations } in self.services {
            let key = spec.key;
            put(&Line::Change(Change::AddService(spec)));
            local_addresses
                .into_iter()
                .for_each(|addr| put(&Line::Change(Change::AddLocalAddress(key, addr))));
            destinations.into_iter().for_each(|dest| put(&Line::Change(Change::AddDestination(key, dest))));
        }
        self.timeouts.into_iter().for_each(|timeouts| put(&Line::Change(Change::SetTimeouts(timeouts))));
        for (name, value) in self.tunables {
            put(&Line::Change(Change::SetTunable(name, value)));
        }
        self.marks.into_iter().for_each(|rule| put(&Line::Mark(rule)));
        let sum = checksum(text.as_bytes());
        text.push_str(&format!("checksum {sum:016x}\n"));
        text
    }
}

impl Changes {
    /// Reads the file's text. The error says what is wrong with it.
    fn read(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is no text")?;
        let (body, last) = match text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n')) {
            Some((body, last)) => (&text[..=body.len()], last),
            None => return Err("it is cut off".to_owned()),
        };
        let first = body.lines().next().unwrap_or_default();
        if first != FIRST {
            return Err(format!("line 1 is {first:?}; expected {FIRST:?}"));
        }
        let sum =
            last.strip_prefix("checksum ").ok_or("it is cut off: the line with the checksum is missing")?;
        if sum != format!("{:016x}", checksum(body.as_bytes())) {
            return Err("the checksum is wrong".to_owned());
        }
        let mut changes = Self::default();
        for (line, number) in body.lines().zip(1..).skip(1) {
            match serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))? {
                Line::Change(change) => changes.rules.push(change),
                Line::Mark(rule) => changes.marks.push(MarkChange::Append(rule)),
            }
        }
        Ok(changes)
    }
}

/// FNV-1a with 64 bits. It finds a file that was cut or changed by accident.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use model::{DestKey, ForwardingMethod, MarkTarget, ModelOptions, ServiceFlags, ServiceKey};
    use sched::MhSize;

    use super::*;

    fn addr(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    fn empty() -> Director {
        Director::new(ModelOptions::served(16, MhSize::default()), Vec::new(), 1).0
    }

    /// Rules that ipvsadm's words cannot say, as keepalived may make them.
    fn odd_rules() -> Vec<Change> {
        let key = ServiceKey::tcp(addr(100), 0);
        let mut spec = ServiceSpec::new(key, "sh");
        (spec.timeout, spec.flags) = (3_000_000, ServiceFlags::SCHED_3 | ServiceFlags::ONE_PACKET);
        let route = DestSpec::new(DestKey::new(addr(12), 81), ForwardingMethod::DirectRoute, 0);
        let dest = |last| DestSpec {
            upper: 9,
            lower: 3,
            ..DestSpec::new(DestKey::new(addr(last), 80), ForwardingMethod::FullNat, i32::MAX)
        };
        vec![
            Change::AddService(spec),
            Change::AddLocalAddress(key, addr(200)),
            Change::AddDestination(key, dest(11)),
            Change::AddDestination(key, route),
            Change::AddDestination(key, dest(10)),
            Change::SetTimeouts(Timeouts { tcp: 20_000_000, tcp_fin: 1, udp: 2 }),
            Change::SetTunable("sync_threshold".to_owned(), "4\t60".to_owned()),
        ]
    }

    #[test]
    fn whatever_the_model_takes_is_read_back_exactly() {
        let mut director = empty();
        let marks = vec![MarkChange::Append(MarkRule::new(MarkTarget::Mark { value: u32::MAX, mask: 7 }))];
        let rules = odd_rules();
        assert!(director.change(rules.clone()).is_ok());
        assert_eq!(director.change_marks(marks.clone()), Ok(()));
        let kept = Kept::of(&director);
        let text = kept.clone().text();
        assert_eq!(
            Changes::read(text.as_bytes()),
            Ok(Changes { rules: rules.clone(), marks: marks.clone() })
        );
        let mut again = empty();
        assert!(again.change(rules).is_ok());
        assert_eq!(again.change_marks(marks), Ok(()));
        assert_eq!(Kept::of(&again), kept);
    }

    #[test]
    fn a_text_that_was_cut_or_changed_is_never_read() {
        let mut director = empty();
        assert!(director.change(odd_rules()).is_ok());
        let text = Kept::of(&director).text().into_bytes();
        for end in 0..text.len() {
            assert!(Changes::read(&text[..end]).is_err(), "cut after {end} bytes");
        }
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert!(Changes::read(&changed).is_err(), "byte {place} changed");
        }
    }

    #[test]
    fn the_error_says_what_is_wrong() {
        let with_sum = |body: &str| format!("{body}checksum {:016x}\n", checksum(body.as_bytes()));
        for (text, said) in [
            (String::new(), "it is cut off"),
            ("vipline state 1\n{}\n".to_owned(), "it is cut off: the line with the checksum is missing"),
            (with_sum("vipline state 2\n"), "line 1 is \"vipline state 2\"; expected \"vipline state 1\""),
            ("vipline state 1\nchecksum 0\n".to_owned(), "the checksum is wrong"),
        ] {
            assert_eq!(Changes::read(text.as_bytes()), Err(said.to_owned()));
        }
        let said =
            Changes::read(with_sum("vipline state 1\n{\"change\":\"flush\"}\n{\"new\":1}\n").as_bytes());
        assert!(said.as_ref().is_err_and(|said| said.starts_with("line 3: unknown variant")), "{said:?}");
    }
}
