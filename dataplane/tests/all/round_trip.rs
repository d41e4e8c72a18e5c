//! Round trips of random packets: the client's packet arrives rewritten and complete, and the
//! answer comes from the VIP.

use std::net::Ipv4Addr;

use dataplane::snapshot::dest::Method;
use proptest::prelude::*;
use sched::Kind;

use crate::rig::*;

fn frame(
    protocol: u8,
    mac: usize,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    ttl: u8,
    payload: &[u8],
) -> Vec<u8> {
    if protocol == TCP {
        return tcp_ttl(MACS[mac], from, to, if mac == 0 { SYN } else { SYN | ACK }, payload, ttl);
    }
    let mut frame = udp(MACS[mac], from, to, payload);
    frame[22] = ttl;
    frame[24..26].copy_from_slice(&[0, 0]);
    let field = dataplane::wire::checksum::compute(&frame[14..34]);
    frame[24..26].copy_from_slice(&field);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nat_and_fullnat_rewrite_replies_back(
        udp in any::<bool>(),
        full in any::<bool>(),
        client in 0x0b00_0001_u32..0x7eff_ffff,
        cport in 1_u16..,
        vport in 1_u16..,
        rport in 1_u16..,
        ttl in 2_u8..,
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        answer in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        // Port 20 belongs to FTP and is never scheduled.
        prop_assume!(cport != 20);
        let (protocol, client) = (if udp { UDP } else { TCP }, Ipv4Addr::from_bits(client));
        let method = if full { Method::FullNat } else { Method::Masquerade };
        let mut rig = Rig::new();
        let service = rig.service(protocol, vport, Kind::Rr);
        rig.dest(service, 11, rport, method, 1);

        let out = rig.put(WAN, &frame(protocol, 0, (client, cport), (VIP, vport), ttl, &payload));
        let seen = read(out.one().1);
        prop_assert_eq!((seen.dst, seen.ttl, &seen.payload), ((rip(11), rport), ttl - 1, &payload));
        let from = if full { (LIP, seen.src.1) } else { (client, cport) };
        prop_assert_eq!(seen.src, from);

        let out = rig.put(LAN, &frame(protocol, 1, (rip(11), rport), seen.src, ttl, &answer));
        let (port, sent) = out.one();
        let seen = read(sent);
        prop_assert_eq!((port, seen.src, seen.dst), (WAN, (VIP, vport), (client, cport)));
        prop_assert_eq!((seen.ttl, seen.payload), (ttl - 1, answer));
        rig.assert_accounted();
    }
}
