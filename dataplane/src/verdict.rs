//! How a packet ends: exactly one verdict each, every drop with a reason.

use core::net::Ipv4Addr;

use crate::io::PortId;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])* $name:ident => $word:literal, $sentence:literal;)*) => {
        /// Why a packet was dropped. Each has a counter, a word for machines and a sentence for
        /// people.
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
    /// IP version, header length or total length contradict each other.
    Malformed => "malformed", "an IP, TCP or UDP header contradicts itself";
    /// The IPv4 header checksum is wrong.
    BadChecksum => "bad_checksum", "the IPv4 header checksum is wrong";
    /// The source address is a loopback, multicast, broadcast or zero one, or the director's own.
    Martian => "martian", "the source address is no sender's: loopback, multicast, broadcast, zero or the director's own";
    /// The source address is not behind the port that the packet came by, as `rp_filter` of the
    /// host interface wants it.
    RpFilter => "rp_filter", "the source address is not behind the port that the packet came by (rp_filter)";
    /// The packet names its own way, and the host interface has `accept_source_route` off.
    SourceRoute => "source_route", "the packet is source-routed, which accept_source_route forbids";
    /// The frame is addressed to somebody else's MAC.
    OtherMac => "other_mac", "the frame is addressed to another station";
    /// A fragment of a balanced packet, either way: reassembly is not built.
    Fragment => "fragment", "a fragment of a balanced packet: reassembly is not built";
    /// No destination is eligible (IPVS: ICMP port unreachable was sent).
    NoDestination => "no_destination", "the service has no destination to offer; port unreachable was sent";
    /// The connection's destination was deleted and `expire_nodest_conn` is 0.
    DestinationGone => "destination_gone", "the connection's real server was deleted";
    /// TTL 1 or less.
    TtlExceeded => "ttl_exceeded", "the TTL ran out; time exceeded was sent";
    /// Larger than the next hop's MTU with DF set.
    TooBig => "too_big", "larger than the next hop's MTU with DF set; frag needed was sent";
    /// Larger than the next hop's MTU, may be fragmented, but output fragmentation is not built.
    NeedsFragmenting => "needs_fragmenting", "larger than the next hop's MTU: fragmenting is not built";
    /// No route to the real server or the client.
    NoRoute => "no_route", "there is no route to the real server or the client";
    /// The connection table is full.
    TableFull => "table_full", "the connection table is full";
    /// No port was found on any local address, or there are none.
    NoLocalPort => "no_local_port", "FULLNAT: no free port on any local address of the service, or no such address";
    /// A SYN that was to make a connection while a flood comes and packets wait.
    SynFlood => "syn_flood", "a SYN held back: a flood of new connections, and packets wait";
    /// A datagram that was to make a connection while a flood comes and packets wait.
    UdpFlood => "udp_flood", "a datagram held back: a flood of new connections, and packets wait";
    /// A TCP packet of a connection that is not known while connections had to make room.
    Stray => "stray", "a service's TCP packet without a connection, which may have had to make room for another";
    /// The device or its queue did not take the packet.
    TxFull => "tx_full", "the transmit queue was full";
    /// The ring to the host interface was full.
    HostFull => "host_full", "the host interface's ring was full";
    /// The ring to the host interfaces for packets that wait for a neighbour was full.
    ResolveFull => "resolve_full", "too many packets wanted a neighbour at once";
    /// The neighbour that the packet needs did not answer.
    NoNeighbour => "no_neighbour", "a neighbour on the way did not answer; host unreachable was sent";
    /// An ICMP error about a connection with a wrong checksum, or one without a whole header.
    BadIcmp => "bad_icmp", "an ICMP error with a wrong checksum or half a header";
    /// Another connection of the same real server and client ports exists through another VIP.
    ReplyTaken => "reply_taken", "the same client port already talks to that real server through another VIP";
    /// No headroom in front of the packet for an encapsulation or an ICMP header.
    NoHeadroom => "no_headroom", "no room in front of the packet for an outer header";
}

/// Where a packet goes that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// To Linux, by the host interface of the port it came in by.
    Host,
    /// Out of a port, complete.
    Port(PortId),
    /// Out of a port, complete but for the MAC of the next hop: control has Linux resolve it.
    Resolve(PortId, Ipv4Addr),
}

/// What became of a packet, with what its frame now holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Dropped for the reason given; the frame has become an ICMP error that goes where the egress
    /// says.
    Answer(DropReason, Egress),
    /// Dropped.
    Drop(DropReason),
    /// Sent on.
    Forward(Egress),
}
