//! The command line of the verbs that are not from ipvsadm or iptables.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use benches::bench::BenchArgs;
use clap::{Parser, Subcommand};
use dataplane::conn::tcp::TcpState;

use api::{ConnectionFilter, Endpoint};
use model::Protocol;

/// Controls and watches a Vipline director
#[derive(Debug, Parser)]
#[command(name = "vipline", version)]
pub(super) struct Args {
    /// The daemon's runtime directory [default: $VIPLINE_RUNTIME_DIR or /run/vipline]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) runtime_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// All of ipvsadm, with its options: see `vipline ipvsadm -h`
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// The same as for ipvsadm
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Firewall marks, with the options of iptables: see `vipline mark -h`
    #[command(disable_help_flag = true)]
    Mark {
        /// The same as for iptables in the table mangle
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The tunables net.ipv4.vs.*, with the options of sysctl: see `vipline sysctl -h`
    #[command(disable_help_flag = true)]
    Sysctl {
        /// The same as for sysctl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Checks a configuration (.toml) with its files, or a file of ipvsadm rules; changes nothing
    Check {
        /// The file
        file: PathBuf,
    },
    /// Brings the rules to those of a file, all or nothing; what stays the same keeps its connections
    Apply {
        /// Rules as ipvsadm-save writes them; mark rules as `vipline mark save` does; tunables as
        /// `vipline sysctl -a` does. Only the parts that the file has are replaced
        file: PathBuf,
        /// Only print what would be changed
        #[arg(long)]
        dry_run: bool,
    },
    /// Has the daemon read its configuration again: rules, marks, tunables and log level take effect;
    /// prints what was changed, and what needs a restart
    Reload,
    /// Ports, workers and memory; exits 3 when no daemon answers
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Packets by verdict, reason, port, worker, service and destination
    Stats {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The connection table
    Conns(Conns),
    /// Measures the packet path on this machine
    Bench(BenchArgs),
    /// Runs a program for Linux IPVS (ipvsadm, keepalived) against this director
    Exec {
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "PROGRAM")]
        command: Vec<OsString>,
    },
}

/// Which connections to show, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Conns {
    /// One JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    /// With this protocol: tcp, udp or sctp
    #[arg(long, value_parser = protocol)]
    protocol: Option<Protocol>,
    /// From this client: ADDR, ADDR:PORT or :PORT
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    client: Option<Endpoint>,
    /// To this virtual endpoint
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    vip: Option<Endpoint>,
    /// To this destination
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    rip: Option<Endpoint>,
    /// In this state: one of TCP, e.g. ESTABLISHED; UDP; or for templates ASSURED or NONE
    #[arg(long, value_parser = state)]
    state: Option<String>,
    /// At most N connections
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
}

impl Conns {
    pub(super) fn filter(&self) -> ConnectionFilter {
        ConnectionFilter {
            protocol: self.protocol,
            client: self.client,
            target: self.vip,
            destination: self.rip,
            state: self.state.clone(),
            service: None,
        }
    }
}

/// The runtime directory and the words behind the verb, if the verb is `wanted`.
pub(super) fn behind<'a>(wanted: &str, words: &'a [String]) -> Option<(Option<&'a str>, &'a [String])> {
    let mut dir = None;
    let mut rest = words.get(1..)?;
    loop {
        match rest {
            [flag, value, after @ ..] if flag == "--runtime-dir" => {
                (dir, rest) = (Some(value.as_str()), after)
            }
            [flag, after @ ..] if flag.starts_with("--runtime-dir=") => {
                (dir, rest) = (flag.strip_prefix("--runtime-dir="), after);
            }
            [verb, after @ ..] if verb == wanted => return Some((dir, after)),
            _ => return None,
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err("expected tcp, udp or sctp".into()),
    }
}

fn state(text: &str) -> Result<String, String> {
    let states = || TcpState::ALL.iter().map(|state| state.name()).chain(["UDP", "ASSURED"]);
    let known = states().find(|state| state.eq_ignore_ascii_case(text));
    known.map(str::to_owned).ok_or_else(|| format!("expected {}", states().collect::<Vec<_>>().join(", ")))
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = || "expected ADDR, ADDR:PORT, [ADDR6]:PORT or :PORT".to_owned();
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(Endpoint { addr: None, port: Some(port) });
    }
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Ok(Endpoint { addr: Some(addr), port: None });
    }
    let at: SocketAddr = text.parse().map_err(|_| wrong())?;
    Ok(Endpoint { addr: Some(at.ip()), port: Some(at.port()) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn endpoints_are_addresses_ports_or_both() {
        let at = |addr: &str, port| Endpoint { addr: addr.parse().ok(), port };
        assert_eq!(endpoint("10.0.0.1"), Ok(at("10.0.0.1", None)));
        assert_eq!(endpoint("10.0.0.1:80"), Ok(at("10.0.0.1", Some(80))));
        assert_eq!(endpoint("[::1]:80"), Ok(at("::1", Some(80))));
        assert_eq!(endpoint("::1"), Ok(at("::1", None)));
        assert_eq!(endpoint(":80"), Ok(at("", Some(80))));
        assert!(endpoint("10.0.0.1:70000").is_err());
    }

    #[test]
    fn only_known_states_are_accepted() {
        assert_eq!(state("established"), Ok("ESTABLISHED".to_owned()));
        let wrong = state("FOO").unwrap_err();
        assert!(
            wrong.starts_with("expected NONE, ESTABLISHED, SYN_SENT") && wrong.ends_with("UDP, ASSURED"),
            "{wrong}"
        );
    }

    #[test]
    fn words_behind_ipvsadm_are_not_parsed() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = words("vipline --runtime-dir /x ipvsadm -L -- --runtime-dir");
        assert_eq!(behind("ipvsadm", &line), Some((Some("/x"), &line[4..])));
        let line = words("vipline --runtime-dir=/x ipvsadm");
        assert_eq!(behind("ipvsadm", &line), Some((Some("/x"), &line[3..])));
        assert_eq!(behind("ipvsadm", &words("vipline status")), None);
    }
}
