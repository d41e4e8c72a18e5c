//! Which keys of a configuration take effect only when the daemon starts.

use super::{Config, PortConfig};

impl Config {
    /// One line for each key whose value in `new` differs from that of this running configuration,
    /// and which is read only at the start.
    pub fn needs_restart(&self, new: &Self) -> Vec<String> {
        // Every field is named here, so that a new one cannot be forgotten.
        let Self {
            cpus,
            control_cpus,
            poll,
            memory_mb,
            max_connections,
            max_destinations,
            mh_size,
            state_dir,
            ports,
            rules: _,
            marks: _,
            tunables: _,
            log_level: _,
        } = self;
        let keys = [
            ("cpus", *cpus != new.cpus),
            ("control_cpus", *control_cpus != new.control_cpus),
            ("poll", *poll != new.poll),
            ("memory_mb", *memory_mb != new.memory_mb),
            ("max_connections", *max_connections != new.max_connections),
            ("max_destinations", *max_destinations != new.max_destinations),
            ("mh_table_index", *mh_size != new.mh_size),
            ("state_dir", *state_dir != new.state_dir),
        ];
        let top = keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| format!("`{key}`"));
        let mut lines: Vec<String> = top.collect();
        for port in ports {
            match new.ports.iter().find(|other| other.name == port.name) {
                Some(other) => lines.extend(port_keys(port, other)),
                None => lines.push(format!("port {}: it is not in the file any more", port.name)),
            }
        }
        for port in &new.ports {
            if ports.iter().all(|other| other.name != port.name) {
                lines.push(format!("port {}: it is new", port.name));
            }
        }
        let order = |ports: &[PortConfig]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        if lines.is_empty() && order(ports) != order(&new.ports) {
            lines.push("the order of the ports".to_owned());
        }
        lines.iter().map(|what| format!("{what}: changed, takes effect at the next start")).collect()
    }
}

fn port_keys(own: &PortConfig, new: &PortConfig) -> Vec<String> {
    let PortConfig { name, device, host_interface, addresses, routes, rx_checksum } = own;
    let keys = [
        ("device", *device != new.device),
        ("host_interface", *host_interface != new.host_interface),
        ("addresses", *addresses != new.addresses),
        ("routes", *routes != new.routes),
        ("rx_checksum", *rx_checksum != new.rx_checksum),
    ];
    let differing = keys.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| format!("port {name}, `{key}`")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("vipline.toml"), &[0, 1, 2]).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_key_that_needs_a_restart_has_one_line() {
        let port =
            |name: &str, more: &str| format!("[[port]]\nname = \"{name}\"\ndevice = \"null\"\n{more}\n");
        let own = parse(&(port("a", "") + &port("b", "")));
        assert_eq!(own.needs_restart(&own), Vec::<String>::new());
        let live =
            format!("log_level = \"debug\"\n[sysctl]\nsloppy_tcp = 1\n{}{}", port("a", ""), port("b", ""));
        assert_eq!(own.needs_restart(&parse(&live)), Vec::<String>::new());
        let new = "poll = \"busy\"\nmh_table_index = 9\n".to_owned()
            + &port("a", "addresses = [\"10.0.0.1/24\"]")
            + &port("c", "");
        let said = own.needs_restart(&parse(&new));
        let what = [
            "`poll`",
            "`mh_table_index`",
            "port a, `addresses`",
            "port b: it is not in the file any more",
            "port c: it is new",
        ];
        assert_eq!(said, what.map(|what| format!("{what}: changed, takes effect at the next start")));
        let swapped = own.needs_restart(&parse(&(port("b", "") + &port("a", ""))));
        assert_eq!(swapped.len(), 1, "{swapped:?}");
    }
}
