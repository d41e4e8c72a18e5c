//! The daemon `viplined` and the tool `vipline`: one model of the rules and the doors to it.
//!
//! [`model`] holds the rules as pure data; [`api`] is the daemon's control socket; [`ipvs`] is the `ipvsadm`
//! command line on top of it, [`mark`] the verb of firewall marks and [`tool`] the rest of `vipline`; [`config`] is
//! the file an operator writes; [`linux`] is the kernel's side: host interfaces, routes, neighbours; [`daemon`]
//! puts all of it to work, and [`sim`] does so in memory.

#![forbid(unsafe_code)]

pub mod api;
pub mod bench;
pub mod config;
pub mod daemon;
pub mod ipvs;
pub mod linux;
pub mod mark;
pub mod model;
pub mod sim;
pub mod tool;
