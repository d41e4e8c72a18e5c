//! Builds frames exactly as `scripts/oracle.d/guest.py` builds them, and reads those that leave.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::wire::checksum;

const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1;
const RST: u8 = 4;

/// The options in a scenario's line, which stand after the two ends: `ttl=1 df`.
#[derive(Debug, Default)]
pub struct Options(HashMap<String, String>);

impl Options {
    pub fn new(words: &[&str]) -> Self {
        let pair = |word: &&str| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(words.iter().map(pair).collect())
    }

    pub fn add(&mut self, name: &str) {
        self.0.insert(name.to_owned(), String::new());
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn number(&self, name: &str, otherwise: u16) -> u16 {
        self.0.get(name).map_or(otherwise, |value| value.parse().unwrap())
    }
}

/// The frame for this verb of a scenario.
pub fn build(
    macs: ([u8; 6], [u8; 6]),
    ends: (SocketAddrV4, SocketAddrV4),
    verb: &str,
    options: &Options,
) -> Vec<u8> {
    let (src, dst) = ends;
    let udp = verb == "udp";
    let payload = vec![b'x'; options.number("len", if udp || verb == "data" { 4 } else { 0 }).into()];
    let mut segment = [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat();
    if udp {
        segment.extend((8 + payload.len() as u16).to_be_bytes());
        segment.extend([0, 0]);
    } else {
        let flags = match verb {
            "syn" => SYN,
            "ack" | "data" => ACK,
            "fin" => FIN | ACK,
            "rst" => RST,
            _ => panic!("`{verb}` is no verb"),
        } | if options.has("ack") { ACK } else { 0 };
        segment.extend(1000_u32.to_be_bytes());
        segment.extend(if flags & ACK == 0 { 0_u32 } else { 77 }.to_be_bytes());
        segment.extend([5 << 4, flags]);
        segment.extend(4096_u16.to_be_bytes());
        segment.extend([0; 4]);
    }
    segment.extend(&payload);
    let protocol = if udp { 17 } else { 6 };
    let pseudo = [
        &src.ip().octets()[..],
        &dst.ip().octets(),
        &[0, protocol],
        &(segment.len() as u16).to_be_bytes(),
        &segment,
    ];
    let mut sum = checksum::compute(&pseudo.concat());
    if udp && sum == [0, 0] {
        sum = [0xff; 2];
    }
    let at = if udp { 6 } else { 16 };
    segment[at..at + 2].copy_from_slice(&sum);
    let mut header = vec![0x45, options.number("tos", 0) as u8];
    header.extend((20 + segment.len() as u16).to_be_bytes());
    header.extend(options.number("id", 1).to_be_bytes());
    header.extend(if options.has("df") { [0x40, 0] } else { [0, 0] });
    header.extend([options.number("ttl", 64) as u8, protocol, 0, 0]);
    header.extend(src.ip().octets());
    header.extend(dst.ip().octets());
    let sum = checksum::compute(&header);
    header[10..12].copy_from_slice(&sum);
    [&macs.0[..], &macs.1, &[8, 0], &header, &segment].concat()
}

/// The IP protocol of a frame.
pub fn protocol(frame: &[u8]) -> u8 {
    frame[23]
}

/// Whether a frame is a TCP reset.
pub fn is_reset(frame: &[u8]) -> bool {
    protocol(frame) == 6 && frame[14 + usize::from(frame[14] & 15) * 4 + 13] & RST != 0
}

/// The address and port from which the real server answers `frame`.
pub fn answers_from(frame: &[u8], virtual_end: SocketAddrV4) -> SocketAddrV4 {
    if protocol(frame) == 4 {
        return virtual_end;
    }
    let start = 14 + usize::from(frame[14] & 15) * 4;
    let addr = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
    SocketAddrV4::new(addr, u16::from_be_bytes([frame[start + 2], frame[start + 3]]))
}

/// The frame in hexadecimal. The payload consists of `x` only, and is told as a number at the end.
/// The IP id is left out where the director makes the packet itself, because it may choose the id.
pub fn masked(frame: &[u8]) -> String {
    let mut frame = frame.to_vec();
    if matches!(protocol(&frame), 1 | 4) {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    let head = frame.iter().rposition(|byte| *byte != b'x').map_or(0, |last| last + 1);
    let text: String = frame[..head].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{text}+{}", frame.len() - head)
}
