//! The messages by which `ffi/preload` reads the texts of [`crate::proc`]. Linux has no such
//! messages.
//!
//! The request has the name of a file. The answer is messages with parts of the text, and a last one
//! without any; or a refusal.

use nix::errno::Errno;

use super::message::{Explain, Message};
use crate::proc::File;

/// The number of these messages, above those of Linux's families.
const TEXT: u16 = 1054;
/// The longest part of a text in a message, in bytes.
const PART: usize = 16 << 10;

impl Message<'_> {
    /// The file whose text is wanted. `None` if this is another message. `ENOENT` if there is no
    /// such file.
    pub fn text_wanted(&self) -> Option<Result<File, Errno>> {
        (self.kind() == TEXT).then(|| File::named(self.payload()).ok_or(Errno::ENOENT))
    }

    /// Parts of a text. Each is a datagram.
    pub fn text<'a>(&self, text: &'a str) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let sender = self.sender(Explain::default());
        text.as_bytes().chunks(PART).map(move |part| {
            let mut datagram = Vec::new();
            sender.message(&mut datagram, true, |out| out.extend_from_slice(part));
            datagram
        })
    }

    /// The end of a text.
    pub fn text_end(&self) -> Vec<u8> {
        let mut datagram = Vec::new();
        self.sender(Explain::default()).message(&mut datagram, false, |_| ());
        datagram
    }

    /// The refusal of a text.
    pub fn text_refused(&self, errno: Errno) -> Vec<u8> {
        self.sender(Explain::default()).refusal(&errno.into())
    }
}
