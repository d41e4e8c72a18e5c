//! The grammars of LVS and their listings: that of `ipvsadm`, and that of `iptables` for firewall
//! marks.
//!
//! [`ipvs`] is the `ipvsadm` command line, [`mark`] the verb of firewall marks. Both turn words
//! into requests, and answers into text. The connection to the daemon is a parameter. [`saved`] reads
//! files with everything. [`sysctl`] is the verb of the tunables. [`wire`] turns the bytes that
//! programs send to Linux IPVS into requests, and answers into the bytes that Linux would send.
//! [`proc`] makes the texts of Linux's files.

#![forbid(unsafe_code)]

pub mod ipvs;
pub mod mark;
pub mod proc;
pub mod saved;
pub mod sysctl;
pub mod wire;
