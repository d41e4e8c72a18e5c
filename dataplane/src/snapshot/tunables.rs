//! Tunables and timeouts of the packet path: `net.ipv4.vs.*` and `ipvsadm --set`.

use crate::conn::tcp::TcpState;
use crate::time::Ticks;

/// Timeouts and switches that an operator may change, as the packet path reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Timeouts of TCP connections in ticks, indexed by state.
    pub tcp_timeouts: [u32; TcpState::COUNT],
    /// Timeout of UDP connections in ticks.
    pub udp_timeout: u32,
    /// `conn_reuse_mode`: whether a SYN for an old connection begins a new one.
    pub conn_reuse_mode: u8,
    /// `expire_nodest_conn`: connections of deleted destinations end with their next packet.
    /// Otherwise their packets are dropped.
    pub expire_nodest_conn: bool,
    /// `expire_quiescent_template`: templates of destinations with weight 0 are not used.
    pub expire_quiescent_template: bool,
    /// `sloppy_tcp`: every TCP packet may make a connection, not only a SYN.
    pub sloppy_tcp: bool,
    /// `pmtu_disc`: tunnels copy DF to the outer header, and packets with DF that are too large are
    /// refused with an error.
    pub pmtu_disc: bool,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            tcp_timeouts: TcpState::TIMEOUTS.map(|seconds| seconds * Ticks::PER_SECOND),
            udp_timeout: 300 * Ticks::PER_SECOND,
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            pmtu_disc: true,
        }
    }
}
