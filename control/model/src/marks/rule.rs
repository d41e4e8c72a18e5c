//! A mark rule: its conditions and what it does.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// One rule. All its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRule {
    /// `-s`
    pub source: Option<Not<Net>>,
    /// `-d`
    pub destination: Option<Not<Net>>,
    /// `-i`: a host interface's name; with `+` behind it, the beginning of one.
    pub in_interface: Option<Not<String>>,
    /// `-p`: an IP protocol number, never 0.
    pub protocol: Option<Not<u8>>,
    /// `--sport`: first and last.
    pub source_port: Option<Not<(u16, u16)>>,
    /// `--dport`: first and last.
    pub destination_port: Option<Not<(u16, u16)>>,
    /// `-m multiport`
    pub multiport: Option<Not<Multiport>>,
    /// `-j`
    pub target: MarkTarget,
}

/// A condition, or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Not<T> {
    /// What is asked for.
    pub value: T,
    /// `!`: whether it is the others that are meant.
    pub negated: bool,
}

/// Addresses that agree in the bits of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// The bits they agree in; 0 outside the mask.
    pub addr: Ipv4Addr,
    /// Any mask, contiguous or not.
    pub mask: Ipv4Addr,
}

impl Net {
    /// The network that `addr` is in.
    pub const fn new(addr: Ipv4Addr, mask: Ipv4Addr) -> Self {
        Self { addr: Ipv4Addr::from_bits(addr.to_bits() & mask.to_bits()), mask }
    }
}

/// A list of ports and ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multiport {
    /// Which of a packet's ports.
    pub side: PortSide,
    /// First and last of each range, in the order they were said.
    pub ports: Vec<(u16, u16)>,
}

/// Which of a packet's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortSide {
    /// `--dports`
    Destination,
    /// `--ports`: either.
    Either,
    /// `--sports`
    Source,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkTarget {
    /// No rule after this one is looked at.
    Accept,
    /// Clears the bits of `mask`, turns over those of `value`, and the rules after it are looked
    /// at.
    Mark {
        /// Bits turned over.
        value: u32,
        /// Bits cleared before.
        mask: u32,
    },
    /// As `Accept`: there is no chain to return to.
    Return,
}

impl MarkRule {
    /// A rule for all packets.
    pub const fn new(target: MarkTarget) -> Self {
        Self {
            source: None,
            destination: None,
            in_interface: None,
            protocol: None,
            source_port: None,
            destination_port: None,
            multiport: None,
            target,
        }
    }

    /// How much room it takes: a rule that either port may fit is two.
    pub(super) fn room(&self) -> usize {
        let either = |term: &Not<Multiport>| term.value.side == PortSide::Either && !term.negated;
        1 + usize::from(self.multiport.as_ref().is_some_and(either))
    }

    /// Whether its `-i` names any of `interfaces`; true without.
    pub(super) fn names_any(&self, interfaces: &[String]) -> bool {
        self.in_interface.is_none() || self.named(interfaces).next().is_some()
    }

    /// Which of `interfaces` its `-i` names, `!` not heeded.
    pub fn named<'a>(&'a self, interfaces: &'a [String]) -> impl Iterator<Item = usize> + 'a {
        let name = self.in_interface.as_ref().map(|term| term.value.as_str());
        interfaces
            .iter()
            .enumerate()
            .filter_map(move |(index, interface)| names(name?, interface).then_some(index))
    }
}

/// Whether `name`, which may end in `+`, is what `interface` is called.
fn names(name: &str, interface: &str) -> bool {
    match name.strip_suffix('+') {
        Some(beginning) => interface.starts_with(beginning),
        None => name == interface,
    }
}
