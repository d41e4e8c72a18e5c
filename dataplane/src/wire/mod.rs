//! Views of headers, as they are in a packet.
//!
//! Each view is a `zerocopy` struct of network-endian fields. So nothing is copied, and no code can
//! forget to swap bytes. A view checks nothing: [`crate::meta`] checks lengths once, and later
//! stages rely on that.

pub mod checksum;
pub mod ether;
pub mod icmp;
pub mod ipv4;
pub mod l4;
pub mod unfinished;
