//! The messages of a datagram, and the frames of the answers.

use std::num::NonZeroI32;

use netlink_packet_core::{
    DoneMessage, Emitable, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP,
    NLM_F_MULTIPART, NLM_F_REQUEST, NLMSG_ALIGNTO, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
};
use nix::errno::Errno;

use super::attribute::Writer;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Header and payload. The header gives the length.
    bytes: &'a [u8],
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// The messages of a datagram, in order. The first message with an impossible length ends the list
/// and is not answered, as in `net/netlink/af_netlink.c: netlink_rcv_skb`.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = Message::first(rest)?;
        let aligned = message.bytes.len().next_multiple_of(NLMSG_ALIGNTO as usize);
        rest = rest.get(aligned..).unwrap_or_default();
        Some(message)
    })
}

impl<'a> Message<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let buffer = NetlinkBuffer::new_checked(bytes).ok()?;
        Some(Self {
            bytes: &bytes[..buffer.length() as usize],
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            port: buffer.port_number(),
        })
    }

    /// Header and payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The family. A number below 16 is a message of netlink itself.
    pub(super) fn kind(&self) -> u16 {
        self.kind
    }

    /// `NLM_F_*`
    pub(super) fn flags(&self) -> u16 {
        self.flags
    }

    /// Whether the message is a request.
    pub(super) fn is_request(&self) -> bool {
        self.flags & NLM_F_REQUEST != 0
    }

    /// Whether the message asks for all objects.
    pub(super) fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    /// The bytes after the header.
    pub(super) fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }

    /// The sender, who gets the answer.
    pub(super) fn sender(&self, explain: Explain) -> Sender {
        Sender {
            family: self.kind,
            sequence: self.sequence,
            port: self.port,
            acknowledge: self.flags & NLM_F_ACK != 0,
            explain,
            request: self.bytes.to_vec(),
        }
    }
}

/// How a client wants refusals explained. A new socket has the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    /// `NETLINK_CAP_ACK`: a refusal does not repeat the request.
    pub capped: bool,
    /// `NETLINK_EXT_ACK`: a refusal gives its reason.
    pub reason: bool,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Every client gets it.
    pub(super) errno: Errno,
    /// For clients that asked for reasons.
    pub(super) reason: Option<String>,
    /// Where the wrong attribute begins: bytes from the start of the message.
    pub(super) offset: Option<u32>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, reason: None, offset: None }
    }
}

/// The sender of a message, with everything that an answer needs.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    family: u16,
    sequence: u32,
    port: u32,
    acknowledge: bool,
    explain: Explain,
    request: Vec<u8>,
}

impl Sender {
    /// The acknowledgement of a request that was carried out, if the sender wants one.
    pub(super) fn acknowledgement(&self) -> Option<Vec<u8>> {
        self.acknowledge.then(|| self.error(None, &self.request[..HEADER], NLM_F_CAPPED, &[]))
    }

    /// The answer to a request that was not carried out.
    pub(super) fn refusal(&self, refusal: &Refusal) -> Vec<u8> {
        let mut flags = 0;
        let mut request = &self.request[..];
        if self.explain.capped {
            flags |= NLM_F_CAPPED;
            request = &request[..HEADER];
        }
        let mut reason = Vec::new();
        if self.explain.reason && (refusal.reason.is_some() || refusal.offset.is_some()) {
            flags |= NLM_F_ACK_TLVS;
            let mut writer = Writer::new(&mut reason);
            if let Some(text) = &refusal.reason {
                writer.text(REASON, text);
            }
            if let Some(offset) = refusal.offset {
                writer.u32(OFFSET, offset);
            }
        }
        self.error(NonZeroI32::new(-(refusal.errno as i32)), request, flags, &reason)
    }

    /// The end of a dump.
    pub(super) fn done(&self) -> Vec<u8> {
        framed(self.header(NLMSG_DONE, NLM_F_MULTIPART), |out| emit(out, &DoneMessage::default()))
    }

    /// Appends a message of the family to `out`. `body` writes its payload.
    pub(super) fn message(&self, out: &mut Vec<u8>, dump: bool, body: impl FnOnce(&mut Vec<u8>)) {
        let flags = if dump { NLM_F_MULTIPART } else { 0 };
        frame(out, self.header(self.family, flags), body);
    }

    fn error(&self, code: Option<NonZeroI32>, request: &[u8], flags: u16, reason: &[u8]) -> Vec<u8> {
        let mut message = ErrorMessage::default();
        message.code = code;
        message.header = request.to_vec();
        framed(self.header(NLMSG_ERROR, flags), |out| {
            emit(out, &message);
            // The reason begins at the next aligned place, after the part of the request.
            out.resize(out.len().next_multiple_of(NLMSG_ALIGNTO as usize), 0);
            out.extend_from_slice(reason);
        })
    }

    fn header(&self, kind: u16, flags: u16) -> NetlinkHeader {
        let mut header = NetlinkHeader::default();
        header.message_type = kind;
        header.flags = flags;
        header.sequence_number = self.sequence;
        header.port_number = self.port;
        header
    }
}

fn framed(header: NetlinkHeader, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    frame(&mut out, header, body);
    out
}

/// Writes a header and lets `body` write the payload. Then puts the length of both into the header.
fn frame(out: &mut Vec<u8>, header: NetlinkHeader, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    emit(out, &header);
    body(out);
    let length = (out.len() - start) as u32;
    NetlinkBuffer::new(&mut out[start..]).set_length(length);
}

fn emit(out: &mut Vec<u8>, part: &impl Emitable) {
    let start = out.len();
    out.resize(start + part.buffer_len(), 0);
    part.emit(&mut out[start..]);
}

/// The length of a message's header.
pub(super) const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`
const REASON: u16 = 1;
/// `NLMSGERR_ATTR_OFFS`
const OFFSET: u16 = 2;
