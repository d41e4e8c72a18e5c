//! One director lists its table in bytes, another reads these bytes: both have the same table.

use std::net::IpAddr;

use api::{ListQuery, Load, Request, Response, Traffic};
use lvs::wire::netlink::Explain;
use model::{
    Change, Counters, DestKey, DestSpec, Family, ForwardingMethod, ModelOptions, Rates, ServiceKey,
    ServiceSpec, Tunnel,
};
use proptest::prelude::*;

use super::replay_sockopt::{ask, say};
use super::speech::{ACK, DUMP, attribute, converse, request, result, split};
use super::world::{World, attributes, traffic, u32_at, u64_at};
use crate::round_trip::table;

const NEW_SERVICE: u8 = 1;
const GET_SERVICE: u8 = 4;
const NEW_DEST: u8 = 5;
const GET_DEST: u8 = 8;
const NEW_LOCAL_ADDRESS: u8 = 0xc0;
const GET_LOCAL_ADDRESS: u8 = 0xc2;
const SERVICE: u16 = 1;
const DEST: u16 = 2;
const LOCAL_ADDRESS: u16 = 0x2000;

/// Makes a dump, checks its end, and returns the value of one attribute of each message.
fn dump(world: &mut World, command: u8, attributes_asked: &[u8], kind: u16) -> Vec<Vec<u8>> {
    let mut datagrams = converse(world, Explain::default(), &request(command, DUMP, attributes_asked));
    assert_eq!(datagrams.pop().unwrap()[4..6], [3, 0]);
    let messages = datagrams.iter().flat_map(|datagram| split(datagram));
    messages.map(|message| attributes(&message[20..])[&kind].to_vec()).collect()
}

fn listed(world: &mut World) -> Response {
    world.answer(Request::List(ListQuery::default()))
}

type Table = Vec<(ServiceSpec, Vec<(DestSpec, u32)>, Vec<IpAddr>)>;

fn world_of(table: &Table) -> World {
    let mut world = World::new(ModelOptions::all());
    for (spec, dests, locals) in table {
        let _ = world.model.apply(Change::AddService(spec.clone()));
        for (dest, upper) in dests {
            let dest = DestSpec { upper: *upper, lower: upper / 3, ..*dest };
            let _ = world.model.apply(Change::AddDestination(spec.key, dest));
        }
        for local in locals {
            let _ = world.model.apply(Change::AddLocalAddress(spec.key, *local));
        }
    }
    world
}

fn tables() -> impl Strategy<Value = Table> {
    (table(), any::<u32>()).prop_map(|(table, seed)| {
        let threshold = |index: usize| (seed >> (index % 4)) & 0x7fff_ffff;
        let dests = |dests: Vec<DestSpec>| {
            dests.into_iter().enumerate().map(|(index, dest)| (dest, threshold(index))).collect()
        };
        table.into_iter().map(|(spec, all, locals)| (spec, dests(all), locals)).collect()
    })
}

proptest! {
    #[test]
    fn a_table_told_in_messages_is_the_same_table(table in tables()) {
        let (mut from, mut to) = (world_of(&table), World::new(ModelOptions::all()));
        for service in dump(&mut from, GET_SERVICE, &[], SERVICE) {
            let named = attribute(SERVICE, &service);
            prop_assert_eq!(result(&mut to, &request(NEW_SERVICE, ACK, &named)), 0);
            for dest in dump(&mut from, GET_DEST, &named, DEST).iter().rev() {
                let both = [named.clone(), attribute(DEST, dest)].concat();
                prop_assert_eq!(result(&mut to, &request(NEW_DEST, ACK, &both)), 0);
            }
            for local in dump(&mut from, GET_LOCAL_ADDRESS, &named, LOCAL_ADDRESS) {
                let both = [named.clone(), attribute(LOCAL_ADDRESS, &local)].concat();
                prop_assert_eq!(result(&mut to, &request(NEW_LOCAL_ADDRESS, ACK, &both)), 0);
            }
        }
        prop_assert_eq!(forget_slots(listed(&mut to)), forget_slots(listed(&mut from)));
    }

    #[test]
    fn a_table_told_in_options_is_the_same_table(table in tables()) {
        let (mut from, mut to) = (world_of(&old(table)), World::new(ModelOptions::all()));
        let count = u32_at(&ask(&mut from, 1153, &[0; 12]).unwrap(), 8);
        let mut buffer = vec![0; 8 + 104 * count as usize];
        buffer[..4].copy_from_slice(&count.to_ne_bytes());
        for service in ask(&mut from, 1154, &buffer).unwrap()[8..].chunks(104) {
            let dests = u32_at(service, 44);
            prop_assert_eq!(say(&mut to, 1154, &service[..44]), 0);
            let mut buffer = [&service[..16], &dests.to_ne_bytes(), &[0; 4]].concat();
            buffer.resize(24 + 96 * dests as usize, 0);
            for dest in ask(&mut from, 1156, &buffer).unwrap()[24..].chunks(96).rev() {
                prop_assert_eq!(say(&mut to, 1159, &[&service[..44], &dest[..24]].concat()), 0);
            }
        }
        prop_assert_eq!(forget_slots(listed(&mut to)), forget_slots(listed(&mut from)));
    }
}

#[test]
fn counts_are_whole_where_there_are_64_bits_and_cut_where_there_are_32() {
    let mut world = World::new(ModelOptions::all());
    let key = ServiceKey::tcp([10, 0, 0, 100].into(), 80);
    let dest = DestSpec::new(DestKey::new([10, 0, 1, 11].into(), 80), ForwardingMethod::FullNat, 1);
    let changes = [
        Change::AddService(ServiceSpec::new(key, "rr")),
        Change::AddDestination(key, dest),
        Change::AddLocalAddress(key, [10, 0, 2, 1].into()),
    ];
    world.model.apply_all(changes.into()).unwrap();
    // The halves differ, so that no other half would do.
    let number = |n: u64| (0x1000 + n) << 32 | (0x2000 + n);
    let counted = Traffic {
        counters: Counters {
            conns: number(1),
            inpkts: number(2),
            outpkts: number(3),
            inbytes: number(4),
            outbytes: number(5),
        },
        rates: Rates {
            cps: number(6),
            inpps: number(7),
            outpps: number(8),
            inbps: number(9),
            outbps: number(10),
        },
    };
    let load = Load { active: 11, inactive: 12, persistent: 13 };
    let id = world.model.find(&key).unwrap();
    world.services.insert(id, counted);
    let dest_id = world.model.find_destination(id, dest.key).unwrap();
    world.destinations.insert(dest_id, (counted, load));

    let service = dump(&mut world, GET_SERVICE, &[], SERVICE).remove(0);
    let named = attribute(SERVICE, &service);
    let dest = dump(&mut world, GET_DEST, &named, DEST).remove(0);
    for nest in [&service, &dest] {
        let all = attributes(nest);
        assert_eq!(traffic(all[&12]), counted);
        let narrow = attributes(all[&10]);
        for kind in [1, 2, 3, 6, 7, 8, 9, 10] {
            assert_eq!(narrow[&kind], (0x2000 + u32::from(kind)).to_ne_bytes(), "{kind}");
        }
        for kind in [4, 5] {
            assert_eq!(narrow[&kind], number(kind.into()).to_ne_bytes(), "{kind}");
        }
    }
    let all = attributes(&dest);
    assert_eq!([7, 8, 9].map(|kind| u32_at(all[&kind], 0)), [11, 12, 13]);
    // NAT for those that do not know the attribute of FULLNAT.
    assert_eq!((u32_at(all[&3], 0), all[&0x2000]), (0, &[][..]));
    let local = dump(&mut world, GET_LOCAL_ADDRESS, &named, LOCAL_ADDRESS).remove(0);
    let local = attributes(&local);
    assert_eq!((u64_at(local[&2], 0), u64_at(local[&3], 0)), (3, 1 << 40));

    let mut entry = [0; 104];
    entry[..16].copy_from_slice(&[6, 0, 0, 0, 10, 0, 0, 100, 0, 80, 0, 0, 0, 0, 0, 0]);
    let entry = ask(&mut world, 1155, &entry).unwrap();
    assert_eq!(
        [48, 52, 56, 80, 84, 88, 92, 96].map(|at| u32_at(&entry, at) - 0x2000),
        [1, 2, 3, 6, 7, 8, 9, 10]
    );
    assert_eq!([64, 72].map(|at| u64_at(&entry, at)), [number(4), number(5)]);
}

/// The table without everything that socket options do not support.
fn old(mut table: Table) -> Table {
    table.retain(|(spec, ..)| spec.key.family() == Family::V4);
    for (spec, dests, locals) in &mut table {
        spec.engine = None;
        locals.clear();
        for (dest, _) in dests {
            dest.tunnel = Tunnel::default();
            if dest.method == ForwardingMethod::FullNat {
                dest.method = ForwardingMethod::Masquerade;
            }
        }
    }
    table
}

/// The slots of destinations depend on the order in which they were added, so they may differ.
fn forget_slots(mut response: Response) -> Response {
    if let Response::Services { services, .. } = &mut response {
        services.iter_mut().flat_map(|service| &mut service.destinations).for_each(|dest| dest.id = 0);
    }
    response
}
