//! The socket options of an IPv4 socket, level 0, 1152 to 1167.
//!
//! `ipvsadm` uses them if there is no generic netlink. They have no IPv6, no persistence engine, no
//! FULLNAT, and only IP in IP as a tunnel. So services and destinations with IPv6 are not shown,
//! FULLNAT is shown as NAT, and the options of a tunnel are not shown.
//!
//! [`set()`] turns a `setsockopt` into a request to the director. [`get()`] begins a `getsockopt`,
//! and [`Pending`] fills its buffer with the director's answer.

mod get;
mod layout;
mod set;

pub use get::{Pending, Step, get};
pub use set::set;

use nix::errno::Errno;

/// Checks that the option is one of those that Linux gives to IPVS.
fn check(option: i32) -> Result<(), Errno> {
    if (FIRST..=LAST).contains(&option) { Ok(()) } else { Err(Errno::ENOPROTOOPT) }
}

const FIRST: i32 = 1152;
const LAST: i32 = 1167;
