//! Random and damaged frames: nothing panics, the table does not grow, and every frame is in
//! exactly one count.

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use sched::Kind;

use crate::rig::*;

/// A small and fast random generator. A failing run can be repeated with its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A director with services of all kinds.
fn director(capacity: u32) -> Rig {
    let mut rig = Rig::with_capacity(capacity);
    let methods = [Method::Masquerade, Method::DirectRoute, Method::Tunnel, Method::FullNat];
    for (n, method) in methods.into_iter().enumerate() {
        for (protocol, port) in [(TCP, 80 + n as u16), (UDP, 53 + n as u16)] {
            let service = rig.service(protocol, port, Kind::Rr);
            for server in 11..14 {
                rig.dest(service, server, port, method, 1);
            }
        }
    }
    let sticky = rig.service_with(TCP, 443, Kind::Wrr, |spec| spec.persistence = persistence(60));
    rig.dest(sticky, 14, 443, Method::Masquerade, 1);
    let single = rig.service_with(UDP, 514, Kind::Rr, |spec| spec.one_packet = true);
    rig.dest(single, 15, 514, Method::Masquerade, 1);
    rig.service(TCP, 99, Kind::Wlc);
    rig
}

/// Valid frames to start with: requests, replies, and errors about them.
fn seeds() -> Vec<(PortId, Vec<u8>)> {
    let mut seeds = Vec::new();
    for port in [80, 81, 82, 83, 443, 99, 21] {
        for flags in [SYN, ACK, FIN | ACK, RST, 0] {
            seeds.push((WAN, tcp(MACS[0], (CLIENT, 5000), (VIP, port), flags, b"payload")));
        }
        seeds.push((LAN, tcp(MACS[1], (rip(11), port), (CLIENT, 5000), SYN | ACK, b"")));
    }
    for port in [53, 54, 55, 56, 514] {
        seeds.push((WAN, udp(MACS[0], (CLIENT, 6000), (VIP, port), b"query")));
        seeds.push((LAN, udp(MACS[1], (rip(12), port), (CLIENT, 6000), b"answer")));
    }
    // An ICMP error from the servers' side about the first request.
    let about = &seeds[0].1[14..42];
    let mut error = vec![0; 14 + 20 + 8];
    error[..6].copy_from_slice(&MACS[1].0);
    error[12..14].copy_from_slice(&[8, 0]);
    error[14..34].copy_from_slice(&seeds[0].1[14..34]);
    error[14 + 9] = 1;
    error[16..18].copy_from_slice(&(20 + 8 + about.len() as u16).to_be_bytes());
    error[34..36].copy_from_slice(&[3, 4]);
    error.extend_from_slice(about);
    seeds.push((LAN, error));
    seeds
}

/// Makes the IPv4 header checksum right again, so that the mutation gets past that check.
fn mend(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(14..34) else { return };
    header[10..12].copy_from_slice(&[0, 0]);
    let field = dataplane::wire::checksum::compute(header);
    header[10..12].copy_from_slice(&field);
}

#[test]
fn a_million_random_and_mutated_frames() {
    let mut rig = director(2000);
    let mut random = Random(0x1234_5678_9abc_def1);
    let seeds = seeds();
    let mut put_in = 0_u64;
    for round in 0..31_250_u32 {
        for _ in 0..32 {
            let (port, mut frame) = seeds[random.below(seeds.len())].clone();
            match random.below(8) {
                0 => {
                    // Random bytes, sometimes with our MAC.
                    frame = (0..random.below(120)).map(|_| random.next() as u8).collect();
                    if random.below(2) == 0 && frame.len() > 14 {
                        frame[..6].copy_from_slice(&MACS[port.index()].0);
                        frame[12..14].copy_from_slice(&[8, 0]);
                    }
                }
                1 => frame.truncate(random.below(frame.len() + 1)),
                2..=5 => {
                    for _ in 0..=random.below(4) {
                        let at = random.below(frame.len());
                        frame[at] = random.next() as u8;
                    }
                    if random.below(4) != 0 {
                        mend(&mut frame);
                    }
                }
                _ => {
                    // Another client and port, so that thousands of connections are made.
                    let n = random.next();
                    frame[28..30].copy_from_slice(&(n as u16).to_be_bytes());
                    frame[34..36].copy_from_slice(&((n >> 16) as u16).to_be_bytes());
                    mend(&mut frame);
                }
            }
            rig.inject(port, &frame);
            put_in += 1;
        }
        if round % 64 == 0 {
            rig.pass(random.below(500) as u32);
        }
        while rig.io().rx.iter().any(|queue| !queue.is_empty()) {
            rig.poll();
        }
        rig.out();
        assert!(rig.connections() <= 2000, "the table never grows");
    }
    assert_eq!((put_in, rig.stats.received.get()), (1_000_000, 1_000_000));
    let (created, sent) = (rig.stats.created.get(), rig.stats.transmitted.get());
    assert!(created > 10_000 && sent > 50_000, "{created} made, {sent} sent: too few for a meaningful test");
    rig.assert_accounted();
    // The director still serves clients.
    rig.wait(1000);
    assert_eq!(rig.connections(), 0);
    assert_ne!(rig.syn_to(40_000, 80), 0);
}

#[test]
fn frames_cut_at_every_byte_are_each_counted_once() {
    let mut rig = director(500);
    for (port, frame) in seeds() {
        for len in 0..=frame.len() {
            rig.put(port, &frame[..len]);
        }
    }
    rig.assert_accounted();
}

#[test]
fn every_value_of_every_header_byte() {
    let mut rig = director(500);
    for (port, frame) in [&seeds()[0], &seeds()[42], seeds().last().unwrap()].map(Clone::clone) {
        for at in 12..frame.len().min(70) {
            for value in 0..=255 {
                let mut frame = frame.clone();
                frame[at] = value;
                if at >= 14 && !(24..26).contains(&at) {
                    mend(&mut frame);
                }
                rig.put(port, &frame);
            }
        }
    }
    rig.assert_accounted();
}

#[test]
fn a_full_host_ring_and_a_full_device_are_counted() {
    let mut rig = director(500);
    rig.io().host_room = Some(1);
    rig.io().tx_room = Some(0);
    for cport in 0..50 {
        rig.tcp(5000 + cport, 80, SYN);
        rig.tcp(5000 + cport, 7777, SYN);
    }
    rig.assert_accounted();
    assert_eq!(rig.stats.drops(dataplane::verdict::DropReason::TxFull).get(), 50);
}
