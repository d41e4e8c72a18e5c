//! Netlink messages as far as this library must understand them. Numbers are in host order.

/// The family `IPVS` as the daemon numbers it (`control/lvs/src/wire/netlink/family.rs`). The
/// kernel's families have numbers up to 1023, so a number says whose family it is.
pub(crate) const FAMILY: u16 = 1052;
/// A socket option (`control/lvs/src/wire/netlink/option.rs`).
pub(crate) const OPTION: u16 = 1053;
/// The text of a file (`control/lvs/src/wire/netlink/text.rs`).
pub(crate) const TEXT: u16 = 1054;

/// The length of a message's header.
pub(crate) const HEADER: usize = 16;
/// `NLMSG_ERROR`
pub(crate) const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST`
pub(crate) const REQUEST: u16 = 1;
const MULTI: u16 = 2;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;

/// `nlctrl`, the family that describes families.
const CONTROL: u16 = 16;
/// `CTRL_ATTR_FAMILY_ID`
const NUMBER: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`
const NAME: u16 = 2;
const NAME_IPVS: &[u8] = b"IPVS";

/// A message in a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) kind: u16,
    flags: u16,
    pub(crate) sequence: u32,
}

/// The messages of a datagram. The last one may be cut off. The list ends at an impossible length.
pub(crate) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let length = u32_at(header, 0)? as usize;
        if length < HEADER {
            return None;
        }
        let bytes = rest.get(..length).unwrap_or(rest);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            bytes,
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
        })
    })
}

impl Message<'_> {
    /// Whether the message is for Vipline: it is of our family, or it asks `nlctrl` about it.
    pub(crate) fn is_ours(&self) -> bool {
        match self.kind {
            FAMILY => true,
            CONTROL if !self.is_dump() => {
                attributes(self.bytes.get(HEADER + 4..).unwrap_or_default()).any(|(kind, value)| match kind {
                    NAME => value.strip_suffix(b"\0").unwrap_or(value) == NAME_IPVS,
                    NUMBER => u16_at(value, 0) == Some(FAMILY),
                    _ => false,
                })
            }
            _ => false,
        }
    }

    fn is_dump(&self) -> bool {
        self.flags & DUMP == DUMP
    }

    /// Whether an answer must come. A change that wants no acknowledgement is answered only if it
    /// is refused.
    pub(crate) fn wants_answer(&self) -> bool {
        self.flags & REQUEST != 0 && (self.flags & ACK != 0 || self.is_dump() || self.is_question())
    }

    /// Whether the message asks for an object: `GETFAMILY`, `GET_SERVICE`, `GET_CONFIG`, `GET_INFO`.
    fn is_question(&self) -> bool {
        let command = self.bytes.get(HEADER).copied();
        self.kind == CONTROL || matches!(command, Some(4 | 13 | 15))
    }

    /// Whether this is the last message of the answer to `asked`.
    pub(crate) fn ends(&self, asked: &Message<'_>) -> bool {
        match self.kind {
            ERROR | DONE => true,
            _ => self.flags & MULTI == 0 && asked.flags & ACK == 0,
        }
    }
}

/// The refusal of a request with an errno, as the kernel would give it.
pub(crate) fn refusal(request: &[u8], errno: i32) -> Vec<u8> {
    let request = messages(request).next();
    let bytes = request.map_or(&[][..], |request| request.bytes);
    let sequence = request.map_or(0, |request| request.sequence);
    let mut out = header(ERROR, 0, sequence, bytes.get(12..16).and_then(|port| u32_at(port, 0)).unwrap_or(0));
    out.extend((-errno).to_ne_bytes());
    out.extend(bytes);
    finish(out)
}

/// A message of Vipline's own.
pub(crate) fn own(kind: u16, body: &[&[u8]]) -> Vec<u8> {
    let mut out = header(kind, REQUEST, 1, 0);
    body.iter().for_each(|part| out.extend_from_slice(part));
    finish(out)
}

fn header(kind: u16, flags: u16, sequence: u32, port: u32) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(port.to_ne_bytes());
    out
}

/// Puts the length into the header.
fn finish(mut out: Vec<u8>) -> Vec<u8> {
    let length = (out.len() as u32).to_ne_bytes();
    out[..4].copy_from_slice(&length);
    out
}

/// Writes the sender's port into the header if there is none. The kernel answers with the port of
/// the socket, and the daemon with the port of the request.
pub(crate) fn stamp(bytes: &mut [u8], port: u32) {
    if let Some(field) = bytes.get_mut(12..16)
        && field == [0; 4]
    {
        field.copy_from_slice(&port.to_ne_bytes());
    }
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A number in host order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut out = header(kind, flags, 9, 0);
        out.extend_from_slice(body);
        finish(out)
    }

    fn first(bytes: &[u8]) -> Message<'_> {
        messages(bytes).next().unwrap()
    }

    #[test]
    fn only_messages_about_ipvs_are_ours() {
        let by_name = |name: &[u8]| {
            let length = (4 + name.len()) as u16;
            let attribute = [&length.to_ne_bytes()[..], &NAME.to_ne_bytes(), name, &[0; 4]].concat();
            about(CONTROL, 5, &[&[3, 1, 0, 0], &attribute[..]].concat())
        };
        assert!(first(&by_name(b"IPVS\0")).is_ours());
        assert!(first(&by_name(b"IPVS")).is_ours());
        assert!(!first(&by_name(b"IPVS2\0")).is_ours());
        assert!(!first(&by_name(b"nl80211\0")).is_ours());
        assert!(first(&about(FAMILY, 5, &[15, 1, 0, 0])).is_ours());
        assert!(!first(&about(28, 5, &[15, 1, 0, 0])).is_ours());
        assert!(!first(&about(CONTROL, 0x305, &[3, 1, 0, 0])).is_ours());
        assert!(!first(&about(CONTROL, 5, &[3, 1])).is_ours());
    }

    #[test]
    fn a_request_waits_until_its_last_message() {
        let get = about(FAMILY, REQUEST | ACK, &[15, 1, 0, 0]);
        let plain = about(FAMILY, REQUEST, &[15, 1, 0, 0]);
        let change = about(FAMILY, REQUEST, &[17, 1, 0, 0]);
        let dump = about(FAMILY, REQUEST | DUMP, &[4, 1, 0, 0]);
        assert!(first(&get).wants_answer() && first(&plain).wants_answer() && first(&dump).wants_answer());
        assert!(!first(&change).wants_answer());
        let (data, part, end) = (
            about(FAMILY, 0, &[14, 1, 0, 0]),
            about(FAMILY, MULTI, &[1, 1, 0, 0]),
            about(DONE, MULTI, &[0; 4]),
        );
        assert!(!first(&data).ends(&first(&get)) && first(&data).ends(&first(&plain)));
        assert!(!first(&part).ends(&first(&dump)) && first(&end).ends(&first(&dump)));
    }

    #[test]
    fn a_refusal_repeats_the_request() {
        let mut request = about(FAMILY, REQUEST | ACK, &[17, 1, 0, 0]);
        stamp(&mut request, 77);
        let bytes = refusal(&request, libc::EBUSY);
        let answer = first(&bytes);
        assert_eq!((answer.kind, answer.sequence, bytes.len()), (ERROR, 9, 16 + 4 + request.len()));
        assert_eq!(u32_at(&bytes, 12), Some(77));
        assert_eq!(u32_at(&bytes, 16), Some(-libc::EBUSY as u32));
        assert_eq!(bytes[20..], request);
    }

    #[test]
    fn broken_datagrams_end_the_list() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
        let cut = &about(FAMILY, 0, &[1; 40])[..30];
        assert_eq!(messages(cut).map(|message| message.bytes.len()).collect::<Vec<_>>(), [30]);
    }
}
