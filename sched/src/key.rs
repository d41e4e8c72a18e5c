//! The packet that wants a destination.

use core::net::IpAddr;

/// The packet that wants a destination: all the fields that schedulers read.
///
/// The caller has resolved the roles. For a packet quoted inside an ICMP error they are swapped
/// (`net/netfilter/ipvs/ip_vs_sh.c: ip_vs_sh_schedule`, `ip_vs_iph_inverse`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// CIP.
    pub client: IpAddr,
    /// Client port, host order.
    pub client_port: u16,
    /// The packet's destination address (the VIP, or any address behind a firewall mark).
    pub target: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
}

impl Key {
    /// The client port if the protocol is TCP, UDP or SCTP; otherwise 0.
    ///
    /// Linux: `net/netfilter/ipvs/ip_vs_sh.c: ip_vs_sh_get_port`.
    pub(crate) const fn hashed_port(&self) -> u16 {
        match self.protocol {
            TCP | UDP | SCTP => self.client_port,
            _ => 0,
        }
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
