//! The short way by which packets of a flood are dropped gives the same result as the long way.

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use dataplane::verdict::DropReason;
use sched::Kind;

use crate::rig::*;

/// How many packets make a burst count as part of a flood.
const BURST: u16 = 32;

/// A director in a flood of datagrams to port 53, with established clients on ports 7000 to 7007:
/// UDP to port 53, TCP to port 80.
fn flooded() -> Rig {
    let mut rig = Rig::with_capacity(4096);
    for (protocol, port) in [(TCP, 80), (UDP, 53)] {
        let service = rig.service(protocol, port, Kind::Rr);
        rig.dest(service, 11, port, Method::Masquerade, 1);
    }
    for port in 7000..7008 {
        rig.talk(port, 80);
        rig.reply(11, 80, port, ACK).one();
        for _ in 0..4 {
            rig.udp(port, 53).one();
        }
    }
    for n in 0..40_000 {
        rig.inject(WAN, &stranger(n));
    }
    rig.settle();
    assert!(rig.drops(DropReason::UdpFlood) > 15_000, "{}", rig.drops(DropReason::UdpFlood));
    rig.out();
    rig
}

/// A datagram of the flood.
fn stranger(n: u16) -> Vec<u8> {
    let [a, b] = n.to_be_bytes();
    udp(MACS[0], (Ipv4Addr::new(20, 1, a, b), 4000), (VIP, 53), b"query")
}

#[test]
fn only_packets_without_a_connection_are_shed() {
    let mut rig = flooded();
    let before = rig.drops(DropReason::UdpFlood);
    let mut frames = Vec::new();
    for n in 0..8 {
        frames.push(udp(MACS[0], (CLIENT, 7000 + n), (VIP, 53), b"query"));
        frames.push(tcp(MACS[0], (CLIENT, 7000 + n), (VIP, 80), ACK, b""));
        frames.push(stranger(50_000 + n));
        // There is no service on this port, so these packets go to Linux.
        let to = if n % 2 == 0 { (VIP, 5353) } else { (WIP, 53) };
        frames.push(udp(MACS[0], (CLIENT, 7000 + n), to, b"query"));
    }
    let out = rig.burst(WAN, &frames);
    let shed = rig.drops(DropReason::UdpFlood) - before;
    // Now and then a datagram of the flood makes a connection.
    assert!(shed >= 7, "{shed}");
    assert_eq!((out.sent.len() as u64, out.host.len()), (16 + 8 - shed, 8));
    rig.assert_accounted();
}

#[test]
fn strays_are_shed_only_after_connections_made_room() {
    let mut rig = flooded();
    let burst = |flags, from| -> Vec<_> {
        (from..from + BURST).map(|n| tcp(MACS[0], (CLIENT, n), (VIP, 80), flags, b"")).collect()
    };
    let out = rig.burst(WAN, &burst(ACK, 20_000));
    assert_eq!((out.sent.len(), out.host.len()), (0, 32), "they go to Linux, which resets them");
    // SYNs are held back. From now on strays may belong to connections that made room.
    rig.burst(WAN, &burst(SYN, 21_000));
    assert!(rig.drops(DropReason::SynFlood) > 30);
    for flags in [ACK, ACK | FIN, RST] {
        let before = rig.drops(DropReason::Stray);
        rig.burst(WAN, &burst(flags, 22_000)).nothing();
        assert_eq!(rig.drops(DropReason::Stray) - before, 32);
    }
    rig.assert_accounted();
}

/// The remembered services are forgotten when the rules change.
#[test]
fn a_deleted_service_is_forgotten() {
    let mut rig = flooded();
    rig.burst(WAN, &(0..BURST).map(stranger).collect::<Vec<_>>());
    let gone = rig.snapshot().services.iter().find(|service| service.key.port() == 53).unwrap().id;
    rig.master().remove_service(gone);
    rig.publish();
    let before = rig.drops(DropReason::UdpFlood);
    let out = rig.burst(WAN, &(50_000..50_000 + BURST).map(stranger).collect::<Vec<_>>());
    assert_eq!(rig.drops(DropReason::UdpFlood), before);
    assert_eq!((out.sent.len(), out.host.len()), (0, 32));
}
