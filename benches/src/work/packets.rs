//! Bursts of packets of one kind through a whole poll, for each method and each step of a
//! connection's life.

use dataplane::BURST;
use dataplane::snapshot::dest::Method;
use dataplane::wire::l4;
use dataplane::wire::l4::flag;

use super::BURSTS;
use super::PACKETS;
use super::Work;
use super::measured;
use crate::packet::Flow;
use crate::packet::Packet;
use crate::rig::Rig;

/// A packet of a connection, with its TCP flags.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// From the client.
    Ask(u8),
    /// From the real server: the answer to the client's last packet.
    Answer(u8),
}

use Step::{Answer, Ask};

const SYN: u8 = flag::SYN;
const ACK: u8 = flag::ACK;
const RST: u8 = flag::RST;
const SYN_ACK: u8 = SYN | ACK;
const FIN_ACK: u8 = flag::FIN | ACK;

/// A connection's life as the director sees it, if replies pass it.
pub(super) const LIFE: [Step; 8] =
    [Ask(SYN), Answer(SYN_ACK), Ask(ACK), Ask(ACK), Answer(ACK), Ask(FIN_ACK), Answer(FIN_ACK), Ask(ACK)];
/// The same if they do not.
const ONE_WAY: [Step; 5] = [Ask(SYN), Ask(ACK), Ask(ACK), Ask(FIN_ACK), Ask(ACK)];
const RESET: [Step; 4] = [Ask(SYN), Answer(SYN_ACK), Ask(ACK), Ask(RST)];
const RESET_REPLY: [Step; 5] = [Ask(SYN), Answer(SYN_ACK), Ask(ACK), Ask(ACK), Answer(RST)];
const ONE_WAY_RESET: [Step; 3] = [Ask(SYN), Ask(ACK), Ask(RST)];
/// A SYN on a connection that is over.
const REUSE: [Step; 9] = {
    let [a, b, c, d, e, f, g, h] = LIFE;
    [a, b, c, d, e, f, g, h, Ask(SYN)]
};
const DATAGRAMS: [Step; 4] = [Ask(0), Answer(0), Ask(0), Answer(0)];

/// The work by name: the last packet of each life is counted.
pub(super) fn all() -> Vec<Work> {
    use Method::{DirectRoute, FullNat, Masquerade, Tunnel};
    let tcp =
        |name, method, life: &'static [Step]| Work::new(name, "packet", move || carry(method, l4::TCP, life));
    let udp =
        |name, method, life: &'static [Step]| Work::new(name, "packet", move || carry(method, l4::UDP, life));
    vec![
        tcp("dr", DirectRoute, &ONE_WAY[..3]),
        tcp("tun", Tunnel, &ONE_WAY[..3]),
        tcp("nat", Masquerade, &LIFE[..4]),
        tcp("nat-reply", Masquerade, &LIFE[..5]),
        tcp("fullnat", FullNat, &LIFE[..4]),
        tcp("fullnat-reply", FullNat, &LIFE[..5]),
        tcp("new-dr", DirectRoute, &ONE_WAY[..1]),
        tcp("new-tun", Tunnel, &ONE_WAY[..1]),
        tcp("new-nat", Masquerade, &LIFE[..1]),
        tcp("new-fullnat", FullNat, &LIFE[..1]),
        tcp("nat-syn-ack", Masquerade, &LIFE[..2]),
        tcp("nat-open", Masquerade, &LIFE[..3]),
        tcp("nat-fin", Masquerade, &LIFE[..6]),
        tcp("nat-fin-reply", Masquerade, &LIFE[..7]),
        tcp("nat-last-ack", Masquerade, &LIFE),
        tcp("nat-rst", Masquerade, &RESET),
        tcp("nat-rst-reply", Masquerade, &RESET_REPLY),
        tcp("nat-reuse", Masquerade, &REUSE),
        tcp("dr-open", DirectRoute, &ONE_WAY[..2]),
        tcp("dr-fin", DirectRoute, &ONE_WAY[..4]),
        tcp("dr-last-ack", DirectRoute, &ONE_WAY),
        tcp("dr-rst", DirectRoute, &ONE_WAY_RESET),
        udp("dr-udp", DirectRoute, &[Ask(0), Ask(0)]),
        udp("nat-udp", Masquerade, &DATAGRAMS[..3]),
        udp("nat-udp-reply", Masquerade, &DATAGRAMS),
        udp("new-nat-udp", Masquerade, &DATAGRAMS[..1]),
    ]
}

/// Carries bursts of connections through `life`, and counts the last packets.
fn carry(method: Method, protocol: u8, life: &[Step]) -> Option<u32> {
    let mut rig = Rig::new(PACKETS)?;
    let (last, before) = life.split_last()?;
    let mut done = 0;
    for burst in 0..BURSTS {
        for step in before {
            lay(&mut rig, *step, burst, method, protocol);
            rig.poll();
        }
        lay(&mut rig, *last, burst, method, protocol);
        done += measured(rig.poller());
    }
    (rig.forwarded_all_but(0) && done as u32 == PACKETS).then_some(PACKETS)
}

/// Prepares the packets of a burst of connections.
pub(super) fn lay(rig: &mut Rig, step: Step, burst: u32, method: Method, protocol: u8) {
    match step {
        Ask(flags) => rig.lay(requests(burst, method, protocol, flags)),
        Answer(flags) => rig.lay_answers(flags),
    }
}

/// A packet of each client of a burst.
pub(super) fn requests(burst: u32, method: Method, protocol: u8, flags: u8) -> impl Iterator<Item = Packet> {
    let clients = (burst * BURST as u32..).take(BURST);
    clients.map(move |client| Flow { client, method, protocol }.packet(flags))
}
