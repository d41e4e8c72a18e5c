//! Frames that are used again and again, like packet buffers. They are filled on receipt and given
//! back on transmission.

use dataplane::io::Frame;

/// Room for a frame, with headroom.
pub(crate) struct Slot {
    bytes: Box<[u8; 1024]>,
    start: usize,
    end: usize,
}

impl Slot {
    /// This many empty slots.
    pub(crate) fn arena(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self { bytes: Box::new([0; 1024]), start: 0, end: 0 }).collect()
    }

    /// Copies `frame` into the slot.
    pub(crate) fn fill(&mut self, frame: &[u8]) {
        (self.start, self.end) = (128, 128 + frame.len());
        self.bytes_mut().copy_from_slice(frame);
    }
}

impl Frame for Slot {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn grow_front(&mut self, n: usize) -> bool {
        let room = self.start >= n;
        self.start -= if room { n } else { 0 };
        room
    }

    fn shrink_front(&mut self, n: usize) {
        self.start += n;
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}
