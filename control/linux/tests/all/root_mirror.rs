//! Compares the mirror with the kernel: lookups are answered as by `ip route get`, and every change
//! is followed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use crate::netns::{Random, eventually, in_netns, ip, run, sysctl};
use linux::{Lookup, Mirror, MirrorState, NeighbourState};

/// Three links with addresses, two of them of one subnet.
fn links() {
    for index in 1..=3 {
        ip(&format!("link add d{index} type veth peer name p{index}"));
        ip(&format!("link set p{index} up addrgenmode none"));
        sysctl(&format!("net/ipv6/conf/d{index}/accept_dad"), "0");
        ip(&format!("link set d{index} up mtu {}", 1400 + index));
        ip(&format!("addr add 10.{index}.0.1/16 dev d{index}"));
        ip(&format!("addr add 2001:db8:{index}::1/48 dev d{index} nodad"));
    }
    ip("addr add 10.1.5.9/24 dev d1");
    ip("addr add 10.1.0.7/16 dev d1");
    ip("addr add 10.66.0.1 peer 10.77.0.1 dev d3");
    ip("addr add 192.168.1.1/24 dev d3 scope link");
    ip("addr add 2001:db8:1:5::9/64 dev d1 nodad");
}

fn batch(lines: &str) {
    let mut child = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    // Some routes are refused, as duplicates of others: the kernel decides which.
    child.wait().unwrap();
}

fn v4(random: &mut Random) -> String {
    let (a, b, c, d) = (random.below(4), random.below(4), random.below(3), random.below(256));
    match random.below(6) {
        0 => format!("{}.{b}.{c}.{d}", 172 + a),
        1 => format!("10.{}.{c}.{}", 60 + b * 6, random.below(3)),
        _ => format!("10.{}.{}.{d}", a + 1, c * 2 + b % 2),
    }
}

fn v6(random: &mut Random) -> String {
    let (a, b, c) = (random.below(5), random.below(4), random.below(4));
    match random.below(5) {
        0 => format!("fd00:{a}:{b}::{c}"),
        _ => format!("2001:db8:{a}:{b}::{:x}", random.below(65536)),
    }
}

fn routes(random: &mut Random, count: usize, v6_too: bool) {
    let mut lines = String::new();
    for _ in 0..count {
        let link = random.below(3) + 1;
        let six = v6_too && random.below(2) == 0;
        let prefix = if six {
            format!("{}/{}", v6(random), random.pick(&[0, 24, 40, 44, 48, 56, 60, 64, 96, 112, 127, 128]))
        } else {
            format!("{}/{}", v4(random), random.pick(&[0, 4, 8, 12, 14, 16, 20, 23, 24, 25, 28, 30, 31, 32]))
        };
        let prefix = prefix.parse::<ipnet::IpNet>().unwrap().trunc();
        let gateway = if six { format!("2001:db8:{link}::99") } else { format!("10.{link}.0.99") };
        // A local route that covers a gateway's address would make the gateway local. Routes
        // through such a gateway are a special case, which is left out.
        let local = !(1..=3).any(|n| {
            prefix.contains(&format!("10.{n}.0.99").parse::<IpAddr>().unwrap())
                || prefix.contains(&format!("2001:db8:{n}::99").parse::<IpAddr>().unwrap())
        });
        let table = random.pick(&["main", "main", "main", "main", "default"]);
        let _ = match random.below(12) {
            0 => write!(lines, "route add blackhole {prefix} table {table}"),
            1 => write!(lines, "route add unreachable {prefix} table {table}"),
            2 => write!(lines, "route add prohibit {prefix} table {table}"),
            3 => write!(lines, "route add throw {prefix} table {table}"),
            4 if local => write!(lines, "route add local {prefix} dev lo table local"),
            5 | 6 => write!(lines, "route add {prefix} dev d{link} table {table}"),
            7 if !six => write!(lines, "route add {prefix} via inet6 2001:db8:{link}::99 dev d{link}"),
            8 if !six => write!(lines, "route add {prefix} via {gateway} src 10.2.0.1 mtu lock 1300"),
            9 => write!(lines, "route add {prefix} via {gateway} dev d{link} mtu 1310 table {table}"),
            _ => write!(lines, "route add {prefix} via {gateway} dev d{link} table {table}"),
        };
        if random.below(3) == 0 {
            let _ = write!(lines, " metric {}", random.below(3) * 10 + 10);
        }
        lines.push('\n');
    }
    batch(&lines);
}

/// What the kernel answers, in the words of a [`Lookup`].
fn route_get(dst: &str, mirrored: &MirrorState) -> Lookup {
    let said = match run(&format!("ip -j route get {dst}")) {
        Ok(said) => said,
        Err(why) if why.contains("Invalid argument") => return Lookup::Blackhole,
        Err(why) if why.contains("Network is unreachable") => return Lookup::None,
        Err(why) if why.contains("No route to host") => return Lookup::Unreachable,
        Err(why) if why.contains("Permission denied") => return Lookup::Prohibit,
        Err(why) => panic!("ip route get {dst}: {why}"),
    };
    let routes: serde_json::Value = serde_json::from_str(&said).unwrap();
    let route = &routes[0];
    match route["type"].as_str() {
        Some("local") => return Lookup::Local,
        Some("broadcast" | "multicast") => return Lookup::Broadcast,
        Some("blackhole") => return Lookup::Blackhole,
        Some("unreachable") => return Lookup::Unreachable,
        Some("prohibit") => return Lookup::Prohibit,
        _ => {}
    }
    let addr = |value: &serde_json::Value| value.as_str().map(|text| text.parse::<IpAddr>().unwrap());
    let (ifindex, iface) = mirrored.iface_named(route["dev"].as_str().unwrap()).unwrap();
    Lookup::Unicast {
        ifindex,
        next_hop: addr(&route["gateway"]).or(addr(&route["via"]["host"])).unwrap_or(dst.parse().unwrap()),
        pref_src: addr(&route["prefsrc"]),
        mtu: route["metrics"][0]["mtu"].as_u64().map_or(iface.mtu, |mtu| mtu as u32),
    }
}

/// Compares `count` lookups. The kernel's routes must not change meanwhile.
fn compare(random: &mut Random, count: usize, state: &MirrorState, what: &str) {
    let flat = state.routes_v4();
    let mut kinds = std::collections::BTreeMap::new();
    for _ in 0..count {
        let dst = if random.below(2) == 0 { v4(random) } else { v6(random) };
        let addr: IpAddr = dst.parse().unwrap();
        let kernel = route_get(&dst, state);
        *kinds.entry(format!("{kernel:?}").split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
        if state.lookup(addr) != kernel {
            let near = |r: &&linux::Route| r.dest.contains(&addr);
            let near: Vec<_> = state.routes.iter().filter(near).collect();
            panic!("{what}: {dst}: {:?}, but the kernel says {kernel:?}, of {near:#?}", state.lookup(addr));
        }
        if let IpAddr::V4(v4) = addr {
            let found = flat.iter().find(|range| (range.start..=range.end).contains(&u32::from(v4)));
            assert_eq!(
                found.map_or(Lookup::None, |range| range.target.towards(addr)),
                kernel,
                "{what}: flat, {dst}"
            );
        }
    }
    println!("{what}: {} routes, {} ranges, {kinds:?}", state.routes.len(), flat.len());
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn lookups_answer_as_ip_route_get() {
    let seeds = std::env::var("VIPLINE_SEEDS").map_or(6, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        in_netns(move || {
            let mut random = Random(seed);
            links();
            if seed % 3 == 0 {
                // From here on the kernel keeps the tables local and main apart.
                ip("rule add to 203.0.113.0/24 table 100");
            }
            routes(&mut random, 60, true);
            let mirror = Mirror::start().unwrap();
            compare(&mut random, 150, &mirror.handle().state(), &format!("seed {seed}, dumped"));

            // The same again, but the mirror follows all changes by events.
            routes(&mut random, 40, true);
            for line in ip("route show").lines().filter(|_| random.below(4) == 0).collect::<Vec<_>>() {
                let _ = run(&format!("ip route del {line}"));
            }
            let fresh = Mirror::start().unwrap().handle().state();
            let handle = mirror.handle();
            eventually("the followed routes are the dumped ones", || handle.state().routes == fresh.routes);
            compare(&mut random, 100, &handle.state(), &format!("seed {seed}, followed"));
        });
    }
}

/// Whether a mirror that followed events knows the same as one that is started now.
fn same_as_fresh(mirror: &Mirror) -> bool {
    let (state, fresh) = (mirror.handle().state(), Mirror::start().unwrap().handle().state());
    (&state.ifaces, &state.addresses, &state.routes, &state.neighbours)
        == (&fresh.ifaces, &fresh.addresses, &fresh.routes, &fresh.neighbours)
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn every_change_is_followed() {
    in_netns(|| {
        links();
        let mirror = Mirror::start().unwrap();
        assert!(same_as_fresh(&mirror));
        let changes = [
            "route add 192.0.2.0/24 via 10.1.0.99",
            "route append 192.0.2.0/24 via 10.1.0.98",
            "route prepend 192.0.2.0/24 via 10.1.0.97",
            "route del 192.0.2.0/24 via 10.1.0.99",
            "route replace 192.0.2.0/24 via 10.2.0.99",
            "route replace 192.0.2.0/24 nexthop via 10.2.0.99 nexthop via 10.1.0.99",
            "route add 192.0.2.0/24 via 10.2.0.98 metric 10",
            "route change 192.0.2.0/24 via 10.2.0.97 metric 10",
            "route replace unreachable 192.0.2.0/24",
            "-6 route add 2001:db8:ff::/48 via 2001:db8:1::99",
            "-6 route append 2001:db8:ff::/48 via 2001:db8:2::99",
            "-6 route append 2001:db8:ff::/48 via 2001:db8:3::99",
            "-6 route del 2001:db8:ff::/48 via 2001:db8:2::99",
            "-6 route replace 2001:db8:ff::/48 via 2001:db8:2::98",
            "-6 route add 2001:db8:ff::/48 via 2001:db8:1::99 metric 5",
            "nexthop add id 7 via 10.1.0.50 dev d1",
            "nexthop add id 8 via 10.2.0.50 dev d2",
            "route add 198.51.100.0/24 nhid 7",
            "nexthop replace id 7 via 10.1.0.51 dev d1",
            "nexthop add id 9 group 7/8",
            "route replace 198.51.100.0/24 nhid 9",
            "nexthop del id 8",
            "nexthop del id 7",
            "addr add 10.9.0.1/24 dev d2",
            "route add 203.0.113.0/24 via 10.1.0.99 src 10.9.0.1",
            "addr del 10.9.0.1/24 dev d2",
            "route add 192.0.2.128/25 via 10.1.0.99",
            "link set d1 down",
            "link set d1 up",
            "link set d1 mtu 1300",
            "link set d1 name renamed",
            "link set d2 address 02:00:00:00:00:77",
            "neigh add 10.2.0.5 lladdr 02:00:00:00:00:05 dev d2",
            "neigh replace 10.2.0.5 lladdr 02:00:00:00:00:06 nud reachable dev d2",
            "-6 neigh add 2001:db8:2::5 lladdr 02:00:00:00:00:05 dev d2",
            "neigh del 10.2.0.5 dev d2",
            "link del p3",
            "link add v1 type veth peer name v2",
            "link set v1 up",
            "rule add to 203.0.113.0/24 table 100",
            "rule del to 203.0.113.0/24 table 100",
        ];
        for change in changes {
            ip(change);
            eventually(change, || {
                let rules_came_and_went = change.starts_with("rule");
                same_as_fresh(&mirror) || rules_came_and_went && !mirror.handle().state().routes.merged()
            });
        }
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn the_links_of_all_next_hops_of_a_route_are_known() {
    in_netns(|| {
        links();
        ip("route add 192.0.2.0/24 nexthop via 10.2.0.99 nexthop via 10.1.0.99");
        ip("route add 198.51.100.0/24 nexthop via 10.2.0.99");
        let mirror = Mirror::start().unwrap();
        let state = mirror.handle().state();
        let links = |dest: &str| {
            let route = state.routes.find(dest.parse().unwrap()).unwrap();
            route.links.iter().map(|index| state.ifaces[index].name.clone()).collect::<Vec<_>>()
        };
        assert_eq!((links("192.0.2.1"), links("198.51.100.1").len()), (vec!["d2".into(), "d1".into()], 0));
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn generations_tell_what_changed() {
    in_netns(|| {
        links();
        let mirror = Mirror::start().unwrap();
        let handle = mirror.handle();
        let changes = handle.subscribe();
        // It takes a moment until the links have their carriers and own addresses.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let mut before = handle.state().generations;
        let mut after = |words: &str| {
            while changes.try_recv().is_ok() {}
            let then = handle.state().generations;
            ip(words);
            eventually(words, || handle.state().generations != before);
            // The other events of the same change come at once.
            std::thread::sleep(std::time::Duration::from_millis(30));
            assert!(changes.try_recv().is_ok(), "no event after {words}");
            let now = handle.state().generations;
            before = now;
            (now.links != then.links, now.routes != then.routes, now.neighbours != then.neighbours)
        };
        assert_eq!(after("neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 dev d1"), (false, false, true));
        assert_eq!(after("route add 192.0.2.0/24 via 10.1.0.99"), (false, true, false));
        assert_eq!(after("addr add 10.200.0.1/32 dev d1"), (true, true, false));
        assert_eq!(after("link set d2 mtu 1350"), (true, true, false));
        let state = handle.state();
        let neighbour =
            state.neighbour(state.iface_named("d1").unwrap().0, "10.1.0.77".parse().unwrap()).unwrap();
        assert_eq!(neighbour.state, NeighbourState::Permanent);
        assert_eq!(neighbour.usable_mac().unwrap().to_string(), "02:00:00:00:00:77");
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn lost_events_are_made_up_for() {
    in_netns(|| {
        links();
        for buffer in [1, 8 << 20] {
            let mirror = Mirror::start_with(buffer).unwrap();
            change(0, 20_000, "add");
            change(5_000, 10_000, "del");
            eventually("all routes are there", || same_as_fresh(&mirror));
            let state = mirror.handle().state();
            assert_eq!(state.generations.overruns > 0, buffer == 1, "{:?}", state.generations);
            assert!(state.routes.len() > 15_000);
            assert_eq!(state.lookup("11.0.0.1".parse().unwrap()), route_get("11.0.0.1", &state));
            assert_eq!(state.lookup("11.0.30.1".parse().unwrap()), Lookup::None);
            ip("route flush root 11.0.0.0/8");
        }
    });
}

fn change(from: u32, to: u32, verb: &str) {
    let mut lines = String::new();
    for n in from..to {
        let _ = writeln!(lines, "route {verb} 11.{}.{}.{}/32 via 10.1.0.99", n >> 16, n >> 8 & 255, n & 255);
    }
    batch(&lines);
}

/// A macvlan of VRRP takes its frames from the host interface. An end of a veth pair lies upon no
/// other link.
#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn what_lies_upon_a_link_is_known_by_it() {
    in_netns(|| {
        ip("link add vl0 type veth peer name vl1");
        let mirror = Mirror::start().unwrap();
        ip("link add vrrp link vl0 address 00:00:5e:00:01:33 type macvlan mode private");
        let lower = |name: &str| {
            let state = mirror.handle().state();
            let (_, iface) = state.iface_named(name)?;
            let lower = iface.lower?;
            Some((state.ifaces.get(&lower)?.name.clone(), iface.mac?.to_string()))
        };
        let mac = "00:00:5e:00:01:33".to_owned();
        eventually("the macvlan", || lower("vrrp") == Some(("vl0".to_owned(), mac.clone())));
        assert_eq!((lower("vl0"), lower("vl1")), (None, None));
    });
}
