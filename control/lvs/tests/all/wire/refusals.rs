//! Refusals and long answers.

use std::net::{IpAddr, Ipv4Addr};

use lvs::wire::errno;
use lvs::wire::netlink::{Explain, FAMILY};
use model::{Change, Feature, Invalid, ModelError, ModelOptions, ServiceKey, ServiceSpec, Table};
use nix::errno::Errno;
use sched::MhSize;

use super::replay_sockopt::say;
use super::speech::{ACK, DUMP, attribute, converse, request, result, split};
use super::world::{World, u32_at};

/// A director that supports what the packet path supports: no IPv6, no SCTP.
fn today() -> World {
    World::new(ModelOptions::served(100_000, MhSize::default()))
}

/// All attributes of a service.
fn service(family: u16, protocol: u16, port: u16) -> Vec<u8> {
    let addr = if family == 2 { vec![10, 0, 0, 100] } else { vec![0x20; 16] };
    let netmask = if family == 2 { u32::MAX } else { 128 };
    attribute(
        1,
        &[
            attribute(1, &family.to_ne_bytes()),
            attribute(2, &protocol.to_ne_bytes()),
            attribute(3, &addr),
            attribute(4, &port.to_be_bytes()),
            attribute(6, b"rr\0"),
            attribute(7, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            attribute(8, &[0; 4]),
            attribute(9, &netmask.to_ne_bytes()),
        ]
        .concat(),
    )
}

#[test]
fn ipv6_is_a_family_that_is_not_supported_and_sctp_a_protocol() {
    let mut world = today();
    let mut add = |family, protocol| result(&mut world, &request(1, ACK, &service(family, protocol, 80)));
    assert_eq!(add(10, 6), Errno::EAFNOSUPPORT as i32);
    assert_eq!(add(2, 132), Errno::EPROTONOSUPPORT as i32);
    assert_eq!(add(2, 1), Errno::EPROTONOSUPPORT as i32);
    assert_eq!(add(2, 6), 0);

    // Such services cannot exist, so they are not found.
    let mut delete = |family, protocol| result(&mut world, &request(3, ACK, &service(family, protocol, 80)));
    assert_eq!(delete(10, 6), Errno::ESRCH as i32);
    assert_eq!(delete(2, 132), Errno::ESRCH as i32);
    assert_eq!(delete(2, 1), Errno::ESRCH as i32);

    let dest = [
        attribute(1, &[0x20; 16]),
        attribute(2, &[0, 80]),
        attribute(3, &2_u32.to_ne_bytes()),
        attribute(4, &1_u32.to_ne_bytes()),
        attribute(5, &[0; 4]),
        attribute(6, &[0; 4]),
        attribute(11, &10_u16.to_ne_bytes()),
    ];
    let both = [service(2, 6, 80), attribute(2, &dest.concat())].concat();
    assert_eq!(result(&mut world, &request(5, ACK, &both)), Errno::EAFNOSUPPORT as i32);

    let mut option = [0; 44];
    option[0] = 132;
    option[4..10].copy_from_slice(&[10, 0, 0, 100, 0, 80]);
    option[16..18].copy_from_slice(b"rr");
    assert_eq!(say(&mut world, 1154, &option), Errno::EPROTONOSUPPORT as i32);
}

#[test]
fn every_kind_of_refusal_has_the_errno_of_linux() {
    let addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let full = |table| ModelError::Full { table, most: 1, deleted: 0 };
    let all = [
        (ModelError::ServiceExists, Errno::EEXIST),
        (ModelError::NoService, Errno::ESRCH),
        (ModelError::NoScheduler("x".into()), Errno::ENOENT),
        (ModelError::NoEngine("x".into()), Errno::ENOENT),
        (ModelError::DestinationExists, Errno::EEXIST),
        (ModelError::NoDestination, Errno::ENOENT),
        (ModelError::LocalAddressExists, Errno::EEXIST),
        (ModelError::NoLocalAddress, Errno::ENOENT),
        (ModelError::NotUnicast(addr), Errno::EINVAL),
        (ModelError::NegativeWeight(-1), Errno::ERANGE),
        (ModelError::ThresholdOrder { lower: 2, upper: 1 }, Errno::ERANGE),
        (ModelError::Invalid(Invalid::Netmask), Errno::EINVAL),
        (full(Table::Services), Errno::ENOMEM),
        (full(Table::Destinations), Errno::ENOMEM),
        (ModelError::TooManyForMh(1), Errno::EINVAL),
        (ModelError::Unsupported(Feature::Ipv6), Errno::EAFNOSUPPORT),
        (ModelError::Unsupported(Feature::Sctp), Errno::EPROTONOSUPPORT),
        (ModelError::Unsupported(Feature::Gue), Errno::EPROTONOSUPPORT),
        (ModelError::Unsupported(Feature::Sip), Errno::ENOENT),
        (ModelError::Unsupported(Feature::LocalDestinations), Errno::EADDRNOTAVAIL),
    ];
    for (error, expected) in all {
        assert_eq!(errno(&error), expected, "{error}");
    }
}

#[test]
fn whoever_asks_is_told_the_reason_in_words() {
    let explain = Explain { capped: true, reason: true };
    let answers = converse(&mut today(), explain, &request(1, ACK, &service(10, 6, 80)));
    let said = String::from_utf8_lossy(&answers[0]).into_owned();
    assert!(said.contains("IPv6 is not supported by this director\0"), "{said}");
    let plain = converse(&mut today(), Explain::default(), &request(1, ACK, &service(10, 6, 80)));
    assert!(!String::from_utf8_lossy(&plain[0]).contains("IPv6"));
}

#[test]
fn a_long_dump_comes_in_short_datagrams_and_has_one_end() {
    let mut world = today();
    for port in 1..=5000 {
        let key = ServiceKey::tcp(Ipv4Addr::new(10, 0, 0, 100).into(), port);
        world.model.apply(Change::AddService(ServiceSpec::new(key, "wlc"))).unwrap();
    }
    let datagrams = converse(&mut world, Explain::default(), &request(4, DUMP | ACK, &[]));
    let (end, rest) = datagrams.split_last().unwrap();
    assert_eq!((end.len(), &end[4..6]), (20, &[3, 0][..]));
    assert!(rest.iter().all(|datagram| datagram.len() <= 3776));
    let messages: Vec<_> = rest.iter().flat_map(|datagram| split(datagram)).collect();
    assert_eq!(messages.len(), 5000);
    assert!(messages.iter().all(|message| u32_at(message, 8) == 7 && u32_at(message, 12) == 4711));
    assert!(messages.iter().all(|message| message[4..6] == FAMILY.to_ne_bytes() && message[6..8] == [2, 0]));
}
