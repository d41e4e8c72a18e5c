//! A mark rule: its conditions and its target.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// One rule. All its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRule {
    /// `-s`
    pub source: Option<Not<Net>>,
    /// `-d`
    pub destination: Option<Not<Net>>,
    /// `-i`: the name of a host interface. With `+` behind it, the beginning of a name.
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
    /// The value of the condition.
    pub value: T,
    /// `!`: whether the condition holds for all other values.
    pub negated: bool,
}

/// Addresses that agree in the bits of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// The common bits; 0 outside the mask.
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
    /// First and last port of each range, in the given order.
    pub ports: Vec<(u16, u16)>,
}

/// Which of a packet's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortSide {
    /// `--dports`
    Destination,
    /// `--ports`: source or destination port.
    Either,
    /// `--sports`
    Source,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkTarget {
    /// No later rule is applied.
    Accept,
    /// Clears the bits of `mask`, then inverts those of `value`. Later rules are applied.
    Mark {
        /// Bits to invert.
        value: u32,
        /// Bits to clear first.
        mask: u32,
    },
    /// Like `Accept`: there is no chain to return to.
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

    /// How many places the rule takes: two if `--ports` may match either port, otherwise one.
    pub(super) fn room(&self) -> usize {
        let either = |term: &Not<Multiport>| term.value.side == PortSide::Either && !term.negated;
        1 + usize::from(self.multiport.as_ref().is_some_and(either))
    }

    /// Whether `-i` names any of `interfaces`; true without `-i`.
    pub(super) fn names_any(&self, interfaces: &[String]) -> bool {
        self.in_interface.is_none() || self.named(interfaces).next().is_some()
    }

    /// The indices of the `interfaces` that `-i` names. `!` is ignored.
    pub fn named<'a>(&'a self, interfaces: &'a [String]) -> impl Iterator<Item = usize> + 'a {
        let name = self.in_interface.as_ref().map(|term| term.value.as_str());
        interfaces
            .iter()
            .enumerate()
            .filter_map(move |(index, interface)| names(name?, interface).then_some(index))
    }
}

/// Whether `name`, which may end in `+`, fits `interface`.
fn names(name: &str, interface: &str) -> bool {
    match name.strip_suffix('+') {
        Some(beginning) => interface.starts_with(beginning),
        None => name == interface,
    }
}
