//! Netlink beyond rtnetlink: attributes as bytes, and a socket that asks and is answered.
//!
//! This serves the few messages of generic netlink and of nftables that are needed here. All
//! numbers are in the host's byte order, unless the caller writes them otherwise.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

const DATAGRAM: usize = 1 << 15;
/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// A message's body: a fixed header, then attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    /// A body that begins with `header`, whose length is a multiple of four.
    pub(super) fn new(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    /// The same body with one more attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// The same body with a text, which a zero byte ends.
    pub(super) fn with_text(self, kind: u16, text: &str) -> Self {
        self.with(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// The same body with an attribute that contains attributes.
    pub(super) fn with_nest(self, kind: u16, inner: &Self) -> Self {
        self.with(kind | NESTED, &inner.0)
    }
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Body,
}

impl Message {
    /// A message of type `kind`. `flags` are added to `NLM_F_REQUEST`.
    pub(super) fn new(kind: u16, flags: u16, body: Body) -> Self {
        Self { kind, flags, body }
    }
}

/// A connected socket of one netlink protocol.
#[derive(Debug)]
pub(super) struct Line {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Line {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Asks, and returns the answer's body without its first `header` bytes. It is empty when the
    /// answer was only an acknowledgement.
    pub(super) fn ask(&mut self, message: Message, header: usize) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.exchange(&[Message { flags: message.flags | NLM_F_ACK, ..message }], |body| {
            answer = body.get(header..).unwrap_or_default().to_vec();
        })?;
        Ok(answer)
    }

    /// Sends messages together. Waits until all that ask for an acknowledgement have it, or one is
    /// refused.
    pub(super) fn batch(&mut self, messages: &[Message]) -> io::Result<()> {
        self.exchange(messages, |_| {})
    }

    fn exchange(&mut self, messages: &[Message], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut awaited = 0;
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            awaited += usize::from(message.flags & NLM_F_ACK != 0);
            bytes.extend_from_slice(&((HEADER + message.body.0.len()) as u32).to_ne_bytes());
            bytes.extend_from_slice(&message.kind.to_ne_bytes());
            bytes.extend_from_slice(&(message.flags | NLM_F_REQUEST).to_ne_bytes());
            bytes.extend_from_slice(&self.sequence.to_ne_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&message.body.0);
        }
        self.socket.send(&bytes, 0)?;
        let sent = self.sequence.wrapping_sub(first);
        while awaited > 0 {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0).or_else(|e| match e.kind() {
                io::ErrorKind::Interrupted => Ok(0),
                io::ErrorKind::WouldBlock => Err(io::Error::from(io::ErrorKind::TimedOut)),
                _ => Err(e),
            })?;
            let mut bytes = self.buffer.as_slice();
            while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
                let (length, payload) = (message.length() as usize, message.payload());
                if message.sequence_number().wrapping_sub(first) <= sent {
                    match message.message_type() {
                        NLMSG_ERROR | NLMSG_DONE => {
                            match payload.first_chunk().map(|c| i32::from_ne_bytes(*c)) {
                                Some(code) if code < 0 => return Err(io::Error::from_raw_os_error(-code)),
                                _ => awaited -= 1,
                            }
                        }
                        _ => each(payload),
                    }
                }
                bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        Ok(())
    }
}

/// The value of the first attribute of that kind.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let found =
        NlasIterator::new(attributes).filter_map(Result::ok).find(|nla| nla.kind() & TYPE_MASK == kind)?;
    Some(found.value().to_vec())
}

/// The same as a 32-bit number.
pub(super) fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(attribute(attributes, kind)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let inner = Body::default().with(1, &7_u32.to_ne_bytes());
        let body = Body::default().with_text(2, "eth0").with_nest(3, &inner);
        assert_eq!(body.0.len(), 12 + 12);
        assert_eq!(attribute(&body.0, 2).unwrap(), b"eth0\0");
        assert_eq!(number(&attribute(&body.0, 3).unwrap(), 1), Some(7));
        assert_eq!(attribute(&body.0, 4), None);
    }
}
