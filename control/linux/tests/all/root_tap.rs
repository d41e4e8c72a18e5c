//! Host interfaces: they are made as asked, vanish when dropped, and are refused with one clear
//! line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use std::io;
use std::process::Command;

use crate::netns::{eventually, in_netns, ip, ip_json, run, sysctl};
use dataplane::wire::ether::Mac;
use ipnet::IpNet;
use linux::{Tap, TapError, prepare_underlying};
use nix::sched::{CloneFlags, unshare};

const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x10]);

fn create(name: &str, addresses: &[&str]) -> Result<Tap, TapError> {
    let addresses: Vec<IpNet> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Tap::create(name, MAC, 1450, &addresses)
}

fn refusal(name: &str, addresses: &[&str]) -> String {
    let said = create(name, addresses).unwrap_err().to_string();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn exists(name: &str) -> bool {
    run(&format!("ip link show {name}")).is_ok()
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn a_host_interface_is_as_asked_and_goes_when_dropped() {
    in_netns(|| {
        let tap = create("vl-wan", &["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64"]).unwrap();
        let link = &ip_json("-d link show vl-wan")[0];
        assert_eq!(link["address"], "02:00:00:00:00:10");
        assert_eq!(link["mtu"], 1450);
        assert_eq!(link["ifindex"], tap.ifindex());
        assert!(link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"), "{link}");
        let data = &link["linkinfo"]["info_data"];
        assert_eq!(
            (&data["type"], &data["persist"], &data["vnet_hdr"]),
            (&"tap".into(), &false.into(), &false.into())
        );
        let shown = ip("addr show vl-wan");
        for address in ["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64"] {
            assert!(shown.contains(address), "{shown}");
        }
        assert!(ip("route show").contains("192.0.2.0/24 dev vl-wan"));
        drop(tap);
        assert!(!exists("vl-wan"));
        create("vl-wan", &[]).unwrap();
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn routes_are_added_and_go_with_the_interface() {
    in_netns(|| {
        let routes = |lines: &[&str]| lines.iter().map(|line| line.parse().unwrap()).collect::<Vec<_>>();
        let tap = create("vl-wan", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
        tap.add_routes(&routes(&[
            "default via 192.0.2.254 metric 5",
            "10.0.0.0/8 via 192.0.2.253 src 192.0.2.1",
            "198.51.100.1",
            "203.0.113.0/24 via 198.51.100.1",
            "172.16.0.0/12 via 100.64.0.1 onlink",
            "default via fe80::1",
            "2001:db8:7::/48 via 2001:db8::ff",
        ]))
        .unwrap();
        let shown = ip("route show") + &ip("-6 route show");
        for line in [
            "default via 192.0.2.254 dev vl-wan proto static metric 5",
            "10.0.0.0/8 via 192.0.2.253 dev vl-wan proto static src 192.0.2.1",
            "198.51.100.1 dev vl-wan proto static scope link",
            "203.0.113.0/24 via 198.51.100.1 dev vl-wan proto static",
            "172.16.0.0/12 via 100.64.0.1 dev vl-wan proto static onlink",
            "default via fe80::1 dev vl-wan proto static metric 1024",
            "2001:db8:7::/48 via 2001:db8::ff dev vl-wan proto static metric 1024",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let refused = |line: &str| tap.add_routes(&routes(&[line])).unwrap_err().to_string();
        let said = refused("default via 192.0.2.253 metric 5");
        assert!(said.contains("to the same net with the same metric already, see `ip route show`"), "{said}");
        let said = refused("192.168.0.0/16 via 100.64.0.9");
        assert!(
            said.starts_with(
                "cannot add the route `192.168.0.0/16 via 100.64.0.9` to host interface vl-wan: "
            )
        );
        assert!(
            said.ends_with("the gateway must be in the net of an address of the interface, or `onlink`"),
            "{said}"
        );
        drop(tap);
        assert_eq!(ip("route show"), "");
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn frames_pass_both_ways() {
    in_netns(|| {
        let tap = create("vl0", &["192.0.2.1/24"]).unwrap();
        let mut request = [0xff; 42];
        request[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        request[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        request[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        request[28..32].copy_from_slice(&[192, 0, 2, 9]);
        request[38..42].copy_from_slice(&[192, 0, 2, 1]);
        tap.write(&request).unwrap();
        let mut frame = [0; 2048];
        eventually("an ARP reply", || match tap.read(&mut frame) {
            Ok(len) => len >= 42 && frame[12..14] == [8, 6] && frame[21] == 2,
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                false
            }
        });
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 0x10]);
        assert_eq!(frame[28..32], [192, 0, 2, 1]);

        ip("link set vl0 down");
        assert_eq!(tap.write(&request).unwrap_err().raw_os_error(), Some(libc::EIO));
        ip("link del vl0");
        assert_eq!(tap.read(&mut frame).unwrap_err().raw_os_error(), Some(libc::EBADFD));
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn what_linux_sends_is_finished() {
    in_netns(|| {
        let tap = create("vl0", &["192.0.2.1/24"]).unwrap();
        ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev vl0");
        let socket = std::net::UdpSocket::bind("192.0.2.1:5000").unwrap();
        socket.send_to(&[7; 3000], "192.0.2.9:53").unwrap();
        let mut frame = [0; 2048];
        let mut longest = 0;
        let mut fragments = 0;
        eventually("both and a half fragments", || {
            while let Ok(len) = tap.read(&mut frame) {
                if frame[12..14] == [8, 0] && frame[23] == 17 {
                    longest = longest.max(len);
                    fragments += 1;
                    let sum: u32 =
                        frame[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
                    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "IP checksum");
                }
            }
            fragments == 3
        });
        assert!(longest <= 1450 + 14);
        // A datagram that fits carries a finished UDP checksum.
        socket.send_to(b"hello!", "192.0.2.9:53").unwrap();
        eventually("a datagram", || {
            tap.read(&mut frame).is_ok() && frame[12..14] == [8, 0] && frame[23] == 17 && frame[17] == 34
        });
        let pseudo = [17, 14]
            .into_iter()
            .chain(frame[26..48].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))));
        let sum: u32 = pseudo.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "UDP checksum");
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn a_taken_name_is_refused() {
    in_netns(|| {
        ip("link add vl0 type veth peer name other");
        let expected = "cannot make host interface vl0: there is an interface of that name already; \
                        set `host_interface` to a name that is free";
        assert_eq!(refusal("vl0", &[]), expected);
        assert!(exists("vl0"));
        ip("tuntap add dev vl1 mode tap");
        assert!(refusal("vl1", &[]).contains("already"));
        let _tap = create("vl2", &[]).unwrap();
        assert!(refusal("vl2", &[]).contains("already"));
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn a_refused_address_leaves_nothing() {
    in_netns(|| {
        sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let said = refusal("vl0", &["192.0.2.1/24", "2001:db8::1/64"]);
        assert!(said.starts_with("cannot put 2001:db8::1/64 on host interface vl0: "), "{said}");
        assert!(said.ends_with("IPv6 may be switched off (net.ipv6.conf.all.disable_ipv6)"), "{said}");
        assert!(!exists("vl0"));
        let said = Tap::create("vl0", Mac([1, 0, 0, 0, 0, 0]), 1500, &[]).unwrap_err().to_string();
        assert!(
            said.starts_with("cannot set Ethernet address 01:00:00:00:00:00 of host interface vl0: "),
            "{said}"
        );
        assert!(!exists("vl0"));
        let said = Tap::create("vl0", MAC, 20, &[]).unwrap_err().to_string();
        assert!(said.starts_with("cannot set MTU 20 of host interface vl0: "), "{said}");
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn without_dev_net_tun_it_says_so() {
    in_netns(|| {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        run("mount --make-rprivate /").unwrap();
        run("mount -t tmpfs none /dev/net").unwrap();
        let expected = "cannot make host interface vl0: there is no /dev/net/tun; try `modprobe tun`";
        assert_eq!(refusal("vl0", &[]), expected);
    });
}

const WITHOUT_RIGHTS: &str = "VIPLINE_TEST_WITHOUT_RIGHTS";

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn without_the_right_it_says_so() {
    if std::env::var_os(WITHOUT_RIGHTS).is_some() {
        println!("<{}>", refusal("vl0", &[]));
        println!("<{}>", prepare_underlying("under").unwrap_err());
        return;
    }
    in_netns(|| {
        ip("link add under type veth peer name other");
        let output = Command::new("setpriv")
            .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "root_tap::without_the_right_it_says_so", "--include-ignored", "--nocapture"])
            .env(WITHOUT_RIGHTS, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let why = "not permitted; run as root or with CAP_NET_ADMIN";
        assert!(said.contains(&format!("<cannot make host interface vl0: {why}>")), "{said}");
        assert!(said.contains(&format!("<cannot bring up under: {why}>")), "{said}");
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn the_interface_under_a_device_is_brought_up() {
    in_netns(|| {
        ip("link add under type veth peer name other");
        ip("addr add 192.0.2.7/24 dev under");
        let under = prepare_underlying("under").unwrap();
        assert_eq!(under.addresses, ["192.0.2.7/24".parse().unwrap()]);
        assert_eq!((under.iface.name.as_str(), under.iface.mtu, under.iface.up), ("under", 1500, true));
        let link = &ip_json("link show under")[0];
        assert!(link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"), "{link}");
        assert_eq!(prepare_underlying("under").unwrap(), under);
        let said = prepare_underlying("nowhere").unwrap_err().to_string();
        assert_eq!(said, "there is no interface nowhere here; expected one that `ip link` lists");
    });
}
