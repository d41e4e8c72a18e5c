//! The bytes that programs exchange with Linux IPVS: `ipvsadm` and `keepalived` as Debian builds
//! them speak these.
//!
//! Linux has two doors, and so has this module: [`netlink`] is the generic netlink family `IPVS`,
//! [`sockopt`] the older socket options, which know IPv4 alone. Both turn bytes into an
//! [`api::Request`] and the [`api::Response`] into bytes. Nothing here opens a socket or asks
//! anybody: who does so passes the bytes in and out.
//!
//! Linux 6.1 is the model (`net/netfilter/ipvs/ip_vs_ctl.c`, `net/netlink`): the checks, their
//! order and their errors are Linux's. `control/lvs/tests/wire` holds what Linux answered, and the
//! tests compare byte by byte. These differences are meant:
//!
//! * What this director does not carry is refused by [`errno()`].
//! * Linux takes any number for a protocol, a method or the type of a tunnel. Here an unknown protocol
//!   is `EPROTONOSUPPORT`, an unknown method or tunnel `EINVAL`.
//! * Synchronization daemons cannot be started: `EPROTONOSUPPORT`. None is ever running.
//! * FULLNAT and local addresses have attributes and commands of their own, with numbers that Linux
//!   is far from (`netlink/family.rs`). A program that does not know them sees NAT.

mod errno;
mod fields;
pub mod netlink;
pub mod sockopt;

pub use errno::errno;
