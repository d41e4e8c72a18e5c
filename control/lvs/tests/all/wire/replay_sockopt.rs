//! Socket options: recorded requests are answered as Linux answered, byte for byte.

use api::{Load, Response};
use lvs::wire::errno;
use lvs::wire::sockopt::{Step, get, set};
use model::{Counters, DestKey, Family, Model, ModelOptions, Protocol, Rates, ServiceKey};
use nix::errno::Errno;

use super::recording::{Said, read, text};
use super::world::{World, addr, be16, u16_at, u32_at, u64_at};
use api::Traffic;

/// Replays a `setsockopt`. Returns 0 or the errno.
pub(crate) fn say(world: &mut World, option: i32, value: &[u8]) -> i32 {
    match set(option, value, &world.model) {
        Ok(request) => match world.answer(request) {
            Response::Done => 0,
            Response::Refused(error) => errno(&error) as i32,
            other => panic!("{other:?}"),
        },
        Err(errno) => errno as i32,
    }
}

/// Replays a `getsockopt`. Returns its buffer.
pub(crate) fn ask(world: &mut World, option: i32, before: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut step = get(option, before.to_vec(), &world.model)?;
    loop {
        match step {
            Step::Ask(request, pending) => step = pending.answered(world.answer(request))?,
            Step::Done(buffer) => return Ok(buffer),
        }
    }
}

/// The service at the start of a structure.
fn key(bytes: &[u8]) -> Option<ServiceKey> {
    let protocol = Protocol::from_number(bytes[0]);
    match u32_at(bytes, 12) {
        0 => Some(ServiceKey::Address {
            protocol: protocol?,
            addr: addr(2, &bytes[4..]),
            port: be16(&bytes[8..]),
        }),
        mark => Some(ServiceKey::Mark { mark, family: Family::V4 }),
    }
}

fn traffic(bytes: &[u8]) -> Traffic {
    let narrow = |at| u64::from(u32_at(bytes, at));
    Traffic {
        counters: Counters {
            conns: narrow(0),
            inpkts: narrow(4),
            outpkts: narrow(8),
            inbytes: u64_at(bytes, 16),
            outbytes: u64_at(bytes, 24),
        },
        rates: Rates {
            cps: narrow(32),
            inpps: narrow(36),
            outpps: narrow(40),
            inbps: narrow(44),
            outbps: narrow(48),
        },
    }
}

/// Takes Linux's counts and its order of services from the recording, because no request contains
/// them.
fn learn(world: &mut World, option: i32, result: i32, after: &[u8]) {
    const SERVICES: i32 = 1154;
    const SERVICE: i32 = 1155;
    const DESTS: i32 = 1156;
    if result != 0 {
        return;
    }
    world.order.clear();
    let entries = match option {
        SERVICES => after[8..].chunks_exact(104).collect(),
        SERVICE => vec![&after[..104]],
        _ => Vec::new(),
    };
    for entry in entries.iter().filter(|entry| u16_at(entry, 0) != 0) {
        let key = key(entry).unwrap();
        world.order.push(key);
        if let Some(id) = world.model.find(&key) {
            world.services.insert(id, traffic(&entry[48..]));
        }
    }
    if option == DESTS {
        let service = world.model.find(&key(after).unwrap()).unwrap();
        for entry in after[24..].chunks_exact(96) {
            let dest = DestKey::new(addr(2, entry), be16(&entry[4..]));
            let number = |at| u32_at(entry, at);
            let load = Load { active: number(24), inactive: number(28), persistent: number(32) };
            if let Some(id) = world.model.find_destination(service, dest) {
                world.destinations.insert(id, (traffic(&entry[40..]), load));
            }
        }
    }
}

/// Where Vipline gives another errno than Linux, on purpose: the command, Linux's errno, ours.
const OTHERWISE: [(&str, Errno, Errno); 1] =
    // Linux looks for the interface first.
    [("--start-daemon master --mcast-interface nosuch", Errno::ENODEV, Errno::EPROTONOSUPPORT)];

/// Replays a file. Returns the number of exchanges, and the rules afterwards.
fn replay(file: &str) -> (usize, Model) {
    let mut world = World::new(ModelOptions::all());
    let exchanges = read(file);
    let mut wrong = Vec::new();
    for exchange in &exchanges {
        match &exchange.said {
            Said::Set { option, value, result } => {
                let otherwise = OTHERWISE.iter().find(|(name, ..)| exchange.name.ends_with(name));
                let expected = otherwise.map_or(*result, |(_, linux, ours)| {
                    assert_eq!(*result, *linux as i32, "{}", exchange.name);
                    *ours as i32
                });
                let ours = say(&mut world, *option, value);
                if ours != expected {
                    wrong.push(format!("{}: Linux {expected}, Vipline {ours}", exchange.name));
                }
            }
            Said::Get { option, before, result, after } => {
                learn(&mut world, *option, *result, after);
                let ours = ask(&mut world, *option, before);
                let (errno, buffer) = match &ours {
                    Ok(buffer) => (0, buffer),
                    Err(errno) => (*errno as i32, before),
                };
                if (errno, buffer) != (*result, after) {
                    wrong.push(format!(
                        "{}\nasked\n{}\nLinux {result}\n{}\nVipline {errno}\n{}\n",
                        exchange.name,
                        text(before),
                        text(after),
                        text(buffer)
                    ));
                }
            }
            Said::Netlink { .. } => panic!("{}", exchange.name),
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), exchanges.len(), wrong.join("\n"));
    (exchanges.len(), world.model)
}

#[test]
fn ipvsadm_without_netlink_is_answered_as_by_linux() {
    let (exchanges, model) = replay("sockopt.txt");
    assert!(exchanges > 120, "{exchanges}");
    assert_eq!(model.service_count(), 0);
}

#[test]
fn options_that_no_program_sets_are_answered_as_by_linux() {
    let (exchanges, model) = replay("options.txt");
    assert!(exchanges > 90, "{exchanges}");
    assert_eq!(model.service_count(), 0);
}
