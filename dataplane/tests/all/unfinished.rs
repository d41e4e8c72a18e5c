//! Packets of virtual machines and containers on the same host, which leave checksums to a device.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::wire::checksum;
use sched::Kind;

use crate::rig::*;

const ALL: [Method; 4] = [Method::Masquerade, Method::DirectRoute, Method::Tunnel, Method::FullNat];

/// The frame as a sender leaves it for the device to finish.
fn unfinished(mut frame: Vec<u8>) -> Vec<u8> {
    let protocol = frame[23];
    let addrs = frame[26..34].try_into().unwrap();
    let field = if protocol == TCP { 50 } else { 40 };
    let sum = checksum::pseudo_v4(addrs, protocol, (frame.len() - 34) as u16);
    frame[field..field + 2].copy_from_slice(&sum.to_ne_bytes());
    frame
}

/// The frame that leaves after this one came, or the inner packet of a tunnel. All checksums are
/// checked.
fn sent(rig: &mut Rig, port: PortId, frame: &[u8]) -> Seen {
    let out = rig.put(port, frame);
    let (_, bytes) = out.one();
    match bytes[23] {
        4 => read(&[&bytes[..14], &bytes[34..]].concat()),
        _ => read(bytes),
    }
}

fn director(protocol: u8, method: Method) -> Rig {
    let mut rig = Rig::new();
    let service = rig.service(protocol, 80, Kind::Rr);
    rig.dest(service, 11, if method.is_translated() { 8080 } else { 80 }, method, 1);
    rig
}

#[test]
fn packets_of_virtual_peers_leave_finished_in_both_directions() {
    for method in ALL {
        let mut rig = director(TCP, method);
        let from = |flags, data: &[u8]| unfinished(tcp(MACS[0], (CLIENT, 5000), (VIP, 80), flags, data));
        let there = sent(&mut rig, WAN, &from(SYN, b""));
        let mut count = 1;
        if method.is_translated() {
            let back = unfinished(tcp(MACS[1], (rip(11), 8080), there.src, SYN | ACK, b""));
            assert_eq!(sent(&mut rig, LAN, &back).src, (VIP, 80), "{method:?}");
            count += 1;
        }
        for data in [b"".as_slice(), b"odd", b"a longer request"] {
            assert_eq!(sent(&mut rig, WAN, &from(ACK, data)).payload, data, "{method:?}");
            count += 1;
        }
        assert_eq!(rig.stats.unfinished.get(), count);
        rig.assert_accounted();
    }
}

#[test]
fn datagrams_and_packets_for_linux_are_finished_too() {
    let mut rig = director(UDP, Method::Masquerade);
    let query = unfinished(udp(MACS[0], (CLIENT, 5000), (VIP, 80), b"query"));
    assert_eq!(sent(&mut rig, WAN, &query).payload, b"query");
    let ssh = tcp(MACS[0], (CLIENT, 5000), (WIP, 22), SYN, b"");
    let out = rig.put(WAN, &unfinished(ssh.clone()));
    out.to_host();
    assert_eq!(out.host[0].2, ssh, "the frame for Linux is finished too, because Linux checks it");
    rig.assert_accounted();
}

/// A port that brings no unfinished packets is checked once in each tick, so a busy port is hardly
/// slowed down.
#[test]
fn a_busy_port_is_checked_once_a_tick_and_fully_after_a_repeated_syn() {
    let mut rig = director(TCP, Method::Masquerade);
    let open = |cport| tcp(MACS[0], (CLIENT, cport), (VIP, 80), SYN, b"");
    let answer = |cport| tcp(MACS[1], (rip(11), 8080), (CLIENT, cport), SYN | ACK, b"");
    // Other packets were already checked in this tick.
    rig.put(WAN, &open(4000)).one();
    rig.put(LAN, &answer(4000)).one();
    rig.put(WAN, &open(5000)).one();
    rig.put(LAN, &unfinished(answer(5000))).one();
    assert_eq!(rig.stats.unfinished.get(), 0, "not looked at");
    rig.wait_ticks(100);
    rig.put(WAN, &open(4000)).one();
    rig.put(LAN, &answer(4000)).one();
    // The client repeats its SYN. Then the answer is found among other packets in the same tick.
    rig.put(WAN, &open(5000)).one();
    rig.put(LAN, &answer(4000)).one();
    assert_eq!(sent(&mut rig, LAN, &unfinished(answer(5000))).src, (VIP, 80));
    assert_eq!(rig.stats.unfinished.get(), 1);
    // From then on all packets of that port are checked for a second.
    rig.wait_ticks(90);
    rig.put(LAN, &answer(4000)).one();
    assert_eq!(sent(&mut rig, LAN, &unfinished(answer(5000))).src, (VIP, 80));
    rig.wait_ticks(110);
    rig.put(LAN, &answer(4000)).one();
    rig.put(LAN, &unfinished(answer(5000))).one();
    assert_eq!(rig.stats.unfinished.get(), 2, "not looked at");
}

/// Anybody can forge one such packet, so one is not enough to suspect a port.
#[test]
fn a_port_is_suspected_after_several_unfinished_packets_and_forgiven_after_a_minute() {
    let mut rig = director(TCP, Method::Masquerade);
    let packet = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), SYN, b"");
    let forged = unfinished(packet.clone());
    for _ in 0..20 {
        sent(&mut rig, WAN, &forged);
        assert_eq!(rig.stats.unfinished_ports.get(), 0);
        rig.wait(2);
    }
    for count in 1..=8 {
        rig.wait(1);
        sent(&mut rig, WAN, &forged);
        assert_eq!(rig.stats.unfinished_ports.get(), u32::from(count == 8), "{count}");
    }
    // Now each unfinished packet is found, in every burst of a tick.
    rig.wait(59);
    rig.put(WAN, &packet).one();
    sent(&mut rig, WAN, &forged);
    assert_eq!(rig.stats.unfinished_ports.get(), 1);
    // A burst of another port also clears the suspicion when the time is over.
    rig.wait(59);
    rig.put(LAN, &packet);
    assert_eq!(rig.stats.unfinished_ports.get(), 1);
    rig.wait(1);
    rig.put(LAN, &packet);
    assert_eq!((rig.stats.unfinished_ports.get(), rig.stats.unfinished.get()), (0, 29));
}

/// On a port that brings no unfinished packets only the first packets of a burst are checked. If
/// one of these is unfinished, all are checked.
#[test]
fn all_packets_of_a_burst_are_checked_if_one_of_the_first_is_unfinished() {
    let packet = |cport, data: &[u8]| tcp(MACS[0], (CLIENT, cport), (VIP, 80), SYN, data);
    let burst = |first: usize| {
        let mut rig = director(TCP, Method::Masquerade);
        let frames: Vec<_> = (0..32)
            .map(|n| {
                if n < first {
                    packet(5000 + n as u16, b"")
                } else {
                    unfinished(packet(5000 + n as u16, b""))
                }
            })
            .collect();
        rig.burst(WAN, &frames);
        rig.stats.unfinished.get()
    };
    assert_eq!((burst(3), burst(4)), (29, 0));
}

#[test]
fn after_a_repeated_syn_ports_are_checked_for_a_limited_time() {
    let mut rig = director(TCP, Method::Masquerade);
    let again = |rig: &mut Rig| rig.tcp(5000, 80, SYN).one().1.to_vec();
    again(&mut rig);
    again(&mut rig);
    rig.wait_ticks(30);
    let answer = tcp(MACS[1], (rip(11), 8080), (CLIENT, 5000), SYN | ACK, b"");
    rig.put(LAN, &answer).one();
    again(&mut rig);
    rig.put(LAN, &unfinished(answer.clone())).one();
    assert_eq!(rig.stats.unfinished.get(), 0, "less than a second has passed since the last check");
    rig.wait_ticks(75);
    again(&mut rig);
    rig.put(LAN, &answer).one();
    assert_eq!(sent(&mut rig, LAN, &unfinished(answer)).src, (VIP, 80));
}

/// One of 65 536 finished packets looks unfinished. A busy port soon brings one, and must not be
/// suspected for it.
#[test]
fn finished_checksums_that_look_unfinished_do_not_make_a_port_suspected() {
    let mut rig = director(TCP, Method::Masquerade);
    rig.tcp(5000, 80, SYN).one();
    let looks_so = (0..=u16::MAX).find_map(|n| {
        let frame = tcp(MACS[0], (CLIENT, 5000), (VIP, 80), ACK, &n.to_be_bytes());
        (unfinished(frame.clone()) == frame).then_some(frame)
    });
    rig.wait(1);
    assert_eq!(sent(&mut rig, WAN, &looks_so.unwrap()).src, (CLIENT, 5000));
    assert_eq!((rig.stats.unfinished.get(), rig.stats.unfinished_ports.get()), (0, 0));
    rig.assert_accounted();
}
