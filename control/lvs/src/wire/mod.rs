//! The bytes that programs exchange with Linux IPVS. Debian's `ipvsadm` and `keepalived` use them.
//!
//! Linux has two interfaces: the generic netlink family `IPVS` ([`netlink`]), and the older socket
//! options ([`sockopt`]), which support only IPv4. Both modules turn bytes into an
//! [`api::Request`], and the [`api::Response`] into bytes. They open no socket and talk to no
//! director: the caller passes bytes, requests and responses.
//!
//! The checks, their order and their errors are those of Linux 6.1
//! (`net/netfilter/ipvs/ip_vs_ctl.c`, `net/netlink`). `control/lvs/tests/all/wire` holds Linux's
//! answers, and the tests compare byte by byte. These differences are intended:
//!
//! * Features that this director lacks are refused with an [`errno()`] of our choice.
//! * Linux takes any number for a protocol, a method or the type of a tunnel. Here an unknown
//!   protocol is `EPROTONOSUPPORT`, an unknown method or tunnel `EINVAL`.
//! * Synchronization daemons cannot be started: `EPROTONOSUPPORT`. None is ever running.
//! * FULLNAT and local addresses have our own attributes and commands (`netlink/family.rs`). Their
//!   numbers are far above Linux's. A program that does not know them sees NAT.

mod errno;
mod fields;
pub mod netlink;
pub mod sockopt;

pub use errno::errno;
pub(crate) use fields::VERSION;
