//! A rule as it is said: conditions that must all hold, and what then happens.

use core::net::Ipv4Addr;
use std::vec::Vec;

use crate::io::PortId;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where the packet comes from (`-s`).
    pub source: Option<Term<Net>>,
    /// Where it goes (`-d`).
    pub destination: Option<Term<Net>>,
    /// The ports it may have come in by (`-i`).
    pub ingress: Option<Term<Vec<PortId>>>,
    /// IP protocol number (`-p`).
    pub protocol: Option<Term<u8>>,
    /// TCP or UDP ports (`--sport`, `--dport`, `-m multiport`).
    pub ports: Vec<Term<Ports>>,
    /// What happens to a packet that all of this is true of.
    pub action: Action,
}

/// A condition, or its opposite (`!`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term<T> {
    /// What is asked for.
    pub value: T,
    /// Whether it is the others that are meant.
    pub negated: bool,
}

/// Addresses that agree with `addr` in the bits of `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// Any of the addresses.
    pub addr: Ipv4Addr,
    /// Which bits count; any, contiguous or not.
    pub mask: Ipv4Addr,
}

/// Ports on one side of a packet, or on either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Which of the packet's ports.
    pub side: Side,
    /// First and last port of each range.
    pub ranges: Vec<(u16, u16)>,
}

/// A port's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The port the packet goes to.
    Destination,
    /// One of the two, whichever.
    Either,
    /// The port the packet comes from.
    Source,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// No rule after this one is looked at (`-j ACCEPT`, `-j RETURN`).
    End,
    /// The bits of `mask` are cleared, then those of `value` turned over; the rules after it are
    /// looked at (`-j MARK --set-xmark`).
    Set {
        /// Bits turned over.
        value: u32,
        /// Bits cleared before.
        mask: u32,
    },
}

impl Net {
    /// Whether `addr` is one of them.
    pub const fn contains(&self, addr: Ipv4Addr) -> bool {
        (addr.to_bits() ^ self.addr.to_bits()) & self.mask.to_bits() == 0
    }
}
