//! Frames: a big-endian `u32` length and that many bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest request the daemon reads.
pub const MAX_REQUEST: u32 = 16 << 20;
/// The longest answer a client reads.
pub const MAX_RESPONSE: u32 = 1 << 30;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a message of {length} bytes is longer than {limit}")]
    TooLong { length: u32, limit: u32 },
    #[error("the message ends too early")]
    Truncated,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads a frame; `None` if the other side closed between frames. The buffer grows with the bytes
/// that arrive, not with the length that was announced.
pub(super) fn read(from: &mut impl Read, limit: u32) -> Result<Option<Vec<u8>>, FrameError> {
    let mut header = Vec::with_capacity(4);
    from.by_ref().take(4).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(None);
    }
    let header = <[u8; 4]>::try_from(header).map_err(|_| FrameError::Truncated)?;
    let length = u32::from_be_bytes(header);
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut body = Vec::new();
    from.by_ref().take(u64::from(length)).read_to_end(&mut body)?;
    if body.len() == length as usize { Ok(Some(body)) } else { Err(FrameError::Truncated) }
}

/// Writes a frame.
pub(super) fn write(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

/// A stream with one deadline for all reads and writes together. So a peer that sends single bytes
/// slowly is as late as one that sends none.
pub(super) struct Timed<'a> {
    stream: &'a UnixStream,
    deadline: Instant,
}

impl<'a> Timed<'a> {
    pub(super) fn new(stream: &'a UnixStream, within: Duration) -> Self {
        Self { stream, deadline: Instant::now() + within }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        (&*self.stream).read(into)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        (&*self.stream).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
