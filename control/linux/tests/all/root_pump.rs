//! The pump between host interfaces and a worker, which is played by this test, with the
//! neighbours.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests all through")]

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::netns::{eventually, in_netns, ip, sysctl};
use dataplane::host::{HostBuffer, WorkerEnd, channel};
use dataplane::io::{Frame, HostFrame, HostRequest, PortId};
use dataplane::wire::ether::Mac;
use linux::pump::{Bell, Pump, PumpDrop, PumpTotals};
use linux::{Mirror, NeighbourState, Tap};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const PEER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

struct Buffer {
    space: [u8; 2048],
    len: usize,
}

impl Buffer {
    fn new(frame: &[u8]) -> Self {
        let mut buffer = Self { space: [0; 2048], len: frame.len() };
        buffer.space[..frame.len()].copy_from_slice(frame);
        buffer
    }
}

impl Frame for Buffer {
    fn bytes(&self) -> &[u8] {
        &self.space[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.space[..self.len]
    }

    fn grow_front(&mut self, _: usize) -> bool {
        false
    }

    fn shrink_front(&mut self, _: usize) {}

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl HostBuffer for Buffer {
    fn space(&mut self) -> &mut [u8] {
        self.len = self.space.len();
        &mut self.space
    }
}

/// A frame that came from the pump.
struct Came {
    port: PortId,
    frame: Buffer,
}

impl Came {
    fn next(worker: &mut WorkerEnd<Buffer>) -> Option<Self> {
        let (port, frame) = worker.from_host.pop().ok()?;
        Some(Self { port, frame })
    }

    /// Whether the frame waited for its next hop. All bytes of such a frame are one number, apart
    /// from the MAC that it was given.
    fn resolved(&self) -> bool {
        let bytes = self.frame.bytes();
        bytes.len() == 64 && bytes[6..].iter().all(|byte| *byte == bytes[6])
    }
}

/// A worker with one port, its pump, and the mirror.
struct Bench {
    worker: WorkerEnd<Buffer>,
    pump: Pump<Buffer>,
    mirror: Mirror,
    ifindex: u32,
    /// What the worker, played by the test, rings.
    bell: Arc<Bell>,
}

const RING: usize = 256;

impl Bench {
    fn new() -> Self {
        sysctl("net/ipv6/conf/default/accept_dad", "0");
        let addresses = ["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()];
        let tap = Tap::create("vl0", OURS, 1500, &addresses).unwrap();
        let ifindex = tap.ifindex();
        let mirror = Mirror::start().unwrap();
        let (mut worker, ends) = channel(RING);
        for _ in 0..64 {
            worker.blank.push(Buffer::new(&[])).ok().unwrap();
        }
        let bell = Arc::new(Bell::new(1).unwrap());
        let pump = Pump::start(vec![tap], vec![ends], &mirror.handle(), Arc::clone(&bell)).unwrap();
        Self { worker, pump, mirror, ifindex, bell }
    }

    fn deliver(&mut self, frame: &[u8]) {
        let item =
            HostFrame { port: PortId::new(0), request: HostRequest::Deliver, frame: Buffer::new(frame) };
        self.worker.to_host.push(item).ok().unwrap();
    }

    fn resolve(&mut self, next_hop: impl Into<IpAddr>, mark: u8) {
        let frame = Buffer::new(&[mark; 64]);
        let request = HostRequest::Resolve { next_hop: next_hop.into() };
        self.worker.to_resolve.push(HostFrame { port: PortId::new(0), request, frame }).ok().unwrap();
    }

    /// The next frame to be sent that `fits`. Its buffer is replaced by an empty one.
    fn sent(&mut self, what: &str, fits: impl Fn(&Came) -> bool) -> Came {
        let mut found = None;
        eventually(what, || {
            while let Some(item) = Came::next(&mut self.worker) {
                if !item.resolved() {
                    self.worker.blank.push(Buffer::new(&[])).ok().unwrap();
                }
                if fits(&item) {
                    found = Some(item);
                    return true;
                }
            }
            false
        });
        found.unwrap()
    }

    fn arp_request(&mut self) -> Vec<u8> {
        let arp = |item: &Came| item.frame.bytes()[12..14] == [8, 6] && item.frame.bytes()[21] == 1;
        self.sent("an ARP request", arp).frame.bytes().to_vec()
    }

    /// How many buffers came back.
    fn spent(&mut self) -> usize {
        std::iter::from_fn(|| self.worker.spent.pop().ok()).count()
    }

    fn totals(&self) -> PumpTotals {
        self.pump.counters().totals()
    }

    fn state_of(&self, addr: impl Into<IpAddr>) -> Option<NeighbourState> {
        self.mirror.handle().state().neighbour(self.ifindex, addr.into()).map(|n| n.state)
    }
}

fn arp(op: u8, to: Mac, target: Ipv4Addr) -> Vec<u8> {
    let ethernet = [if op == 1 { [0xff; 6] } else { to.0 }, PEER.0].concat();
    let fixed = [8, 6, 0, 1, 8, 0, 6, 4, 0, op];
    [&ethernet[..], &fixed, &PEER.0, &PEER4.octets(), &to.0, &target.octets()].concat()
}

fn arp_reply() -> Vec<u8> {
    arp(2, OURS, Ipv4Addr::new(192, 0, 2, 1))
}

/// The peer's neighbour advertisement, which answers a solicitation.
fn advertisement(solicitation: &[u8]) -> Vec<u8> {
    let asker = &solicitation[22..38];
    let target = PEER6.octets();
    let body = [&[136, 0, 0, 0, 0x60, 0, 0, 0], &target[..], &[2, 1], &PEER.0].concat();
    let pseudo = [&target[..], asker, &[0, 0, 0, 32, 0, 0, 0, 58], &body].concat();
    let sum: u32 = pseudo.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    let mut frame =
        [&OURS.0[..], &PEER.0, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255], &target, asker, &body].concat();
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn frames_pass_between_linux_and_the_worker() {
    in_netns(|| {
        let mut bench = Bench::new();
        bench.deliver(&arp(1, Mac::default(), Ipv4Addr::new(192, 0, 2, 1)));
        let reply =
            bench.sent("an ARP reply", |item| item.frame.bytes()[12..22] == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(reply.frame.bytes()[..12], [PEER.0, OURS.0].concat());
        assert!(!reply.resolved());
        eventually("the buffer back", || bench.spent() == 1);
        let totals = bench.totals();
        assert_eq!((totals.delivered, totals.drops), (1, [0; 8]));
        assert!(totals.taken >= 1);

        bench.deliver(&[1, 2, 3]);
        ip("link set vl0 down");
        bench.deliver(&arp_reply());
        let item =
            HostFrame { port: PortId::new(5), request: HostRequest::Deliver, frame: Buffer::new(&[0; 60]) };
        bench.worker.to_host.push(item).ok().unwrap();
        eventually("three buffers back", || bench.worker.spent.slots() == 3);
        let totals = bench.totals();
        assert_eq!(totals.dropped(PumpDrop::HostRefused) + totals.dropped(PumpDrop::HostDown), 2);
        assert!(totals.dropped(PumpDrop::HostDown) >= 1);
        assert_eq!(totals.dropped(PumpDrop::NoPort), 1);

        // When somebody deletes a host interface, the pump still sleeps.
        ip("link del vl0");
        thread::sleep(Duration::from_millis(100));
        assert!(fewest_sleeps(Duration::from_millis(500)) >= 5, "it spins");
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn frames_wait_for_their_next_hop() {
    in_netns(|| {
        let mut bench = Bench::new();
        // By then Linux has set up the new link, and the answer comes alone.
        thread::sleep(Duration::from_millis(300));
        for mark in 1..=3 {
            bench.resolve(PEER4, mark);
        }
        let request = bench.arp_request();
        assert_eq!(request[38..42], PEER4.octets());
        assert_eq!(bench.spent(), 0);
        bench.deliver(&arp_reply());
        let answered = Instant::now();
        for mark in 1..=3 {
            let item = bench.sent("a resolved frame", |item| item.resolved());
            assert_eq!(item.port, PortId::new(0));
            assert_eq!(item.frame.bytes(), [&PEER.0[..], &[mark; 58]].concat());
        }
        println!("from ARP reply to resolved frames: {:?}", answered.elapsed());
        // Now the neighbour is known, and the frame does not wait.
        bench.resolve(PEER4, 7);
        bench.sent("a resolved frame", |item| item.resolved() && item.frame.bytes()[6] == 7);
        let totals = bench.totals();
        assert_eq!((totals.parked, totals.resolved, totals.drops), (3, 4, [0; 8]));
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn neighbour_discovery_serves_as_arp_does() {
    in_netns(|| {
        let mut bench = Bench::new();
        // Solicitations come from the link-local address.
        thread::sleep(Duration::from_millis(100));
        bench.resolve(PEER6, 1);
        let asks = |item: &Came| {
            let frame = item.frame.bytes();
            frame.len() >= 78
                && frame[12..14] == [0x86, 0xdd]
                && frame[54] == 135
                && frame[62..78] == PEER6.octets()
        };
        let solicitation = bench.sent("a neighbour solicitation", asks).frame.bytes().to_vec();
        bench.deliver(&advertisement(&solicitation));
        let item = bench.sent("a resolved frame", |item| item.resolved());
        assert_eq!(item.frame.bytes()[..6], PEER.0);
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn what_linux_knows_already_is_not_asked_for() {
    in_netns(|| {
        let mut bench = Bench::new();
        ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev vl0 nud permanent");
        eventually("the mirror has it", || bench.state_of(PEER4) == Some(NeighbourState::Permanent));
        bench.pump.keep_alive(vec![(PortId::new(0), PEER4.into())]);
        thread::sleep(Duration::from_millis(20));
        bench.resolve(PEER4, 1);
        assert_eq!(bench.sent("a resolved frame", |item| item.resolved()).frame.bytes()[..6], PEER.0);
        assert!(ip("neigh show").contains("PERMANENT"), "{}", ip("neigh show"));
        assert_eq!(bench.totals().parked, 0);
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn a_silent_next_hop_costs_its_frames() {
    in_netns(|| {
        let mut bench = Bench::new();
        sysctl("net/ipv4/neigh/vl0/retrans_time_ms", "50");
        for mark in 0..20 {
            bench.resolve(PEER4, mark);
        }
        // The kernel gives up after three requests.
        eventually("the kernel gives up", || bench.totals().given_up == 16);
        assert_eq!(bench.totals().dropped(PumpDrop::NextHopFull), 4);
        eventually("all buffers back", || bench.worker.spent.slots() + bench.worker.failed.slots() == 20);
        // The frames come back as they were to leave. The worker tells their senders.
        let marks: Vec<u8> = (0..16).map(|_| bench.worker.failed.pop().unwrap().bytes()[40]).collect();
        assert_eq!(marks, (4..20).collect::<Vec<_>>());
        assert_eq!(bench.state_of(PEER4), Some(NeighbourState::Failed));

        // The kernel is asked again for a neighbour that has failed. That it had failed before is
        // no answer.
        thread::sleep(Duration::from_millis(1000));
        while bench.worker.from_host.pop().is_ok() {}
        for _ in 0..30 {
            let _ = bench.worker.blank.push(Buffer::new(&[]));
        }
        bench.resolve(PEER4, 1);
        bench.arp_request();
        bench.deliver(&arp_reply());
        bench.sent("a resolved frame", |item| item.resolved());

        // The neighbour is neither found nor given up. The frame waits for 3 s.
        sysctl("net/ipv4/neigh/vl0/retrans_time_ms", "5000");
        let begun = Instant::now();
        bench.resolve(Ipv4Addr::new(192, 0, 2, 77), 1);
        eventually("time is up", || bench.totals().given_up == 17);
        assert!(begun.elapsed() >= Duration::from_secs(3));
    });
}

/// Senders on the port's own link that are made up. Each wants a neighbour of its own.
#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn strangers_starve_neither_arp_nor_the_next_hops_of_destinations() {
    in_netns(|| {
        let mut bench = Bench::new();
        ip("address add 10.8.0.1/16 dev vl0");
        bench.pump.keep_alive(vec![(PortId::new(0), PEER4.into())]);
        thread::sleep(Duration::from_millis(300));
        let mut flood = 0;
        for n in 0..2000_u32 {
            let request = HostRequest::Resolve { next_hop: Ipv4Addr::from_bits(0x0a08_0100 + n).into() };
            let frame = Buffer::new(&[1; 64]);
            let sent = bench.worker.to_resolve.push(HostFrame { port: PortId::new(0), request, frame });
            flood += u64::from(sent.is_ok());
            if n == 1000 {
                // The ring to Linux has room, however much waits in the other one.
                bench.deliver(&arp(1, Mac::default(), Ipv4Addr::new(192, 0, 2, 1)));
            }
            if n % 50 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        eventually("the ARP request is delivered", || bench.totals().delivered == 1);
        eventually("all of the flood is judged", || {
            let totals = bench.totals();
            totals.parked + totals.dropped(PumpDrop::AskedTooMuch) == flood
        });
        let totals = bench.totals();
        assert!(totals.parked < 1000, "the kernel was asked for {} of {flood}", totals.parked);
        // The next hop of a destination is resolved all the same.
        while bench.worker.from_host.pop().is_ok() {
            let _ = bench.worker.blank.push(Buffer::new(&[]));
        }
        bench.resolve(PEER4, 9);
        bench.deliver(&arp_reply());
        bench.sent("a resolved frame", |item| item.resolved() && item.frame.bytes()[6] == 9);
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn a_wanted_neighbour_is_kept_though_linux_sends_it_nothing() {
    in_netns(|| {
        let mut bench = Bench::new();
        // Reachable for 1.5 to 4.5 s, then stale.
        sysctl("net/ipv4/neigh/vl0/base_reachable_time_ms", "3000");
        sysctl("net/ipv4/neigh/vl0/delay_first_probe_time", "1");
        let unwanted = Ipv4Addr::new(192, 0, 2, 10);
        bench.pump.keep_alive(vec![(PortId::new(0), PEER4.into())]);
        bench.resolve(unwanted, 1);
        let (mut broadcasts, mut probes, mut lost, mut states) = ([0; 2], [0; 2], 0, Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(14) {
            while let Some(came) = Came::next(&mut bench.worker) {
                let (resolved, mut frame) = (came.resolved(), came.frame);
                let bytes = frame.bytes_mut();
                if !resolved && bytes[12..14] == [8, 6] {
                    let target = Ipv4Addr::new(bytes[38], bytes[39], bytes[40], bytes[41]);
                    let count = if bytes[..6] == [0xff; 6] { &mut broadcasts } else { &mut probes };
                    count[usize::from(target == unwanted)] += 1;
                    let mut reply = arp_reply();
                    reply[28..32].copy_from_slice(&target.octets());
                    bench.deliver(&reply);
                }
                let _ = bench.worker.blank.push(frame);
            }
            let state = bench.state_of(PEER4);
            lost += usize::from(!states.is_empty() && !state.is_some_and(NeighbourState::is_valid));
            if let Some(state) = state.filter(|state| states.last() != Some(state)) {
                states.push(state);
            }
            thread::sleep(Duration::from_millis(1));
        }
        println!("broadcast {broadcasts:?}, probed {probes:?}, {states:?}");
        // The kernel asked for each once, by broadcast. Then it probed, and the address was never
        // lost.
        assert_eq!((broadcasts, lost), ([1, 1], 0));
        assert!(probes[0] >= 1 && states.contains(&NeighbourState::Stale), "{probes:?}, {states:?}");
        // The other one may be probed once, because it was used lately, and then no more.
        assert!(probes[1] <= 1, "{probes:?}");
        assert_eq!(bench.state_of(unwanted), Some(NeighbourState::Stale));
    });
}

#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn a_worker_that_does_not_take_frames_pushes_back_on_linux() {
    in_netns(|| {
        let mut bench = Bench::new();
        ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev vl0");
        let socket = std::net::UdpSocket::bind("192.0.2.1:5000").unwrap();
        for _ in 0..200 {
            socket.send_to(&[0; 100], "192.0.2.9:53").unwrap();
        }
        // The pump was given only 64 empty buffers. It sleeps, and does not look again and again at
        // a TAP that has more.
        thread::sleep(Duration::from_millis(200));
        assert_eq!(bench.totals().taken, 64);
        assert!(fewest_sleeps(Duration::from_millis(500)) >= 5, "it spins");
        let mut seen = 0;
        eventually("all frames", || {
            while let Some(item) = Came::next(&mut bench.worker) {
                seen += usize::from(item.frame.bytes()[12..14] == [8, 0]);
                bench.worker.blank.push(item.frame).ok().unwrap();
            }
            seen == 200
        });
        let ends = bench.pump.stop();
        let left = ends[0].blank.slots() + bench.worker.spent.slots();
        assert_eq!(left + bench.worker.from_host.slots(), 64, "a buffer is missing");
    });
}

/// How often the pump slept that did so least often, of all pumps in this process. Other tests have
/// pumps too, but only one rests.
fn fewest_sleeps(over: Duration) -> u64 {
    let sleeps = || -> HashMap<OsString, u64> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let pumps = tasks
            .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|c| c.trim() == "vl-pump"));
        let count = |task: PathBuf| {
            let status = std::fs::read_to_string(task.join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((task.file_name()?.to_owned(), line.trim().parse().ok()?))
        };
        pumps.filter_map(count).collect()
    };
    let before = sleeps();
    thread::sleep(over);
    sleeps().iter().filter_map(|(task, now)| Some(now - before.get(task)?)).min().unwrap()
}

/// On a machine that others use too, times prove nothing. So the test counts how often the pump
/// wakes, and checks that it wakes when it must.
#[test]
#[cfg_attr(not(root_tests), ignore = "needs root and VIPLINE_ROOT_TESTS=1")]
fn while_the_worker_rests_the_pump_sleeps_until_it_is_rung_for() {
    in_netns(|| {
        let mut bench = Bench::new();
        ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev vl0");
        eventually("the mirror has it", || bench.state_of(PEER4).is_some());
        bench.bell.rest();
        thread::sleep(Duration::from_millis(200));
        let sleeps = fewest_sleeps(Duration::from_secs(2));
        // It would be some 3500 if the pump looked at its rings by itself. It is 40 when nothing
        // comes from Linux either.
        assert!((1..1000).contains(&sleeps), "{sleeps} times in 2 s");
        for _ in 0..20 {
            bench.resolve(PEER4, 1);
            bench.bell.wake();
            eventually("it comes back", || Came::next(&mut bench.worker).is_some_and(|item| item.resolved()));
            bench.bell.rest();
            thread::sleep(Duration::from_millis(60));
        }
    });
}
