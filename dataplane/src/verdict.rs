//! Verdicts: how a packet ends. Every packet gets exactly one verdict, and every drop has a reason.

use core::net::Ipv4Addr;

use crate::io::PortId;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])* $name:ident => $word:literal, $sentence:literal;)*) => {
        /// Why a packet was dropped. Each reason has a counter, a word for machines and a sentence
        /// for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])* $name,)* }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The word under which the counter is listed.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What happened, for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

drop_reasons! {
    /// The frame is shorter than its headers say.
    Truncated => "truncated", "the frame is shorter than its headers say";
    /// The IP version is not 4, or header length and total length contradict each other.
    Malformed => "malformed", "an IP, TCP or UDP header contradicts itself";
    /// The IPv4 header checksum is wrong.
    BadChecksum => "bad_checksum", "the IPv4 header checksum is wrong";
    /// The source address cannot be a sender's: loopback, multicast, broadcast, zero, or the
    /// director's own.
    Martian => "martian", "the source address is no sender's: loopback, multicast, broadcast, zero or the director's own";
    /// The source address is not behind the port that the packet came by, and `rp_filter` of the
    /// host interface asks for that.
    RpFilter => "rp_filter", "the source address is not behind the port that the packet came by (rp_filter)";
    /// The packet is source-routed, and `accept_source_route` of the host interface is 0.
    SourceRoute => "source_route", "the packet is source-routed, which accept_source_route forbids";
    /// The frame is addressed to somebody else's MAC.
    OtherMac => "other_mac", "the frame is addressed to another station";
    /// A fragment of a balanced packet, from a client or from a real server. Reassembly is not
    /// built.
    Fragment => "fragment", "a fragment of a balanced packet: reassembly is not built";
    /// The scheduler finds no destination. The client is told by ICMP port unreachable, as with
    /// IPVS.
    NoDestination => "no_destination", "the service has no destination to offer; port unreachable was sent";
    /// The connection's destination was deleted and `expire_nodest_conn` is 0.
    DestinationGone => "destination_gone", "the connection's real server was deleted";
    /// The TTL is 1 or less.
    TtlExceeded => "ttl_exceeded", "the TTL ran out; time exceeded was sent";
    /// The packet is larger than the next hop's MTU and has DF set.
    TooBig => "too_big", "larger than the next hop's MTU with DF set; frag needed was sent";
    /// The packet is larger than the next hop's MTU. It may be fragmented, but that is not built.
    NeedsFragmenting => "needs_fragmenting", "larger than the next hop's MTU: fragmenting is not built";
    /// No route to the real server or the client.
    NoRoute => "no_route", "there is no route to the real server or the client";
    /// The connection table is full.
    TableFull => "table_full", "the connection table is full";
    /// No free port was found on any local address, or there is no local address.
    NoLocalPort => "no_local_port", "FULLNAT: no free port on any local address of the service, or no such address";
    /// A SYN without a connection was held back because of a flood.
    SynFlood => "syn_flood", "a SYN held back: a flood of new connections, and packets wait";
    /// A datagram without a connection was held back because of a flood.
    UdpFlood => "udp_flood", "a datagram held back: a flood of new connections, and packets wait";
    /// A TCP packet of an unknown connection, after connections have had to make room.
    Stray => "stray", "a service's TCP packet without a connection, which may have had to make room for another";
    /// The device did not accept the packet.
    TxFull => "tx_full", "the transmit queue was full";
    /// The ring to the host interface was full.
    HostFull => "host_full", "the host interface's ring was full";
    /// The ring to the host interfaces for packets that wait for a neighbour was full.
    ResolveFull => "resolve_full", "too many packets wanted a neighbour at once";
    /// The neighbour that the packet needs did not answer.
    NoNeighbour => "no_neighbour", "a neighbour on the way did not answer; host unreachable was sent";
    /// An ICMP error about a connection has a wrong checksum or an incomplete header.
    BadIcmp => "bad_icmp", "an ICMP error with a wrong checksum or half a header";
    /// The reply key is taken: the same client port has a connection with that real server port
    /// through another VIP.
    ReplyTaken => "reply_taken", "the same client port already talks to that real server through another VIP";
    /// There is no room in front of the packet for an outer header or an ICMP header.
    NoHeadroom => "no_headroom", "no room in front of the packet for an outer header";
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// To Linux, by the host interface of the port it came in by.
    Host,
    /// Out of a port. The frame is complete.
    Port(PortId),
    /// Out of a port. The frame lacks only the MAC of the next hop; control has Linux resolve it.
    Resolve(PortId, Ipv4Addr),
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Dropped for this reason. Its frame has become an ICMP error, which goes by this egress.
    Answer(DropReason, Egress),
    /// Dropped.
    Drop(DropReason),
    /// Forwarded.
    Forward(Egress),
}
