//! Stages of the packet path, each by itself: parsing, looking up, rewriting.

use core::hint::black_box;

use dataplane::BURST;
use dataplane::conn::entry::Cold;
use dataplane::conn::entry::Direction;
use dataplane::conn::entry::Flags;
use dataplane::conn::entry::Hot;
use dataplane::conn::key::FlowKey;
use dataplane::conn::table::Approach;
use dataplane::conn::table::Candidate;
use dataplane::conn::table::FlowTable;
use dataplane::conn::track::Track;
use dataplane::epoch::Workers;
use dataplane::forward::send;
use dataplane::io::Frame;
use dataplane::io::RxChecksum;
use dataplane::meta::Class;
use dataplane::meta::PacketMeta;
use dataplane::snapshot::dest::Method;
use dataplane::wire::l4;
use dataplane::wire::l4::flag;

use super::BURSTS;
use super::PACKETS;
use super::Work;
use super::measured;
use crate::io::FixedFrame;
use crate::packet::Flow;
use crate::packet::MAC;
use crate::packet::packet;
use crate::rules::LAN;
use crate::rules::LOCAL;
use crate::rules::SERVER_PORT;
use crate::rules::WAN;
use crate::rules::rules;
use crate::rules::server;

/// Stages, by name.
pub(super) fn all() -> Vec<Work> {
    use Direction::{Reply, Request};
    use Method::{DirectRoute, FullNat, Masquerade, Tunnel};
    let rewrite = |name, method, protocol, direction| {
        Work::new(name, "packet", move || rewrite(method, protocol, direction))
    };
    vec![
        Work::new("parse", "packet", || parse(l4::TCP)),
        Work::new("parse-udp", "packet", || parse(l4::UDP)),
        Work::new("hit", "packet", || look_up(0)),
        Work::new("miss", "packet", || look_up(PACKETS)),
        rewrite("rewrite-dr", DirectRoute, l4::TCP, Request),
        rewrite("rewrite-tun", Tunnel, l4::TCP, Request),
        rewrite("rewrite-nat", Masquerade, l4::TCP, Request),
        rewrite("rewrite-nat-reply", Masquerade, l4::TCP, Reply),
        rewrite("rewrite-nat-udp", Masquerade, l4::UDP, Request),
        rewrite("rewrite-fullnat", FullNat, l4::TCP, Request),
        rewrite("rewrite-fullnat-reply", FullNat, l4::TCP, Reply),
    ]
}

fn request(client: u32) -> FlowKey {
    Flow { client, method: Method::Masquerade, protocol: l4::TCP }.key()
}

fn parse(protocol: u8) -> Option<u32> {
    let frame = Flow { client: 7, method: Method::Masquerade, protocol }.packet(flag::ACK);
    let done = measured(|| {
        let mut done = 0;
        for _ in 0..PACKETS {
            let meta = PacketMeta::parse(black_box(&frame), MAC, RxChecksum::Unknown, false);
            done += u32::from(black_box(meta).class == Class::Flow);
        }
        done
    });
    (done == PACKETS).then_some(done)
}

/// Looks up keys from `first` on in a table that holds the keys from 0 on. It takes the same steps
/// as the worker: all keys of a burst are approached, then guessed, then looked for in the other
/// bucket if needed. For a known connection, one comparison then tells whether the guess is right.
/// Any other key is also confirmed.
fn look_up(first: u32) -> Option<u32> {
    let mut table = FlowTable::new(PACKETS, 42);
    for n in 0..PACKETS {
        let reply = request(n + 2 * PACKETS).reversed();
        table.insert(Hot { request: request(n), reply, ..Hot::VACANT }, Cold::VACANT).ok()?;
    }
    let keys: Vec<FlowKey> = (first..first + PACKETS).map(request).collect();
    let found = measured(|| {
        let mut found = 0;
        for keys in keys.chunks(BURST) {
            let mut approaches = [Approach::default(); BURST];
            let mut candidates = [Candidate::UNKNOWN; BURST];
            let mut away = 0_u32;
            for (approach, key) in approaches.iter_mut().zip(keys) {
                *approach = table.approach(*key);
            }
            for nth in 0..keys.len() {
                let (candidate, elsewhere) = table.guess(approaches[nth]);
                candidates[nth] = candidate;
                away |= u32::from(elsewhere) << nth;
            }
            while away != 0 {
                let nth = away.trailing_zeros() as usize;
                away &= away - 1;
                candidates[nth] = table.guess_away(approaches[nth], candidates[nth]);
            }
            for (key, candidate) in keys.iter().zip(candidates) {
                let known = table.guessed(*key, candidate).is_some();
                found += u32::from(known || table.confirm(*key, candidate).is_some());
            }
        }
        found
    });
    (found == if first == 0 { PACKETS } else { 0 }).then_some(PACKETS)
}

/// Forwards the packets of known connections.
fn rewrite(method: Method, protocol: u8, direction: Direction) -> Option<u32> {
    let (workers, _tokens) = Workers::new(1);
    let snapshot = rules(workers)?.release(0);
    let (dest, _) = snapshot.dests.iter().find(|(_, info)| info.method == method)?;
    let mut frames: Vec<FixedFrame> = (0..BURST).map(|_| FixedFrame::empty()).collect();
    let mut done = 0;
    for burst in 0..BURSTS {
        let flow = |client| Flow { client, method, protocol };
        let mut conns: Vec<Hot> =
            (burst * BURST as u32..).take(BURST).map(|n| connection(flow(n), dest as u32)).collect();
        let fill = |(frame, conn): (&mut FixedFrame, &Hot)| {
            frame.fill(&packet(conn.key(direction), flag::ACK));
            PacketMeta::parse(frame.bytes(), MAC, RxChecksum::Unknown, false)
        };
        let metas: Vec<PacketMeta> = frames.iter_mut().zip(&conns).map(fill).collect();
        done += measured(|| {
            let mut sent = 0;
            for ((frame, meta), conn) in frames.iter_mut().zip(&metas).zip(&mut conns) {
                sent += u32::from(black_box(send(&snapshot, frame, meta, conn, direction)).is_ok());
            }
            sent
        });
    }
    (done == PACKETS).then_some(done)
}

/// The connection of `flow` to a real server. Its checksum deltas are wrong.
fn connection(flow: Flow, dest: u32) -> Hot {
    let request = flow.key();
    let (addr, port) = match flow.method {
        Method::FullNat => (LOCAL, request.sport()),
        _ => (request.src(), request.sport()),
    };
    let reply = if flow.method.is_translated() {
        FlowKey::new(flow.protocol, server(dest), SERVER_PORT, addr, port)
    } else {
        request.reversed()
    };
    let hops = [LAN.index() as u32, WAN.index() as u32];
    let flags = Flags::from_bits(flow.method as u16);
    Hot { request, reply, track: Track { dest, hops, flags, ..Track::VACANT } }
}
