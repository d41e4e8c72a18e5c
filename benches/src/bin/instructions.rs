//! Does one kind of work, 32 packets at a time, for callgrind to count. Collection is on inside
//! [`measured`] only: `--collect-atstart=no --toggle-collect='*measured*'`.

use std::hint::black_box;
use std::process::ExitCode;

use benches::rig::ACK;
use benches::rig::MAC;
use benches::rig::Rig;
use benches::rig::SYN;
use benches::rig::packet;
use dataplane::BURST;
use dataplane::conn::entry::Cold;
use dataplane::conn::entry::Hot;
use dataplane::conn::key::FlowKey;
use dataplane::conn::table::Candidate;
use dataplane::conn::table::FlowTable;
use dataplane::io::RxChecksum;
use dataplane::meta::PacketMeta;
use dataplane::snapshot::dest::Method;

/// Bursts of each kind of work.
const BURSTS: u32 = 100;
const PACKETS: u32 = BURSTS * BURST as u32;
const WORK: &str =
    "parse, hit, miss, dr, tun, nat, nat-reply, fullnat, fullnat-reply, new-dr, new-nat, new-fullnat";

fn main() -> ExitCode {
    let work = std::env::args().nth(1).unwrap_or_default();
    let done = match work.as_str() {
        "parse" => parse(),
        "hit" => look_up(0),
        "miss" => look_up(PACKETS),
        _ => {
            let (kind, name) = match work.strip_prefix("new-") {
                Some(name) => (Kind::New, name),
                None => {
                    work.strip_suffix("-reply").map_or((Kind::Request, work.as_str()), |n| (Kind::Reply, n))
                }
            };
            let method = match name {
                "dr" => Method::DirectRoute,
                "tun" => Method::Tunnel,
                "nat" => Method::Masquerade,
                "fullnat" => Method::FullNat,
                _ => {
                    eprintln!("instructions: {work:?} is no work: expected one of {WORK}");
                    return ExitCode::from(2);
                }
            };
            carry(method, kind)
        }
    };
    if done == Some(PACKETS) {
        println!("{PACKETS}");
        return ExitCode::SUCCESS;
    }
    eprintln!("instructions: {done:?} of {PACKETS} packets went through");
    ExitCode::FAILURE
}

/// All that callgrind counts happens in here.
#[inline(never)]
fn measured<R>(work: impl FnOnce() -> R) -> R {
    black_box(black_box(work)())
}

fn parse() -> Option<u32> {
    let frame = packet(7, ACK);
    Some(measured(|| {
        let mut done = 0;
        for _ in 0..PACKETS {
            let meta = PacketMeta::parse(black_box(&frame), MAC, RxChecksum::Unknown, false);
            done += u32::from(black_box(meta).l4 == 34);
        }
        done
    }))
}

/// Looks up keys from the `first` on in a table that is full of those from 0 on.
fn look_up(first: u32) -> Option<u32> {
    let key = |n| PacketMeta::parse(&packet(n, ACK), MAC, RxChecksum::Unknown, false).key;
    let mut table = FlowTable::new(PACKETS, 42);
    for n in 0..PACKETS {
        let reply = key(n + 2 * PACKETS).reversed();
        table.insert(Hot { request: key(n), reply, ..Hot::VACANT }, Cold::VACANT).ok()?;
    }
    let keys: Vec<FlowKey> = (first..first + PACKETS).map(key).collect();
    let found = measured(|| {
        let mut found = 0;
        for keys in keys.chunks(BURST) {
            let mut out = [Candidate::UNKNOWN; BURST];
            table.probe(keys, &mut out);
            for (key, candidate) in keys.iter().zip(out) {
                found += u32::from(table.confirm(*key, candidate).is_some());
            }
        }
        found
    });
    (found == if first == 0 { PACKETS } else { 0 }).then_some(PACKETS)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    New,
    Request,
    Reply,
}

fn carry(method: Method, kind: Kind) -> Option<u32> {
    let mut rig = Rig::new(method, PACKETS)?;
    let mut done = 0;
    for burst in 0..BURSTS {
        let first = burst * BURST as u32;
        rig.lay(first, SYN);
        if kind == Kind::New {
            done += measured(|| rig.poll());
            continue;
        }
        rig.poll();
        if method.is_translated() {
            rig.lay_answers();
            rig.poll();
        }
        rig.lay(first, ACK);
        rig.poll();
        rig.lay(first, ACK);
        if kind == Kind::Request {
            done += measured(|| rig.poll());
        } else {
            rig.poll();
            rig.lay_answers();
            done += measured(|| rig.poll());
        }
    }
    let lost = rig.stats.received.get() != rig.stats.transmitted.get();
    (!lost).then_some(done as u32)
}
