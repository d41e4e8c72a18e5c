//! Runs a scenario against Vipline in memory. The language is described in
//! `scripts/oracle.d/README.md`; `scripts/oracle.d/guest.py` runs the same against Linux.

use std::collections::HashMap;
use std::net::SocketAddrV4;

use dataplane::time::Ticks;
use director::sim::{FrameExit, Sim};
use serde::{Deserialize, Serialize};

use crate::frame::{self, Options};
use crate::network::{self, LAN, WAN};

/// A scenario: its name, and the lines to carry out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    pub scenario: String,
    pub text: String,
}

/// The results of a scenario. Each line that can be compared has its number here, and what was
/// seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    pub scenario: String,
    pub results: Vec<(usize, String)>,
}

/// Runs a scenario, beginning with an empty director.
pub fn run(scenario: &Scenario) -> Results {
    let mut runner =
        Runner { sim: network::sim(), clock: 0, begun: 0, whole_frames: false, went: HashMap::new() };
    runner.begun = runner.sim.now().raw();
    let mut results = Vec::new();
    for (number, line) in (1..).zip(scenario.text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty()
            && let Some(result) = runner.line(line)
        {
            results.push((number, result));
        }
    }
    runner.sim.check_accounts().unwrap();
    Results { scenario: scenario.scenario.clone(), results }
}

/// A flow: whether it is of datagrams, and its two ends.
type Flow = (bool, SocketAddrV4, SocketAddrV4);

/// Ticks that a command takes.
const COMMAND: u32 = 10;
/// Ticks that a packet takes. Linux puts some work off until its next tick; this is long enough for
/// that.
const PACKET: u32 = 2;
/// Ticks after which Linux has surely looked at its counters.
const ESTIMATED: u32 = 450;

struct Runner {
    sim: Sim,
    /// When the next line is due, in ticks from the beginning.
    clock: u32,
    begun: u32,
    whole_frames: bool,
    /// Where each connection went: the address from which answers come, and the real server's MAC.
    went: HashMap<Flow, (SocketAddrV4, [u8; 6])>,
}

impl Runner {
    fn line(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.until_due();
        match words[..] {
            ["ipvsadm", ref args @ ..] => {
                self.clock += COMMAND;
                some(&self.ipvsadm(&args.join(" ")))
            }
            ["list"] => Some(without_title(&self.ipvsadm("-L -n"))),
            ["stats"] => {
                self.clock += ESTIMATED;
                self.until_due();
                Some(without_title(&self.ipvsadm("-L -n --stats --exact")))
            }
            ["conns"] => Some(self.connections()),
            ["wait", seconds] => {
                self.clock += (seconds.parse::<f64>().unwrap() * f64::from(Ticks::PER_SECOND)) as u32;
                None
            }
            ["frames"] => {
                self.whole_frames = true;
                None
            }
            ["mark", ref args @ ..] => {
                self.clock += COMMAND;
                let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
                let said = self.sim.mark(&args);
                some(&(said.out + &said.err))
            }
            ["reply", verb, ref rest @ ..] => Some(self.packet(verb, rest, true)),
            [verb, ref rest @ ..] => Some(self.packet(verb, rest, false)),
            [] => None,
        }
    }

    fn until_due(&mut self) {
        let passed = self.sim.now().raw() - self.begun;
        self.sim.wait(self.clock.saturating_sub(passed));
    }

    fn ipvsadm(&mut self, line: &str) -> String {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let said = self.sim.ipvsadm(&args);
        said.out + &said.err
    }

    fn connections(&mut self) -> String {
        let listing = self.ipvsadm("-L -n -c");
        let mut rows: Vec<String> = listing
            .lines()
            .skip(2)
            .map(|row| {
                let words: Vec<&str> = row.split_whitespace().collect();
                let (minutes, seconds) = words[1].split_once(':').unwrap();
                let left = minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap();
                format!("{} {left} {}", words[0], words[2..].join(" "))
            })
            .collect();
        rows.sort();
        rows.join("\n")
    }

    fn packet(&mut self, verb: &str, words: &[&str], from_server: bool) -> String {
        let [client, virtual_end, options @ ..] = words else { panic!("{verb}: two ends are wanted") };
        let (client, virtual_end) = (client.parse().unwrap(), virtual_end.parse().unwrap());
        let mut options = Options::new(options);
        let flow = (verb == "udp", client, virtual_end);
        let (port, data) = if from_server {
            let Some((source, mac)) = self.went.get(&flow) else { return "nobody".to_owned() };
            if verb == "syn" {
                options.add("ack");
            }
            (LAN, frame::build((network::director(LAN), *mac), (*source, client), verb, &options))
        } else {
            let mac = network::neighbour(WAN, *client.ip());
            (WAN, frame::build((network::director(WAN), mac), (client, virtual_end), verb, &options))
        };
        let out = self.sim.receive(port, &data).into_iter().map(network::through_linux).collect::<Vec<_>>();
        self.clock += PACKET;
        if !from_server {
            for outcome in &out {
                if let FrameExit::Sent(LAN, frame) = outcome {
                    let mac = frame[..6].try_into().unwrap();
                    self.went.insert(flow, (frame::answers_from(frame, virtual_end), mac));
                }
            }
        }
        let words: Vec<String> = out.iter().filter_map(|outcome| self.word(outcome)).collect();
        if words.is_empty() { "-".to_owned() } else { words.join(" ") }
    }

    /// A frame in the words of the results.
    fn word(&self, outcome: &FrameExit) -> Option<String> {
        match outcome {
            FrameExit::Sent(port, frame) if self.whole_frames => {
                let side = if *port == LAN { "lan" } else { "wan" };
                Some(format!("{side}:{}", frame::masked(frame)))
            }
            FrameExit::Sent(LAN, frame) => Some(frame[5].to_string()),
            FrameExit::Sent(_, frame) => (frame::protocol(frame) != 1).then(|| "client".to_owned()),
            // Linux answers a packet that it does not know by a reset, unless the packet is a reset
            // itself.
            FrameExit::Host(_, frame) => {
                (self.whole_frames && !frame::is_reset(frame)).then(|| "host".to_owned())
            }
            FrameExit::Resolving(..) => Some("resolving".to_owned()),
        }
    }
}

fn some(said: &str) -> Option<String> {
    let said = said.trim_end_matches('\n');
    (!said.is_empty()).then(|| said.to_owned())
}

/// A listing without its three title lines, and without blanks at the ends of lines.
fn without_title(listing: &str) -> String {
    listing.lines().skip(3).map(str::trim_end).collect::<Vec<_>>().join("\n")
}
