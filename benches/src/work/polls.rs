//! Other polls: those with nothing to do, and those with packets of many kinds.

use dataplane::BURST;
use dataplane::snapshot::dest::Method;
use dataplane::wire::l4;
use dataplane::wire::l4::flag;

use super::BURSTS;
use super::PACKETS;
use super::Work;
use super::measured;
use super::packets::requests;
use crate::packet::Flow;
use crate::packet::Packet;
use crate::rig::Rig;
use crate::rules::METHODS;

const POLLS: u32 = 1000;

/// Work by name.
pub(super) fn all() -> Vec<Work> {
    vec![
        Work::new("idle", "poll", || idle(0)),
        Work::new("idle-tick", "poll", || idle(1)),
        Work::new("mixed", "packet", mixed),
    ]
}

/// Polls without packets, `ticks` apart, while the table has connections.
fn idle(ticks: u32) -> Option<u32> {
    let mut rig = Rig::new(PACKETS)?;
    for burst in 0..BURSTS {
        rig.lay(requests(burst, Method::Masquerade, l4::TCP, flag::SYN));
        rig.poll();
    }
    let before = rig.stats().idle_polls.get();
    for _ in 0..POLLS {
        rig.wait(ticks);
        measured(rig.poller());
    }
    (rig.stats().idle_polls.get() - before == u64::from(POLLS)).then_some(POLLS)
}

/// What a packet of the mixed burst is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Established,
    Datagram,
    New,
    Fin,
    /// A packet of no service: it goes to the host.
    Stray,
}

/// The parts of a mixed burst, for every method.
const PARTS: [Part; 8] = {
    use Part::{Datagram, Established, Fin, New, Stray};
    [Established, New, Established, Datagram, Established, Fin, Stray, Established]
};

/// Bursts with packets of all methods and kinds. In each poll one burst comes from the clients and
/// half a burst from the real servers.
fn mixed() -> Option<u32> {
    let mut rig = Rig::new(PACKETS)?;
    let (mut done, mut strays) = (0, 0);
    for burst in 0..BURSTS {
        for flags in [flag::SYN, flag::ACK] {
            rig.lay(mixture(burst).filter_map(|(part, flow)| opening(part, flow, flags)));
            rig.poll();
        }
        rig.lay_answers(flag::ACK);
        rig.lay(mixture(burst).map(|(part, flow)| middle(part, flow)));
        done += measured(rig.poller());
        strays += mixture(burst).filter(|(part, _)| *part == Part::Stray).count();
    }
    rig.forwarded_all_but(strays as u64).then_some(done as u32)
}

fn mixture(burst: u32) -> impl Iterator<Item = (Part, Flow)> {
    (0..BURST).map(move |n| {
        let part = PARTS[n % PARTS.len()];
        let protocol = if part == Part::Datagram { l4::UDP } else { l4::TCP };
        let client = burst * BURST as u32 + n as u32;
        (part, Flow { client, method: METHODS[n / PARTS.len() % METHODS.len()], protocol })
    })
}

/// An earlier packet of the packet's connection, if the connection had begun.
fn opening(part: Part, flow: Flow, flags: u8) -> Option<Packet> {
    (!matches!(part, Part::New | Part::Stray)).then(|| flow.packet(flags))
}

fn middle(part: Part, flow: Flow) -> Packet {
    match part {
        Part::Established | Part::Datagram => flow.packet(flag::ACK),
        Part::New => flow.packet(flag::SYN),
        Part::Fin => flow.packet(flag::FIN | flag::ACK),
        Part::Stray => {
            let mut packet = flow.packet(flag::SYN);
            // Another port of the VIP.
            packet[37] += 1;
            packet
        }
    }
}
