//! Listings with numbers. The transcripts compare the format with ipvsadm's.

use std::net::SocketAddr;

use super::*;
use crate::ipvs::address::tests::Few;
use crate::ipvs::{Listing, Mode, Numeric};
use api::{ConnectionRow, DestView, EngineData, Load, ServiceView, Traffic};
use model::{
    Counters, DestKey, DestSpec, ForwardingMethod, Protocol, Rates, ServiceKey, ServiceSpec, Tunnel,
    TunnelChecksum, TunnelKind,
};

fn counted(conns: u64, inpkts: u64, outpkts: u64, inbytes: u64, outbytes: u64) -> Traffic {
    let counters = Counters { conns, inpkts, outpkts, inbytes, outbytes };
    let rates = Rates { cps: conns, inpps: inpkts, outpps: outpkts, inbps: inbytes, outbps: outbytes };
    Traffic { counters, rates }
}

fn dest(
    addr: &str,
    port: u16,
    method: ForwardingMethod,
    weight: i32,
    load: Load,
    traffic: Traffic,
) -> DestView {
    let spec = DestSpec::new(DestKey::new(addr.parse().unwrap(), port), method, weight);
    DestView { id: 0, spec, load, traffic, response_us: None }
}

fn web() -> ServiceView {
    let load = |active, inactive, persistent| Load { active, inactive, persistent };
    let none = Traffic::default();
    let mut first =
        dest("10.0.1.11", 8080, ForwardingMethod::Masquerade, 5, load(3, 1, 2), counted(3, 3, 3, 120, 120));
    (first.spec.upper, first.spec.lower) = (100, 50);
    let mut tunnel = dest("10.0.1.14", 80, ForwardingMethod::Tunnel, 1, load(0, 0, 0), none);
    tunnel.spec.tunnel = Tunnel { kind: TunnelKind::Gue, port: 6080, checksum: TunnelChecksum::Outer };
    let full = dest(
        "10.0.1.15",
        80,
        ForwardingMethod::FullNat,
        0,
        load(0, 12_345_678, 0),
        counted(u64::MAX, 0, 5_000_000_000, 0, 9),
    );
    ServiceView {
        id: 0,
        spec: ServiceSpec::new(ServiceKey::tcp("10.0.0.100".parse().unwrap(), 80), "wrr").persistent(300),
        traffic: counted(7, 123_456_789, 99_999_999, 1_234_567_890_123, 1_000_000_000_000_000),
        destinations: vec![full, tunnel, first],
        local_addresses: vec![],
    }
}

fn shown(mode: Mode, exact: bool) -> String {
    let listing = Listing { mode, exact, numeric: true, ..Listing::default() };
    services(&[web()], &listing, &Numeric)
}

#[test]
fn plain() {
    let text = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:80 wrr persistent 300
  -> 10.0.1.11:8080               Masq    5      3          1         |
  -> 10.0.1.14:80                 Tunnel  1      0          0         |
  -> 10.0.1.15:80                 FullNat 0      0          12345678  |
";
    assert_eq!(shown(Mode::Plain, false), text.replace('|', ""));
}

#[test]
fn statistics() {
    let text = "\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.0.100:80                       7  123456K 99999999    1234G    1000T
  -> 10.0.1.11:8080                      3        3        3      120      120
  -> 10.0.1.14:80                        0        0        0        0        0
  -> 10.0.1.15:80                18446744T        0    5000M        0        9
";
    assert_eq!(shown(Mode::Stats, false), text);
    let text = "\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.0.100:80                       7 123456789 99999999 1234567890123 1000000000000000
  -> 10.0.1.11:8080                      3        3        3      120      120
  -> 10.0.1.14:80                        0        0        0        0        0
  -> 10.0.1.15:80                 18446744073709551615        0 5000000000        0        9
";
    assert_eq!(shown(Mode::Stats, true), text);
}

#[test]
fn rates() {
    let text = "\
Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
TCP  10.0.0.100:80                       7  123456K 99999999    1234G    1000T
  -> 10.0.1.11:8080                      3        3        3      120      120
  -> 10.0.1.14:80                        0        0        0        0        0
  -> 10.0.1.15:80                 18446744073709551615        0 5000000000        0        9
";
    assert_eq!(shown(Mode::Rate, false), text);
}

#[test]
fn thresholds() {
    let text = "\
Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn |
  -> RemoteAddress:Port
TCP  10.0.0.100:80 wrr persistent 300
  -> 10.0.1.11:8080               100        50         3          1         |
  -> 10.0.1.14:80                 0          0          0          0         |
  -> 10.0.1.15:80                 0          0          0          12345678  |
";
    assert_eq!(shown(Mode::Thresholds, false), text.replace('|', ""));
}

#[test]
fn persistent_connections() {
    let text = "\
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn |
  -> RemoteAddress:Port
TCP  10.0.0.100:80 wrr persistent 300
  -> 10.0.1.11:8080               5         2           3          1         |
  -> 10.0.1.14:80                 1         0           0          0         |
  -> 10.0.1.15:80                 0         0           0          12345678  |
";
    assert_eq!(shown(Mode::Persistent, false), text.replace('|', ""));
}

#[test]
fn connection_table() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let row = |protocol, expires, state: &str, client, target, destination| ConnectionRow {
        protocol,
        expires,
        state: state.into(),
        client: at(client),
        target: at(target),
        destination: at(destination),
        local: None,
        method: ForwardingMethod::Masquerade,
        worker: 0,
        engine: None,
    };
    let (tcp, udp) = (Some(Protocol::Tcp), Some(Protocol::Udp));
    let mut sip = row(udp, 296, "NONE", "10.0.0.2:0", "10.0.0.100:5060", "10.0.1.12:5060");
    sip.engine = Some(EngineData { name: "sip".into(), data: "abc123@host".into() });
    let rows = [
        row(tcp, 899, "ESTABLISHED", "10.0.0.2:5000", "10.0.0.100:80", "10.0.1.11:8080"),
        row(tcp, 295, "NONE", "10.0.0.2:0", "10.0.0.100:80", "10.0.0.1:80"),
        sip,
        row(None, 7200, "NONE", "10.0.0.2:0", "0.0.0.1:0", "10.0.1.2:0"),
        row(tcp, 5, "SYN_RECV", "[2001:db8::2]:5000", "[2001:db8::1]:443", "10.0.1.11:443"),
    ];
    let all = |engine, names| connections_title(engine) + &connections(&rows, engine, names);
    let text = "\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 10.0.0.2:5000      10.0.0.100:80      10.0.1.11:8080
TCP 04:55  NONE        10.0.0.2:0         10.0.0.100:80      10.0.0.1:80
UDP 04:56  NONE        10.0.0.2:0         10.0.0.100:5060    10.0.1.12:5060
IP  120:00 NONE        10.0.0.2:0         0.0.0.1:0          10.0.1.2:0
TCP 00:05  SYN_RECV    [2001:db8::2]:5000 [2001:db8::1]:443  10.0.1.11:443
";
    assert_eq!(all(false, &Numeric), text);
    let title = "pro expire state       source             virtual            destination        pe name          pe_data\n";
    assert!(all(true, &Numeric).contains(title));
    let line = "UDP 04:56  NONE        10.0.0.2:0         10.0.0.100:5060    10.0.1.12:5060   sip                abc123@host\n";
    assert!(all(true, &Numeric).contains(line));
    let line = "TCP 04:55  NONE        10.0.0.2:0         10.0.0.100:http    10.0.0.1:http\n";
    assert!(all(false, &Few).contains(line));
}

#[test]
fn timeouts_in_one_line() {
    assert_eq!(timeouts(&Default::default()), "Timeout (tcp tcpfin udp): 900 120 300\n");
}
