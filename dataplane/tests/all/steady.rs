//! Compares the short way for packets of established connections with the long way.
//!
//! Packets with IP options take every step one by one. So the same traffic goes through two
//! directors, once without options and once with an option that has no effect. All results must be
//! the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dataplane::io::PortId;
use dataplane::snapshot::dest::Method;
use dataplane::snapshot::route::RpFilter;
use dataplane::verdict::DropReason;
use dataplane::worker::report::ConnView;
use proptest::prelude::*;
use sched::DestId;
use sched::Kind;

use crate::rig::*;

/// Address and port.
type Station = (std::net::Ipv4Addr, u16);

/// Four bytes of "no operation" (RFC 791).
const OPTIONS: [u8; 4] = [1; 4];

/// The frame with these IP options added.
fn with_options(frame: &[u8]) -> Vec<u8> {
    let mut long = [&frame[..34], &OPTIONS, &frame[34..]].concat();
    long[14] = 0x46;
    let len = u16::from_be_bytes([frame[16], frame[17]]) + OPTIONS.len() as u16;
    long[16..18].copy_from_slice(&len.to_be_bytes());
    fix_ip(&mut long);
    long
}

/// Removes the IP options again, also behind an outer header.
fn without_options(frame: &[u8]) -> Vec<u8> {
    let at = if frame[14] == 0x45 { 34 } else { 14 };
    let mut short = frame.to_vec();
    assert_eq!((short[at], &short[at + 20..at + 24]), (0x46, &OPTIONS[..]));
    short.drain(at + 20..at + 24);
    short[at] = 0x45;
    for header in [14, at] {
        let len = u16::from_be_bytes([short[header + 2], short[header + 3]]) - OPTIONS.len() as u16;
        short[header + 2..header + 4].copy_from_slice(&len.to_be_bytes());
        if at == 14 {
            break;
        }
    }
    fix_ip(&mut short);
    if at != 14 {
        let mut inner = [&short[..14], &short[34..]].concat();
        fix_ip(&mut inner);
        short[34..].copy_from_slice(&inner[14..]);
    }
    short
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet of client `cport` (one of few), with TCP flags. With `back` it comes from the
    /// client's real server.
    Packet {
        cport: u16,
        flags: u8,
        back: bool,
        ttl: u8,
        len: usize,
        /// It comes by the port that its sender is not behind.
        astray: bool,
    },
    Wait(u32),
    /// The real server is deleted or added again.
    Delete(bool),
    Mtu(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![4 => Just(ACK), 1 => Just(SYN), 1 => Just(SYN | ACK), 1 => Just(FIN | ACK), 1 => Just(RST), 1 => Just(0)];
    let packet = (
        0..3_u16,
        flags,
        any::<bool>(),
        prop_oneof![8 => Just(64_u8), 1 => Just(2), 1 => Just(1)],
        prop_oneof![3 => 0..60_usize, 1 => 1300..1440_usize],
        prop_oneof![9 => Just(false), 1 => Just(true)],
    );
    prop_oneof![
        20 => packet.prop_map(|(cport, flags, back, ttl, len, astray)| Step::Packet { cport, flags, back, ttl, len, astray }),
        2 => (1..70_u32).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Delete),
        1 => prop_oneof![Just(1500), Just(1400)].prop_map(Step::Mtu),
    ]
}

/// A director with one service and one real server, and the knowledge of its clients.
struct Side {
    rig: Rig,
    dest: DestId,
    /// The sender and the receiver of an answer to the last packet that each client's real server
    /// got.
    answers: [Option<(Station, Station)>; 3],
    method: Method,
    options: bool,
}

impl Side {
    fn new(method: Method, protocol: u8, options: bool, rp_filter: RpFilter) -> Self {
        let mut rig = Rig::new();
        let mut ports = rig.master().paths_mut().ports.to_vec();
        ports.iter_mut().for_each(|port| port.input.rp_filter = rp_filter);
        rig.master().paths_mut().ports = ports.into();
        let service = rig.service(protocol, 80, Kind::Rr);
        let port = if method.is_translated() { 8080 } else { 80 };
        let dest = rig.dest(service, 11, port, method, 1);
        let mut side = Self { rig, dest, answers: [None; 3], method, options };
        side.set_mtu(1500);
        side
    }

    /// Packets with options are longer, so their MTU is larger by as much.
    fn set_mtu(&mut self, mtu: u16) {
        let mtu = mtu + if self.options { OPTIONS.len() as u16 } else { 0 };
        for id in [0, 11] {
            self.rig.master().paths_mut().adjacencies.entry(id).mtu = mtu;
        }
        self.rig.publish();
    }

    fn packet(&mut self, protocol: u8, step: &Step) -> Option<Vec<(PortId, Vec<u8>)>> {
        let Step::Packet { cport, flags, back, ttl, len, astray } = *step else { return None };
        let (from, to) =
            if back { self.answers[usize::from(cport)]? } else { ((CLIENT, 5000 + cport), (VIP, 80)) };
        let (mac, port) = if back == astray { (MACS[0], WAN) } else { (MACS[1], LAN) };
        let payload = vec![7; len];
        let mut frame = if protocol == TCP {
            tcp_ttl(mac, from, to, flags, &payload, ttl)
        } else {
            udp(mac, from, to, &payload)
        };
        if frame.len() < 60 {
            // Padding as on the wire. The director must not forward it.
            frame.resize(60, 0);
        }
        let frame = if self.options { with_options(&frame) } else { frame };
        let out = self.rig.put(port, &frame);
        let sent: Vec<_> = out
            .sent
            .iter()
            // Errors quote the packet with its options.
            .filter(|(_, bytes)| bytes[23] != 1)
            .map(|(port, bytes)| (*port, if self.options { without_options(bytes) } else { bytes.clone() }))
            .collect();
        if !back
            && let Some((_, bytes)) = sent.first()
            && bytes[23] != 4
        {
            let seen = read(bytes);
            self.answers[usize::from(cport)] = Some((seen.dst, seen.src));
        }
        Some(sent)
    }

    /// All other visible results. Byte counts differ by the options.
    fn state(&mut self) -> (Vec<String>, Vec<u64>) {
        let describe = |view: ConnView| {
            format!(
                "{:?} {:?} {:?} {} {:?}",
                view.client,
                view.dest,
                view.local,
                view.state,
                (view.flags, view.expires_in)
            )
        };
        let conns = self.rig.list().into_iter().map(describe).collect();
        let stats = self.rig.stats.dest(self.dest).unwrap();
        let (ins, outs) = (stats.in_pkts.get(), stats.out_pkts.get());
        let options = if self.options { OPTIONS.len() as u64 } else { 0 };
        let mut counts = vec![
            stats.conns.get(),
            ins,
            outs,
            stats.in_bytes.get() - options * ins,
            // With DR and TUN the director's own errors count here, and the length of their quotes
            // differs.
            if self.method.is_translated() { stats.out_bytes.get() - options * outs } else { 0 },
            u64::from(stats.active.get()),
            u64::from(stats.inactive.get()),
            self.rig.stats.transmitted.get(),
            self.rig.stats.host.get(),
        ];
        counts.extend(DropReason::ALL.iter().map(|reason| self.rig.drops(*reason)));
        (conns, counts)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_short_way_gives_the_same_result_as_the_long_way(
        method in prop_oneof![Just(Method::Masquerade), Just(Method::FullNat), Just(Method::DirectRoute), Just(Method::Tunnel)],
        protocol in prop_oneof![3 => Just(TCP), 1 => Just(UDP)],
        rp_filter in prop_oneof![Just(RpFilter::Off), Just(RpFilter::Strict)],
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut sides = [false, true].map(|options| Side::new(method, protocol, options, rp_filter));
        for step in steps {
            let [short, long] = &mut sides;
            match step {
                Step::Packet { .. } => prop_assert_eq!(short.packet(protocol, &step), long.packet(protocol, &step), "{:?}", step),
                Step::Wait(seconds) => sides.iter_mut().for_each(|side| side.rig.wait(seconds)),
                Step::Delete(gone) => {
                    for side in &mut sides {
                        let dest = side.dest;
                        side.rig.change_dest(dest, |info| info.available = !gone);
                    }
                }
                Step::Mtu(mtu) => sides.iter_mut().for_each(|side| side.set_mtu(mtu)),
            }
            let [short, long] = &mut sides;
            prop_assert_eq!(short.state(), long.state());
        }
        sides.iter().for_each(|side| side.rig.assert_accounted());
    }
}
