//! `libvipline_ipvs.so`: leads a program's words for Linux IPVS to Vipline.
//!
//! `vipline exec` puts this library in front of the C library (`LD_PRELOAD`). It has functions with
//! the names of the C library's. Each of them looks at its arguments. If they name IPVS, the daemon
//! is asked over its socket `ipvs.sock`; otherwise the C library's function is called.
//!
//! * `hooks`: sockets. A socket of generic netlink stays the kernel's until the program sends a
//!   message for IPVS on it (`conversation`).
//! * `files`: the files `/proc/net/ip_vs*`, and `modprobe ip_vs`.
//!
//! The library must never end the program, never block it for ever, and never hold a lock while it
//! waits. A program without IPVS pays one look into a table for each call (`table`).
//!
//! `control/lvs/src/wire/netlink` has the messages, and says which of them are Vipline's own.

#![cfg_attr(test, allow(dead_code, reason = "the tests are built without the hooks"))]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("the hooks of open and fcntl rely on the calling convention of x86-64 and AArch64");

mod conversation;
mod daemon;
// The tests must not get these functions in front of the C library's.
#[cfg(not(test))]
mod files;
#[cfg(not(test))]
mod hooks;
mod message;
mod real;
mod table;
mod told;
