//! The grammars of LVS and their listings: `ipvsadm`'s words and those of `iptables` for firewall
//! marks.
//!
//! [`ipvs`] is the `ipvsadm` command line, [`mark`] the verb of firewall marks. Both turn words
//! into requests and answers into text; whom they ask is a parameter.

#![forbid(unsafe_code)]

pub mod ipvs;
pub mod mark;
