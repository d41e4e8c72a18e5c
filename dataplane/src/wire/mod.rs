//! Views of headers as they lie in a packet.
//!
//! Each is a `zerocopy` struct of network-endian fields: no copy, no unswapped port. A view judges
//! nothing; [`crate::meta`] checks lengths once and the stages after it rely on that.

pub mod checksum;
pub mod ether;
pub mod icmp;
pub mod ipv4;
pub mod l4;
pub mod unfinished;
