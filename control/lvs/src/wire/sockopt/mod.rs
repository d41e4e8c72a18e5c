//! The socket options of an IPv4 socket, level 0, 1152 to 1167.
//!
//! `ipvsadm` uses them where there is no generic netlink. They know no IPv6, no persistence engine,
//! no FULLNAT and no tunnel but IP in IP: what has IPv6 in it is not there, FULLNAT shows as NAT, and
//! the options of a tunnel do not show.
//!
//! [`set()`] gives what a `setsockopt` asks of the director, [`get()`] what a `getsockopt` asks and,
//! with [`Pending`], what is in its buffer afterwards.

mod get;
mod layout;
mod set;

pub use get::{Pending, Step, get};
pub use set::set;

use nix::errno::Errno;

/// The options that Linux gives to IPVS; for the others there is nobody.
fn check(option: i32) -> Result<(), Errno> {
    if (FIRST..=LAST).contains(&option) { Ok(()) } else { Err(Errno::ENOPROTOOPT) }
}

const FIRST: i32 = 1152;
const LAST: i32 = 1167;
