//! Counts of a port by the worker, for drivers that do not count.

use crate::io::Frame;
use crate::stats::Counter;

/// Packets and bytes that one worker moved through one port.
#[derive(Debug, Default)]
pub struct PortCounts {
    /// Packets received.
    pub rx_packets: Counter,
    /// Bytes received; 0 unless bytes are counted.
    pub rx_bytes: Counter,
    /// Packets that the device accepted.
    pub tx_packets: Counter,
    /// Bytes that the device accepted; 0 unless bytes are counted.
    pub tx_bytes: Counter,
    bytes: bool,
}

impl PortCounts {
    /// Counters that count bytes too. For that the worker must look at each packet.
    pub fn with_bytes() -> Self {
        Self { bytes: true, ..Self::default() }
    }

    /// The worker received these frames.
    #[inline]
    pub fn received<F: Frame>(&self, frames: &[F]) {
        self.rx_packets.add(frames.len() as u64);
        if self.bytes {
            self.rx_bytes.add(bytes(frames));
        }
    }

    /// The worker offered `before` frames of `bytes_before` bytes to the device. The device did not
    /// accept the frames in `left`.
    #[inline]
    pub fn sent<F: Frame>(&self, before: usize, bytes_before: u64, left: &[F]) {
        self.tx_packets.add((before - left.len()) as u64);
        if self.bytes {
            self.tx_bytes.add(bytes_before - bytes(left));
        }
    }

    /// The bytes of frames that the worker is about to send; 0 unless bytes are counted.
    #[inline]
    pub fn bytes_of<F: Frame>(&self, frames: &[F]) -> u64 {
        if self.bytes { bytes(frames) } else { 0 }
    }
}

fn bytes<F: Frame>(frames: &[F]) -> u64 {
    frames.iter().map(|frame| frame.bytes().len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    use crate::mem::MemFrame;

    fn frames(lengths: &[usize]) -> Vec<MemFrame> {
        lengths.iter().map(|length| MemFrame::new(&vec![0; *length])).collect()
    }

    #[test]
    fn frames_that_the_device_left_are_not_counted_as_sent() {
        let counts = PortCounts::with_bytes();
        counts.received(&frames(&[60, 100]));
        let burst = frames(&[60, 70, 80]);
        let bytes = counts.bytes_of(&burst);
        counts.sent(burst.len(), bytes, &burst[2..]);
        let got =
            [&counts.rx_packets, &counts.rx_bytes, &counts.tx_packets, &counts.tx_bytes].map(Counter::get);
        assert_eq!(got, [2, 160, 2, 130]);
    }

    #[test]
    fn bytes_are_not_counted_unless_asked_for() {
        let counts = PortCounts::default();
        counts.received(&frames(&[60]));
        assert_eq!((counts.rx_packets.get(), counts.rx_bytes.get()), (1, 0));
    }
}
