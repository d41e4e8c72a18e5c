//! Attributes. They are read by the rules that Linux has for old families, and written as Linux
//! does.

use netlink_packet_core::{Emitable, NLA_ALIGNTO, NLA_HEADER_SIZE, Nla, NlaBuffer, NlasIterator, nla_align};
use nix::errno::Errno;

/// What Linux requires of an attribute's value (`lib/nlattr.c: validate_nla`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy {
    /// A list of attributes: empty, or at least one attribute header.
    Attributes,
    /// A number: at least this many bytes. Later bytes are ignored.
    AtLeast(usize),
    /// Bytes: at most this many.
    AtMost(usize),
    /// A text: at most this many bytes, then a NUL.
    Text(usize),
}

/// The attributes that a message or a nest may have. All others are ignored.
pub(super) type Policies = [(u16, Policy)];

/// The values of attributes that agree with their policies.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    policies: &'static Policies,
    /// The last value of each attribute, in the order of `policies`.
    values: Vec<Option<&'a [u8]>>,
}

/// An attribute that does not agree with its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// `ERANGE`, or `EINVAL` for a text without a NUL.
    pub(super) errno: Errno,
    /// Where the attribute begins: bytes from the start of all attributes.
    pub(super) offset: usize,
}

impl<'a> Attributes<'a> {
    /// Reads attributes. The first bytes that cannot be an attribute end the list; the rest is
    /// ignored.
    pub(super) fn read(bytes: &'a [u8], policies: &'static Policies) -> Result<Self, Broken> {
        let mut values = vec![None; policies.len()];
        let mut offset = 0;
        for attribute in NlasIterator::new(bytes).map_while(Result::ok) {
            let value_at = offset + NLA_HEADER_SIZE;
            let length = usize::from(attribute.length());
            let place = policies.iter().position(|(kind, _)| *kind == attribute.kind());
            if let Some(place) = place {
                let value = &bytes[value_at..offset + length];
                policies[place].1.check(value).map_err(|errno| Broken { errno, offset })?;
                values[place] = Some(value);
            }
            offset += nla_align!(length);
        }
        Ok(Self { policies, values })
    }

    /// The value of an attribute, if the message has this attribute.
    pub(super) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        let place = self.policies.iter().position(|(other, _)| *other == kind)?;
        self.values[place]
    }

    /// A number of one byte.
    pub(super) fn u8(&self, kind: u16) -> Option<u8> {
        self.first(kind).map(u8::from_ne_bytes)
    }

    /// A number in host order.
    pub(super) fn u16(&self, kind: u16) -> Option<u16> {
        self.first(kind).map(u16::from_ne_bytes)
    }

    /// A number in network order.
    pub(super) fn be16(&self, kind: u16) -> Option<u16> {
        self.first(kind).map(u16::from_be_bytes)
    }

    /// A number in host order.
    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        self.first(kind).map(u32::from_ne_bytes)
    }

    /// The value, cut or filled up with zeros to `N` bytes.
    pub(super) fn filled<const N: usize>(&self, kind: u16) -> Option<[u8; N]> {
        let value = self.bytes(kind)?;
        let length = value.len().min(N);
        let mut filled = [0; N];
        filled[..length].copy_from_slice(&value[..length]);
        Some(filled)
    }

    fn first<const N: usize>(&self, kind: u16) -> Option<[u8; N]> {
        self.bytes(kind)?.first_chunk().copied()
    }
}

impl Policy {
    fn check(self, value: &[u8]) -> Result<(), Errno> {
        let good = match self {
            Self::Attributes => value.is_empty() || value.len() >= NLA_HEADER_SIZE,
            Self::AtLeast(least) => value.len() >= least,
            Self::AtMost(most) => value.len() <= most,
            Self::Text(most) => {
                if !value.iter().take(most + 1).any(|byte| *byte == 0) {
                    return Err(Errno::EINVAL);
                }
                value.strip_suffix(&[0]).unwrap_or(value).len() <= most
            }
        };
        if good { Ok(()) } else { Err(Errno::ERANGE) }
    }
}

/// Appends attributes to a buffer.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// A writer that appends to `out`. Numbers of 64 bits are aligned relative to the start of
    /// `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Bytes.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.0.len();
        let attribute = Plain { kind, value };
        self.0.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut self.0[start..]);
    }

    /// A number of one byte.
    pub(super) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// A number in host order.
    pub(super) fn u16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in network order.
    pub(super) fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A number in host order.
    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in host order, aligned to eight bytes. If necessary, an empty attribute `pad` is
    /// written first.
    pub(super) fn u64(&mut self, kind: u16, pad: u16, value: u64) {
        if self.0.len().is_multiple_of(8) {
            self.bytes(pad, &[]);
        }
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A text and its NUL.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// One attribute that contains those that `inner` writes.
    pub(super) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Writer<'_>)) {
        let start = self.0.len();
        self.bytes(kind, &[]);
        inner(&mut Writer(self.0));
        let length = (self.0.len() - start) as u16;
        NlaBuffer::new(&mut self.0[start..]).set_length(length);
    }
}

/// An attribute to write.
struct Plain<'a> {
    kind: u16,
    value: &'a [u8],
}

impl Nla for Plain<'_> {
    fn value_len(&self) -> usize {
        self.value.len()
    }

    fn kind(&self) -> u16 {
        self.kind
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(self.value);
    }
}
