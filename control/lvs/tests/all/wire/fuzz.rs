//! Random changes of the recorded requests.
//!
//! No coverage guides the changes. They reach far because the bytes are nearly right. The seed
//! `VIPLINE_FUZZ_SEED` (default 1) determines them, so a failure can be repeated.
//! `VIPLINE_FUZZ_MESSAGES` is their number.

use lvs::wire::netlink::{Explain, messages};
use model::ModelOptions;

use super::recording::{Said, read};
use super::replay_sockopt::{ask, say};
use super::speech::{converse, split};
use super::world::{World, u16_at};

/// xorshift64*: pure, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn said() -> Vec<Said> {
    let files = ["netlink.txt", "sockopt.txt", "probes.txt", "options.txt", "keepalived.txt"];
    files.iter().flat_map(|file| read(file)).map(|exchange| exchange.said).collect()
}

/// Changes bytes, cuts the end off, or appends a part of another request.
fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        bytes[at] = match random.below(5) {
            0 => 0,
            1 => 0xff,
            2 => bytes[at] ^ (1 << random.below(8)),
            // Lengths and kinds are small numbers.
            3 => random.below(24) as u8,
            _ => random.below(256) as u8,
        };
    }
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes.extend_from_slice(&other[random.below(other.len() + 1)..]),
        2 if bytes.len() > 24 => {
            let from = random.below(other.len() + 1);
            let cut = 20 + random.below(bytes.len() - 20);
            bytes.splice(cut.., other[from..].iter().copied());
            // With a wrong length the message would be ignored.
            let length = (bytes.len() as u32).to_ne_bytes();
            bytes[..4].copy_from_slice(&length);
        }
        _ => {}
    }
}

#[test]
fn no_bytes_make_it_panic_or_fall_silent_or_say_much() {
    let mut random = Random(number("VIPLINE_FUZZ_SEED", 1).max(1));
    let templates = said();
    let mut world = World::new(ModelOptions::all());
    for _ in 0..number("VIPLINE_FUZZ_MESSAGES", 20_000) {
        match &templates[random.below(templates.len())] {
            Said::Netlink { request, .. } => {
                let mut bytes = request.clone();
                if let Said::Netlink { request: other, .. } = &templates[random.below(templates.len())] {
                    change(&mut random, &mut bytes, other);
                }
                judge_netlink(&mut world, &bytes);
            }
            Said::Set { option, value, .. } => {
                let mut value = value.clone();
                change(&mut random, &mut value, &[7; 200]);
                say(&mut world, *option, &value);
            }
            Said::Get { option, before, .. } => {
                let mut before = before.clone();
                change(&mut random, &mut before, &[7; 200]);
                if let Ok(after) = ask(&mut world, *option, &before) {
                    assert!(after.len() <= before.len());
                }
            }
        }
    }
}

/// Checks that each request gets its one end of an answer, and that the answers are short enough.
fn judge_netlink(world: &mut World, bytes: &[u8]) {
    const ACK: u16 = 4;
    const REQUEST_AND_DUMP: u16 = 0x301;
    // A message that passes on a socket option. Its answer has the same number, and no other end.
    const OPTION: u16 = 1053;
    const LONGEST: usize = 16 << 20;
    let requests = split_requests(bytes);
    assert_eq!(messages(bytes).count(), requests.len());
    // Control messages, below 16, are no dumps.
    let must = requests.iter().filter(|request| {
        let (kind, flags) = (u16_at(request, 4), u16_at(request, 6));
        let ends = flags & ACK != 0 || (kind >= 16 && flags & REQUEST_AND_DUMP == REQUEST_AND_DUMP);
        kind != OPTION && ends
    });
    // The answer is as long as the caller's buffer, in parts with headers of their own.
    let options = requests.iter().filter(|request| u16_at(request, 4) == OPTION && request.len() >= 28);
    let buffers: usize = options
        .map(|request| u32::from_ne_bytes(request[24..28].try_into().unwrap()) as usize)
        .map(|length| 64 + 2 * length.min(LONGEST))
        .sum();
    let rows = world.model.service_count() + world.model.destination_count() + requests.len();
    let explain = Explain { capped: bytes.len().is_multiple_of(2), reason: bytes.len().is_multiple_of(3) };
    let answers = converse(world, explain, bytes);
    let answered = answers.iter().flat_map(|answer| split(answer));
    let ends = answered.filter(|message| matches!(u16_at(message, 4), 2 | 3)).count();
    assert!(ends >= must.count() && ends <= requests.len(), "{bytes:?}");
    // A request adds at most one service or destination. Each needs less than 512 bytes in an
    // answer.
    let said: usize = answers.iter().map(Vec::len).sum();
    assert!(said <= (rows + 1) * 512 * requests.len() + 2 * bytes.len() + buffers, "{said} bytes");
}

/// The messages of a datagram, split by a plain reading of their lengths.
fn split_requests(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while bytes.len() >= 16 {
        let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        if length < 16 || length > bytes.len() {
            break;
        }
        all.push(&bytes[..length]);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}
