//! The TCP state machine of IPVS, a pure table.
//!
//! Must agree with `net/netfilter/ipvs/ip_vs_proto_tcp.c: set_tcp_state` and its tables. With DR
//! and TUN the director sees only one direction, so there are three rows for each event.

use crate::wire::l4::flag;

/// TCP states, numbered as in IPVS. IPVS sends the numbers to its backup when it synchronises
/// connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// No packet seen yet.
    None = 0,
    /// The handshake is complete; data flows.
    Established = 1,
    /// The server's SYN was seen first.
    SynSent = 2,
    /// The client's SYN was forwarded.
    SynRecv = 3,
    /// One side has sent its FIN.
    FinWait = 4,
    /// Both sides have sent their FIN.
    TimeWait = 5,
    /// The connection was reset or is finished.
    Close = 6,
    /// The client has sent its FIN (NAT).
    CloseWait = 7,
    /// Waiting for the last acknowledgement.
    LastAck = 8,
    /// An FTP data connection is expected.
    Listen = 9,
    /// With the SYN defence of IPVS: waiting for the client's acknowledgement.
    SynAck = 10,
}

use TcpState::{Close, CloseWait, Established, FinWait, LastAck, Listen, SynAck, SynRecv, SynSent, TimeWait};

/// Which rows of the table apply to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Row {
    /// A packet from the client; replies pass the director too.
    Input = 0,
    /// A packet from the real server.
    Output = 1,
    /// A packet from the client; replies do not pass the director.
    InputOnly = 2,
}

impl TcpState {
    /// The number of states.
    pub const COUNT: usize = 11;
    /// Default timeouts in seconds, indexed by state (`ip_vs_proto_tcp.c: tcp_timeouts`).
    pub const TIMEOUTS: [u32; Self::COUNT] = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];

    /// All states, indexed by their number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::None,
        Established,
        SynSent,
        SynRecv,
        FinWait,
        TimeWait,
        Close,
        CloseWait,
        LastAck,
        Listen,
        SynAck,
    ];

    /// The state numbered `raw`, or [`TcpState::None`] if there is no such state.
    pub const fn from_raw(raw: u8) -> Self {
        if (raw as usize) < Self::COUNT { Self::ALL[raw as usize] } else { Self::None }
    }

    /// The state after a packet with `flags` in `row`.
    #[inline]
    #[must_use]
    pub const fn next(self, row: Row, flags: u8) -> Self {
        match event(flags) {
            Some(event) => TABLE[row as usize][event][self as usize],
            None => Close,
        }
    }

    /// Whether the three-way handshake is under way.
    #[inline]
    pub const fn is_half_open(self) -> bool {
        matches!(self, SynSent | SynRecv | SynAck)
    }

    /// Whether connections in this state count as active.
    #[inline]
    pub const fn is_active(self) -> bool {
        matches!(self, Established | SynSent | SynRecv | SynAck)
    }

    /// The word that listings print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Established => "ESTABLISHED",
            SynSent => "SYN_SENT",
            SynRecv => "SYN_RECV",
            FinWait => "FIN_WAIT",
            TimeWait => "TIME_WAIT",
            Close => "CLOSE",
            CloseWait => "CLOSE_WAIT",
            LastAck => "LAST_ACK",
            Listen => "LISTEN",
            SynAck => "SYNACK",
        }
    }
}

/// The first of RST, SYN, FIN and ACK that is set, as an index into [`TABLE`].
const fn event(flags: u8) -> Option<usize> {
    if flags & flag::RST != 0 {
        Some(3)
    } else if flags & flag::SYN != 0 {
        Some(0)
    } else if flags & flag::FIN != 0 {
        Some(1)
    } else if flags & flag::ACK != 0 {
        Some(2)
    } else {
        None
    }
}

const ES: TcpState = Established;
const SS: TcpState = SynSent;
const SR: TcpState = SynRecv;
const FW: TcpState = FinWait;
const TW: TcpState = TimeWait;
const CL: TcpState = Close;
const CW: TcpState = CloseWait;
const LA: TcpState = LastAck;
const LI: TcpState = Listen;

/// `[row][syn, fin, ack, rst][NO ES SS SR FW TW CL CW LA LI SA]`
const TABLE: [[[TcpState; TcpState::COUNT]; 4]; 3] = [
    [
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
    ],
    [
        [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    ],
    [
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn run(row_flags: &[(Row, u8)]) -> Vec<TcpState> {
        let mut state = TcpState::None;
        row_flags
            .iter()
            .map(|&(row, flags)| {
                state = state.next(row, flags);
                state
            })
            .collect()
    }

    #[test]
    fn a_nat_connection_closed_by_the_server_first() {
        use flag::{ACK, FIN, SYN};
        let seen = run(&[
            (Row::Input, SYN),
            (Row::Output, SYN | ACK),
            (Row::Input, ACK),
            (Row::Output, FIN | ACK),
            (Row::Input, FIN | ACK),
        ]);
        assert_eq!(seen, [SynRecv, SynRecv, Established, FinWait, TimeWait]);
    }

    #[test]
    fn a_nat_connection_closed_by_the_client_first() {
        use flag::{ACK, FIN, SYN};
        let seen =
            run(&[(Row::Input, SYN), (Row::Input, ACK), (Row::Input, FIN | ACK), (Row::Output, FIN | ACK)]);
        assert_eq!(seen, [SynRecv, Established, CloseWait, TimeWait]);
    }

    #[test]
    fn one_direction_alone_stays_in_fin_wait() {
        use flag::{ACK, FIN, RST, SYN};
        let row = Row::InputOnly;
        let seen = run(&[(row, SYN), (row, ACK), (row, FIN | ACK), (row, ACK), (row, RST)]);
        assert_eq!(seen, [SynRecv, Established, FinWait, FinWait, Close]);
    }

    #[test]
    fn a_reset_of_a_half_open_connection_leaves_it_half_open() {
        assert_eq!(SynRecv.next(Row::Input, flag::RST), SynRecv);
        assert_eq!(SynRecv.next(Row::InputOnly, flag::RST), SynRecv);
        assert_eq!(SynRecv.next(Row::Output, flag::RST), Close);
    }

    #[test]
    fn only_the_client_sends_the_last_ack() {
        assert_eq!(LastAck.next(Row::Output, flag::ACK), LastAck);
        assert_eq!(LastAck.next(Row::Input, flag::ACK), Close);
    }

    #[test]
    fn a_packet_without_known_flags_closes_the_connection() {
        assert_eq!(Established.next(Row::Input, 0), Close);
    }
}
