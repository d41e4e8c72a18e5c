//! Makes messages, and exchanges them with a director.

use lvs::wire::netlink::{Explain, FAMILY, Step, messages, receive};

use super::world::{World, u32_at};

pub(crate) const ACK: u16 = 4;
pub(crate) const DUMP: u16 = 0x300;

/// A request of the family.
pub(crate) fn request(command: u8, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = (20 + attributes.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(FAMILY.to_ne_bytes());
    bytes.extend((1 | flags).to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(4711_u32.to_ne_bytes());
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// An attribute.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// All answers to a datagram.
pub(crate) fn converse(world: &mut World, explain: Explain, request: &[u8]) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    for message in messages(request) {
        let mut step = Some(receive(&message, explain, &world.model));
        while let Some(now) = step.take() {
            step = match now {
                Step::Ask(request, pending) => Some(Step::Reply(pending.answered(world.answer(request)))),
                Step::Reply(mut replies) => {
                    datagrams.extend(&mut replies);
                    replies.more().map(|(request, pending)| Step::Ask(request, pending))
                }
            };
        }
    }
    datagrams
}

/// The errno in the only answer to a request; 0 for an acknowledgement.
pub(crate) fn result(world: &mut World, request: &[u8]) -> i32 {
    let answers = converse(world, Explain::default(), request);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer[4..6], [2, 0], "{answer:?}");
    -(u32_at(answer, 16) as i32)
}

/// The messages of a datagram, each as long as its header says.
pub(crate) fn split(mut datagram: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while datagram.len() >= 16 {
        let length = u32_at(datagram, 0) as usize;
        all.push(&datagram[..length]);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}
