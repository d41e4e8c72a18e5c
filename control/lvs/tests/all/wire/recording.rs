//! Reads the recordings of `scripts/record-wire`.

use std::path::{Path, PathBuf};

use lvs::wire::netlink::FAMILY;

/// A recorded request with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The command, and the line in the file.
    pub(crate) name: String,
    pub(crate) said: Said,
}

#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// A datagram to the kernel, and the datagrams from it.
    Netlink { request: Vec<u8>, replies: Vec<Vec<u8>> },
    /// `setsockopt`: the value, and 0 or the errno.
    Set { option: i32, value: Vec<u8>, result: i32 },
    /// `getsockopt`: the buffer before, 0 or the errno, and the buffer afterwards.
    Get { option: i32, before: Vec<u8>, result: i32, after: Vec<u8> },
}

/// All exchanges in a file of `recorded`, or of the directory `VIPLINE_WIRE_RECORDED`.
pub(crate) fn read(file: &str) -> Vec<Exchange> {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/wire/recorded");
    let dir = std::env::var_os("VIPLINE_WIRE_RECORDED").map_or_else(ours, PathBuf::from);
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut name = "";
    for (number, line) in text.lines().enumerate() {
        let words: Vec<_> = line.split(' ').collect();
        let said = match words[..] {
            ["#", "|" | "exit", ..] => continue,
            ["#", ..] => {
                name = &line[2..];
                continue;
            }
            [">", bytes] => Said::Netlink { request: renumbered(hex(bytes)), replies: Vec::new() },
            ["<", bytes] => {
                match &mut exchanges.last_mut().unwrap().said {
                    Said::Netlink { replies, .. } => replies.push(renumbered(hex(bytes))),
                    other => panic!("{file}:{}: a reply to {other:?}", number + 1),
                }
                continue;
            }
            ["set", option, value, result] => Said::Set {
                option: option.parse().unwrap(),
                value: hex(value),
                result: result.parse().unwrap(),
            },
            ["get", option, before, result, after] => Said::Get {
                option: option.parse().unwrap(),
                before: hex(before),
                result: result.parse().unwrap(),
                after: hex(after),
            },
            _ => panic!("{file}:{}: {line}", number + 1),
        };
        exchanges.push(Exchange { name: format!("{file}:{}: {name}", number + 1), said });
    }
    assert!(!exchanges.is_empty(), "{file} is empty");
    exchanges
}

/// The number that Linux gave to the family when the recordings were made.
const LINUX: u16 = 28;

/// The same datagram with Vipline's number of the family: in the headers of messages, in the header
/// of a request that a refusal or an acknowledgement repeats, and in the attribute of `nlctrl` that
/// tells it.
fn renumbered(mut datagram: Vec<u8>) -> Vec<u8> {
    let put = |datagram: &mut Vec<u8>, at: usize| {
        if datagram.get(at..at + 2) == Some(&LINUX.to_ne_bytes()) {
            datagram[at..at + 2].copy_from_slice(&FAMILY.to_ne_bytes());
        }
    };
    let mut at = 0;
    while let Some(header) = datagram.get(at..at + 16) {
        let length = u32::from_ne_bytes(header[..4].try_into().unwrap()) as usize;
        let kind = u16::from_ne_bytes(header[4..6].try_into().unwrap());
        put(&mut datagram, at + 4);
        if kind == 2 {
            put(&mut datagram, at + 24);
        }
        let attribute = [6, 0, 1, 0, LINUX as u8, 0, 0, 0];
        let from = at + 16;
        if kind == 16 || kind == 2 {
            let body = datagram.get(from..).unwrap_or_default();
            if let Some(found) = body.windows(8).position(|window| window == attribute) {
                put(&mut datagram, from + found + 4);
            }
        }
        if length < 16 {
            break;
        }
        at += length.next_multiple_of(4);
    }
    datagram
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let text = if text == "-" { "" } else { text };
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
