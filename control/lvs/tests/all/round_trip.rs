//! A saved table can be restored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic as tests may")]

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::{World, answer};
use api::{Ask, ClientError, Request, Response};
use lvs::ipvs::{Console, Invocation, Numeric, run};
use model::{
    Change, DestKey, DestSpec, Family, ForwardingMethod, Model, ModelOptions, PersistenceMask, Protocol,
    ServiceFlags, ServiceKey, ServiceSpec, Tunnel, TunnelChecksum, TunnelKind,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A model that is asked directly, without a socket.
struct Direct<'a>(&'a mut Model);

impl Ask for Direct<'_> {
    fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        Ok(answer(self.0, &World::default(), &request))
    }
}

fn ipvsadm(model: &mut Model, invocation: Invocation, args: &[&str], stdin: &str) -> (String, String, u8) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stdin = Cursor::new(stdin.as_bytes().to_owned());
    let mut console = Console {
        program: "ipvsadm",
        stdin: &mut stdin,
        stdout: &mut out,
        stderr: &mut err,
        names: &Numeric,
    };
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let code = run(invocation, &args, &mut console, || Ok(Direct(model)));
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

fn addr_v4() -> impl Strategy<Value = IpAddr> {
    // The addresses are within half of the range, so that the comparison of the listing is an
    // order.
    (1u32..0x7fff_ffff).prop_map(|bits| Ipv4Addr::from_bits(bits).into())
}

fn addr_v6() -> impl Strategy<Value = IpAddr> {
    any::<u64>().prop_map(|low| {
        let low = low & 0x7fff_ffff_7fff_ffff;
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)).into()
    })
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let address = (protocol, prop_oneof![addr_v4(), addr_v6()], 1u16..)
        .prop_map(|(protocol, addr, port)| ServiceKey::Address { protocol, addr, port });
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    prop_oneof![3 => address, 1 => (1u32..0x7fff_ffff, family).prop_map(|(mark, family)| ServiceKey::Mark { mark, family })]
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    let scheduler = prop_oneof![Just("rr"), Just("wlc"), Just("sh"), Just("mh")];
    let mask = any::<u32>();
    (key(), scheduler, 0u32..4, any::<bool>(), any::<bool>(), 1u32..2_678_400, mask, any::<bool>()).prop_map(
        |(key, scheduler, flags, persistent, one_packet, timeout, mask, sip)| {
            let mut spec = ServiceSpec::new(key, scheduler);
            spec.flags = ServiceFlags::from_bits_retain(flags << 3);
            if persistent {
                spec = spec.persistent(timeout);
                spec.netmask = match key.family() {
                    Family::V4 => PersistenceMask::V4(Ipv4Addr::from_bits(mask)),
                    Family::V6 => PersistenceMask::V6(mask % 128 + 1),
                };
            }
            if one_packet && (matches!(key, ServiceKey::Mark { .. }) || key.protocol() == Protocol::Udp) {
                spec.flags |= ServiceFlags::ONE_PACKET;
            }
            spec.engine = sip.then(|| "sip".to_owned());
            spec
        },
    )
}

/// A destination with all that ipvsadm saves: it does not save thresholds.
fn dest(service: ServiceKey) -> impl Strategy<Value = DestSpec> {
    let addr = match service.family() {
        Family::V4 => addr_v4().boxed(),
        Family::V6 => addr_v6().boxed(),
    };
    let checksum =
        prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Outer), Just(TunnelChecksum::Remote)];
    (addr, any::<u16>(), 0u8..6, 0i32..=i32::MAX, checksum).prop_map(
        move |(addr, port, kind, weight, checksum)| {
            let (method, tunnel) = match kind {
                0 => (ForwardingMethod::Masquerade, Tunnel::default()),
                1 => (ForwardingMethod::DirectRoute, Tunnel::default()),
                2 => (ForwardingMethod::FullNat, Tunnel::default()),
                3 => (ForwardingMethod::Tunnel, Tunnel::default()),
                4 => {
                    (ForwardingMethod::Tunnel, Tunnel { kind: TunnelKind::Gue, port: port.max(1), checksum })
                }
                _ => {
                    let checksum =
                        if checksum == TunnelChecksum::Remote { TunnelChecksum::Outer } else { checksum };
                    (ForwardingMethod::Tunnel, Tunnel { kind: TunnelKind::Gre, port: 0, checksum })
                }
            };
            // ipvsadm gives these methods the service's port.
            let fixed = matches!(method, ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel);
            let port =
                if fixed && matches!(service, ServiceKey::Address { .. }) { service.port() } else { port };
            DestSpec { tunnel, ..DestSpec::new(DestKey::new(addr, port), method, weight) }
        },
    )
}

pub(crate) fn table() -> impl Strategy<Value = Vec<(ServiceSpec, Vec<DestSpec>, Vec<IpAddr>)>> {
    let one = service().prop_flat_map(|spec| {
        let locals = match spec.key.family() {
            Family::V4 => vec(addr_v4(), 0..3).boxed(),
            Family::V6 => vec(addr_v6(), 0..3).boxed(),
        };
        (vec(dest(spec.key), 0..6), locals).prop_map(move |(dests, locals)| (spec.clone(), dests, locals))
    });
    vec(one, 0..8)
}

proptest! {
    #[test]
    fn a_saved_table_restores_to_itself(table in table()) {
        let mut model = Model::new(ModelOptions::all());
        for (spec, dests, locals) in table {
            let key = spec.key;
            let _ = model.apply(Change::AddService(spec));
            for dest in dests {
                let _ = model.apply(Change::AddDestination(key, dest));
            }
            for local in locals {
                let _ = model.apply(Change::AddLocalAddress(key, local));
            }
        }
        let (saved, err, code) = ipvsadm(&mut model, Invocation::Save, &["-n"], "");
        prop_assert_eq!((err.as_str(), code), ("", 0));

        let mut restored = Model::new(ModelOptions::all());
        restored.apply(Change::AddService(ServiceSpec::new(ServiceKey::tcp([10, 9, 9, 9].into(), 9), "rr"))).unwrap();
        let commented = format!("# a table\n{saved}");
        let (out, err, code) = ipvsadm(&mut restored, Invocation::Restore, &[], &commented);
        prop_assert_eq!((out.as_str(), err.as_str(), code), ("", "", 0), "{}", saved);

        let (again, _, _) = ipvsadm(&mut restored, Invocation::Save, &["-n"], "");
        prop_assert_eq!(&again, &saved);
        for (_, service) in model.services() {
            let twin = restored.find(&service.spec.key).and_then(|id| restored.service(id)).unwrap();
            prop_assert_eq!(&twin.spec, &service.spec);
            prop_assert_eq!(&twin.local_addresses, &service.local_addresses);
            prop_assert_eq!(twin.destinations.len(), service.destinations.len());
            let id = restored.find(&service.spec.key).unwrap();
            for (_, dest) in model.destinations(service) {
                let other = restored.find_destination(id, dest.spec.key).and_then(|id| restored.destination(id));
                prop_assert_eq!(other.map(|other| other.spec), Some(dest.spec));
            }
        }
    }

    #[test]
    fn no_command_line_panics(args in vec("[-a-zA-Z0-9:.=\\[\\]/, ]{0,12}", 0..6), stdin in "[-a-zA-Z0-9:. \n]{0,60}") {
        let mut model = Model::new(ModelOptions::all());
        let words = ["-A", "-a", "-t", "10.0.0.1:80", "-r", "-p", "-b", "-L", "--set", "-R"];
        let mixed: Vec<&str> = args.iter().enumerate().map(|(index, arg)| match arg.len() {
            0..4 => words[(index + arg.len()) % words.len()],
            _ => arg.as_str(),
        }).collect();
        ipvsadm(&mut model, Invocation::Ipvsadm, &mixed, &stdin);
        let plain: Vec<&str> = args.iter().map(String::as_str).collect();
        ipvsadm(&mut model, Invocation::Ipvsadm, &plain, &stdin);
        ipvsadm(&mut model, Invocation::Restore, &[], &stdin);
    }
}

#[test]
fn large_marks_are_saved_as_they_are_read() {
    let mut model = Model::new(ModelOptions::all());
    let line = "-A -f 4000000000 -s rr";
    let args: Vec<_> = line.split(' ').collect();
    assert_eq!(ipvsadm(&mut model, Invocation::Ipvsadm, &args, "").2, 0);
    assert_eq!(ipvsadm(&mut model, Invocation::Save, &[], "").0, format!("{line}\n"));
}

#[test]
fn the_wrappers_answer_like_those_of_ipvsadm() {
    let mut model = Model::new(ModelOptions::all());
    assert_eq!(ipvsadm(&mut model, Invocation::Save, &["-x"], "").2, 1);
    assert_eq!(ipvsadm(&mut model, Invocation::Save, &["word"], ""), Default::default());
    let (_, err, code) = ipvsadm(&mut model, Invocation::Restore, &[], "-A -t bogus");
    assert_eq!((err.as_str(), code), ("illegal virtual server address[:port] specified\n", 2));
}

#[test]
fn unsupported_features_are_refused_in_one_line() {
    let options = ModelOptions {
        capabilities: model::Capabilities::BASE,
        schedulers: ["rr".to_owned()].into(),
        ..ModelOptions::all()
    };
    let mut model = Model::new(options);
    for (line, said) in [
        ("-A -t 10.0.0.1:80 -s wlc", "Scheduler or persistence engine not found\n"),
        ("-A -t 10.0.0.1:80 -s rr", ""),
        ("-A -t [2001:db8::1]:80 -s rr", "Operation not supported with IPv6\n"),
        ("-A -f 1 -s rr", "Firewall-mark services are not supported by this director\n"),
        ("-A --sctp-service 10.0.0.1:80 -s rr", "SCTP services are not supported by this director\n"),
        ("-E -t 10.0.0.1:80 -s rr -p", "Persistent services are not supported by this director\n"),
        ("-A -u 10.0.0.1:80 -s rr -o", "One-packet scheduling is not supported by this director\n"),
        (
            "-A -u 10.0.0.1:80 -s rr --pe sip",
            "The sip persistence engine is not supported by this director\n",
        ),
        (
            "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 5",
            "Tunnel type gue is not supported by this director\n",
        ),
        (
            "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gre",
            "Tunnel type gre is not supported by this director\n",
        ),
        (
            "-a -t 10.0.0.1:80 -r 127.0.0.1",
            "Destinations on the director itself are not supported by this director\n",
        ),
        ("-a -t 10.0.0.1:80 -r 10.0.1.1 -i", ""),
        ("-D -t [2001:db8::1]:80", "No such service\n"),
    ] {
        let args: Vec<_> = line.split(' ').collect();
        let (out, err, code) = ipvsadm(&mut model, Invocation::Ipvsadm, &args, "");
        let exit = if said.is_empty() { 0 } else { 255 };
        assert_eq!((out.as_str(), err.as_str(), code), ("", said, exit), "{line}");
    }
}
