//! A mark rule as the operator writes it: conditions that must all hold, and an action.

use core::net::Ipv4Addr;
use std::vec::Vec;

use crate::io::PortId;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The source address (`-s`).
    pub source: Option<Term<Net>>,
    /// The destination address (`-d`).
    pub destination: Option<Term<Net>>,
    /// The ports by which the packet may have come in (`-i`).
    pub ingress: Option<Term<Vec<PortId>>>,
    /// IP protocol number (`-p`).
    pub protocol: Option<Term<u8>>,
    /// The TCP or UDP ports (`--sport`, `--dport`, `-m multiport`).
    pub ports: Vec<Term<Ports>>,
    /// The action for a packet for which all conditions hold.
    pub action: Action,
}

/// A condition, or its opposite (`!`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term<T> {
    /// The condition.
    pub value: T,
    /// Whether the condition must not hold.
    pub negated: bool,
}

/// Addresses that are equal to `addr` in the bits of `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// One of the addresses.
    pub addr: Ipv4Addr,
    /// The bits that are compared. They need not be contiguous.
    pub mask: Ipv4Addr,
}

/// Ports on one side of a packet, or on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Which port of the packet is compared.
    pub side: Side,
    /// First and last port of each range.
    pub ranges: Vec<(u16, u16)>,
}

/// A port's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The destination port.
    Destination,
    /// Either port: one of the two must be in a range.
    Either,
    /// The source port.
    Source,
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The later rules are skipped (`-j ACCEPT`, `-j RETURN`).
    End,
    /// The bits of `mask` are cleared, then the bits of `value` are inverted
    /// (`-j MARK --set-xmark`). The later rules are compared too.
    Set {
        /// The bits that are inverted.
        value: u32,
        /// The bits that are cleared before.
        mask: u32,
    },
}

impl Net {
    /// Whether `addr` is one of these addresses.
    pub const fn contains(&self, addr: Ipv4Addr) -> bool {
        (addr.to_bits() ^ self.addr.to_bits()) & self.mask.to_bits() == 0
    }
}
