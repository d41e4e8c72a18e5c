//! Random scenarios, the same for the same seed: one service, servers that are added, removed and
//! changed, connections that are kept and closed.
//!
//! Linux's timers are coarse: it ends connections late, by up to an eighth of their timeout. So a
//! scenario never looks while a connection may or may not have ended. It waits until the end has
//! surely passed.

use crate::run::Scenario;

/// The schedulers of Linux.
pub const KINDS: [&str; 13] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"];

/// The random scenario of a scheduler with this seed.
pub fn scenario(kind: &str, seed: u64) -> Scenario {
    let salt = kind.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
    let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt << 32);
    let mut writer = Writer::new(random, kind);
    writer.write();
    Scenario { scenario: format!("{kind}-{seed}"), text: writer.text }
}

/// The generator splitmix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number from `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True in this many of a hundred cases.
    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// For each timeout, a range of seconds after a packet. Within that range Linux may or may not have
/// ended what the packet belongs to.
const UNSURE: [(f64, f64); 7] =
    [(1.5, 2.5), (9.5, 11.2), (29.5, 31.2), (59.5, 65.7), (119.5, 125.7), (299.5, 305.7), (899.5, 941.5)];
/// After so many seconds nothing is left of a service's connections and templates.
const FORGOTTEN: f64 = 3000.0;

struct Writer {
    random: Random,
    text: String,
    kind: String,
    udp: bool,
    persistent: bool,
    /// Whether the service is by firewall mark, with many addresses.
    marked: bool,
    /// Whether whole frames are compared.
    frames: bool,
    method: &'static str,
    port: u16,
    servers: Vec<u64>,
    gone: Vec<u64>,
    flows: Vec<String>,
    /// When the packets came, in seconds.
    packets: Vec<f64>,
    now: f64,
}

impl Writer {
    fn new(mut random: Random, kind: &str) -> Self {
        let udp = random.percent(35);
        let method = *random.of(&["-m", "-m", "-m", "-g", "-i"]);
        let port = if method == "-m" && random.percent(50) { 8080 } else { 80 };
        Self {
            random,
            text: String::new(),
            kind: kind.to_owned(),
            udp,
            persistent: false,
            marked: false,
            frames: false,
            method,
            port,
            servers: Vec::new(),
            gone: Vec::new(),
            flows: Vec::new(),
            packets: Vec::new(),
            now: 0.0,
        }
    }

    fn write(&mut self) {
        self.persistent = self.random.percent(12);
        let by_address = matches!(&*self.kind, "dh" | "lblc" | "lblcr");
        self.marked = self.random.percent(if by_address { 60 } else { 10 });
        if self.marked {
            self.port = 0;
            let protocol = if self.udp { "udp" } else { "tcp" };
            self.line(&format!("mark -A PREROUTING -d 10.9.0.0/16 -p {protocol} -j MARK --set-mark 7"));
            self.now += 0.1;
        }
        self.frames = self.random.percent(25);
        if self.frames {
            self.line("frames");
        }
        let flags = self.flags();
        let mut service = format!("-A {} -s {}{flags}", self.service(), self.kind);
        if self.persistent {
            service += &format!(" -p {}", self.random.of(&[30, 100, 360]));
            if self.random.percent(40) {
                service += " -M 255.255.255.0";
            }
        }
        if self.udp && self.random.percent(10) {
            service += " -o";
        }
        self.command(&service);
        for _ in 0..self.random.below(12) + 1 {
            self.add();
        }
        for _ in 0..self.random.below(40) + 30 {
            self.step();
        }
        self.look("list");
        self.look("conns");
        if self.now < 60.0 {
            self.look("stats");
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..52 => self.connect(),
            52..74 => self.carry_on(),
            74..79 => self.add(),
            79..83 => self.delete(),
            83..92 => self.edit(),
            92..95 => self.wait(),
            95..96 => self.edit_service(),
            _ => self.look("list"),
        }
    }

    fn service(&self) -> &'static str {
        match (self.marked, self.udp) {
            (true, _) => "-f 7",
            (false, true) => "-u 10.0.0.100:80",
            (false, false) => "-t 10.0.0.100:80",
        }
    }

    fn flags(&mut self) -> String {
        let all = match &*self.kind {
            "sh" => ["sh-fallback", "sh-port"],
            "mh" => ["mh-fallback", "mh-port"],
            _ => return String::new(),
        };
        match self.random.below(4) {
            0 => String::new(),
            3 => format!(" -b {}", all.join(",")),
            n => format!(" -b {}", all[n as usize - 1]),
        }
    }

    fn server(&mut self, verb: &str, n: u64) {
        let weight = match self.random.below(20) {
            0..3 => 0,
            3..15 => self.random.below(8) + 1,
            15..17 => *self.random.of(&[10, 20, 50, 100]),
            _ => self.random.below(301),
        };
        let mut limits = String::new();
        if self.random.percent(25) {
            let upper = self.random.below(8) + 1;
            limits = format!(" -x {upper}");
            if self.random.percent(50) {
                limits += &format!(" -y {}", self.random.below(upper + 1));
            }
        }
        let line = format!(
            "{verb} {} -r 10.0.1.{n}:{} {} -w {weight}{limits}",
            self.service(),
            self.port,
            self.method
        );
        self.command(&line);
    }

    fn add(&mut self) {
        let back = !self.gone.is_empty() && self.random.percent(30);
        let n = if back {
            let at = self.random.below(self.gone.len() as u64) as usize;
            self.gone.swap_remove(at)
        } else {
            self.random.below(60) + 2
        };
        self.server("-a", n);
        if !self.servers.contains(&n) {
            self.servers.push(n);
        }
        self.gone.retain(|gone| *gone != n);
    }

    fn delete(&mut self) {
        if self.servers.is_empty() {
            return;
        }
        let at = self.random.below(self.servers.len() as u64) as usize;
        let n = self.servers.swap_remove(at);
        self.gone.push(n);
        self.command(&format!("-d {} -r 10.0.1.{n}:{}", self.service(), self.port));
    }

    fn edit(&mut self) {
        if !self.servers.is_empty() {
            let n = *self.random.of(&self.servers);
            self.server("-e", n);
        }
    }

    fn edit_service(&mut self) {
        let other = *self.random.of(&KINDS);
        let persistence = if self.persistent { " -p 100" } else { "" };
        self.command(&format!("-E {} -s {other}{persistence}", self.service()));
        if self.random.percent(70) {
            self.connect();
            let flags = self.flags();
            self.command(&format!("-E {} -s {}{flags}{persistence}", self.service(), self.kind));
        }
    }

    fn connect(&mut self) {
        let client = match self.random.below(3) {
            0 => format!("10.0.0.{}", self.random.below(58) + 2),
            1 => format!("192.168.{}.{}", self.random.below(4), self.random.below(250) + 1),
            _ => format!("172.{}.7.{}", self.random.below(16) + 16, self.random.below(250) + 1),
        };
        let port = self.random.below(60_000) + 1024;
        let target = match self.marked {
            true => format!("10.9.0.{}:{}", self.random.below(6) + 1, self.random.of(&[80, 443])),
            false => "10.0.0.100:80".to_owned(),
        };
        let flow = format!("{client}:{port} {target}");
        self.packet(&format!("{} {flow}", if self.udp { "udp" } else { "syn" }));
        self.flows.push(flow);
    }

    /// Sends something on a connection that exists, or existed.
    fn carry_on(&mut self) {
        if self.flows.is_empty() {
            return;
        }
        let recent = self.flows.len().saturating_sub(12) as u64;
        let at = recent + self.random.below(self.flows.len() as u64 - recent);
        let flow = self.flows[at as usize].clone();
        let answer = self.method == "-m" && self.random.percent(40);
        let verb = *match (self.udp, answer) {
            (true, false) => &"udp",
            (true, true) => &"reply udp",
            (false, false) => self.random.of(&["ack", "ack", "ack", "fin", "fin", "rst", "data", "syn"]),
            (false, true) => self.random.of(&[
                "reply syn",
                "reply ack",
                "reply fin",
                "reply fin",
                "reply rst",
                "reply data",
            ]),
        };
        let options = if self.frames { self.options(verb) } else { String::new() };
        self.packet(&format!("{verb} {flow}{options}"));
    }

    /// The options of a packet. Long packets must not be cut into fragments, because Vipline does
    /// not fragment.
    fn options(&mut self, verb: &str) -> String {
        // A reply without a connection goes to Linux, and so does an error about it.
        let ttl = if verb.starts_with("reply") { 2 } else { 1 };
        match self.random.below(6) {
            0 => format!(" ttl={}", self.random.below(4) + ttl),
            1 => format!(" tos={} id={}", self.random.below(256), self.random.below(0x10000)),
            2 => format!(" len={} df", self.random.below(1461)),
            3 => " df".to_owned(),
            _ => String::new(),
        }
    }

    fn wait(&mut self) {
        let seconds = *self.random.of(&[1.0, 3.0, 15.0, 40.0, 80.0, 200.0, 500.0, FORGOTTEN]);
        self.sleep(seconds);
    }

    fn look(&mut self, what: &str) {
        self.settle();
        self.line(what);
    }

    fn command(&mut self, args: &str) {
        self.settle();
        self.line(&format!("ipvsadm {args}"));
        self.now += 0.1;
    }

    fn packet(&mut self, line: &str) {
        self.settle();
        self.line(line);
        self.packets.push(self.now);
        self.now += 0.02;
    }

    /// Waits until no connection is near its end.
    fn settle(&mut self) {
        while !self.is_sure(0.0) {
            let seconds = [2.0, 10.0, 30.0, 70.0].into_iter().find(|seconds| self.is_sure(*seconds));
            self.sleep(seconds.unwrap_or(FORGOTTEN));
        }
    }

    fn is_sure(&self, later: f64) -> bool {
        let now = self.now + later;
        self.packets.iter().map(|at| now - at).all(|age| {
            if self.persistent {
                // A template may put off its end many times.
                !(9.0..FORGOTTEN).contains(&age)
            } else {
                !UNSURE.iter().any(|(from, to)| (*from..=*to).contains(&age))
            }
        })
    }

    fn sleep(&mut self, seconds: f64) {
        self.line(&format!("wait {seconds}"));
        self.now += seconds;
        if seconds >= FORGOTTEN {
            self.packets.clear();
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}
