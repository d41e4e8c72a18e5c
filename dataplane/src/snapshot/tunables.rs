//! Tunables and timeouts of the packet path: `net.ipv4.vs.*` and `ipvsadm --set`.

use crate::conn::tcp::TcpState;
use crate::time::Ticks;

/// What an operator may turn, as the packet path reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Timeouts of TCP connections in ticks, by state.
    pub tcp_timeouts: [u32; TcpState::COUNT],
    /// Timeout of UDP connections in ticks.
    pub udp_timeout: u32,
    /// `conn_reuse_mode`: what a SYN on an old connection does.
    pub conn_reuse_mode: u8,
    /// `expire_nodest_conn`: connections of deleted destinations end at once instead of going
    /// silent.
    pub expire_nodest_conn: bool,
    /// `expire_quiescent_template`: templates of weight-0 destinations are not used.
    pub expire_quiescent_template: bool,
    /// `sloppy_tcp`: any TCP packet may make a connection, not only a SYN.
    pub sloppy_tcp: bool,
    /// `pmtu_disc`: tunnels copy DF outwards and reject what does not fit.
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
