//! Generic netlink: recorded requests are answered as Linux answered, byte for byte.

use lvs::wire::netlink::{Explain, FAMILY};
use model::{Model, ModelOptions};
use nix::errno::Errno;

use super::recording::{Said, read, text};
use super::speech::{converse, split};
use super::world::{World, attributes, destination_key, service_key, traffic, u16_at, u32_at};
use api::Load;

/// Takes Linux's counts and its order of services from the recording, because no request contains
/// them.
fn learn(world: &mut World, requests: &[u8], replies: &[Vec<u8>]) {
    world.order.clear();
    let asked = requests.get(20..).map(attributes).unwrap_or_default();
    for message in replies.iter().flat_map(|datagram| split(datagram)) {
        if u16_at(message, 4) != FAMILY {
            continue;
        }
        let all = attributes(&message[20..]);
        match message[16] {
            1 => {
                let service = attributes(all[&1]);
                let key = service_key(&service);
                world.order.push(key);
                if let Some(id) = world.model.find(&key) {
                    world.services.insert(id, traffic(service[&12]));
                }
            }
            5 => {
                let dest = attributes(all[&2]);
                let service = world.model.find(&service_key(&attributes(asked[&1]))).unwrap();
                let number = |kind: u16| u32_at(dest[&kind], 0);
                let load = Load { active: number(7), inactive: number(8), persistent: number(9) };
                if let Some(id) = world.model.find_destination(service, destination_key(&dest)) {
                    world.destinations.insert(id, (traffic(dest[&12]), load));
                }
            }
            _ => {}
        }
    }
}

/// Where Vipline gives another errno than Linux, on purpose: the command, Linux's errno, ours.
const OTHERWISE: [(&str, Errno, Errno); 1] =
    // Linux looks for the interface first.
    [("--start-daemon master --mcast-interface nosuch", Errno::ENODEV, Errno::EPROTONOSUPPORT)];

/// Removes the description of an attribute's policy from a refusal. Vipline says only which
/// attribute is wrong.
fn forget_policy(datagram: &mut Vec<u8>) {
    const POLICY: [u8; 4] = [0x2c, 0, 4, 0x80];
    if let Some(at) = datagram.windows(4).position(|window| window == POLICY) {
        datagram.drain(at..at + 0x2c);
        let length = (datagram.len() as u32).to_ne_bytes();
        datagram[..4].copy_from_slice(&length);
    }
}

/// Replays a file. Returns the number of exchanges, and the rules afterwards.
fn replay(file: &str) -> (usize, Model) {
    let mut world = World::new(ModelOptions::all());
    let exchanges = read(file);
    let mut wrong = Vec::new();
    for exchange in &exchanges {
        let Said::Netlink { request, replies } = &exchange.said else { panic!("{}", exchange.name) };
        learn(&mut world, request, replies);
        let explained = exchange.name.contains("explained: ");
        let explain = Explain { capped: explained, reason: explained };
        let mut expected = replies.clone();
        if let Some((_, linux, ours)) = OTHERWISE.iter().find(|(name, ..)| exchange.name.ends_with(name)) {
            assert_eq!(expected[0][16..20], (-(*linux as i32)).to_ne_bytes());
            expected[0][16..20].copy_from_slice(&(-(*ours as i32)).to_ne_bytes());
        }
        expected.iter_mut().for_each(forget_policy);
        let mut ours = converse(&mut world, explain, request);
        // ipvsadm closes its socket after the message that it asked for, and does not read the
        // acknowledgement after that message.
        if file == "netlink.txt" && replies.len() == 1 && u16_at(&replies[0], 4) == FAMILY {
            assert_eq!(u16_at(&ours.pop().unwrap(), 4), 2, "{}", exchange.name);
        }
        if ours != expected {
            let lines = |datagrams: &[Vec<u8>]| datagrams.iter().map(|d| text(d) + "\n").collect::<String>();
            wrong.push(format!(
                "{}\nasked\n{}\nLinux\n{}Vipline\n{}",
                exchange.name,
                text(request),
                lines(&expected),
                lines(&ours)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), exchanges.len(), wrong.join("\n"));
    (exchanges.len(), world.model)
}

#[test]
fn ipvsadm_is_answered_as_by_linux() {
    let (exchanges, model) = replay("netlink.txt");
    assert!(exchanges > 80, "{exchanges}");
    assert_eq!(model.service_count(), 0);
}

#[test]
fn keepalived_is_answered_as_by_linux() {
    let (exchanges, model) = replay("keepalived.txt");
    assert!(exchanges > 20, "{exchanges}");
    assert_eq!(model.service_count(), 0);
}

#[test]
fn messages_that_no_program_sends_are_answered_as_by_linux() {
    let (exchanges, _) = replay("probes.txt");
    assert!(exchanges > 170, "{exchanges}");
}
