//! Turns a file as it is written into a checked configuration, and refuses what cannot be.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use ipnet::IpNet;
use sched::MhSize;
use toml::Spanned;

use linux::{StaticRoute, affinity};
use model::Tunable;

use super::device::check_interface;
use super::error::Source;
use super::{Config, ConfigError, Device, PortConfig, memory_needed_mb, raw};

pub(super) fn config(source: Source<'_>, allowed_cpus: &[usize]) -> Result<Config, ConfigError> {
    let file: raw::File = toml::from_str(source.text).map_err(|e| source.toml_error(&e))?;
    if let Some(http) = &file.http {
        return Err(source.error(http.span(), "`http` is not built yet; remove this line"));
    }
    let (cpus, control_cpus) = cpus(source, &file, allowed_cpus)?;
    let sizes = [&file.memory_mb, &file.max_connections, &file.max_destinations];
    let sized_at = sizes.into_iter().flatten().map(Spanned::span).next().unwrap_or(0..0);
    let max_connections =
        number(source, file.max_connections, "max_connections", 1..=1 << 27, Config::MAX_CONNECTIONS)?;
    let max_destinations =
        number(source, file.max_destinations, "max_destinations", 1..=1 << 24, Config::MAX_DESTINATIONS)?;
    let memory_mb = memory(source, file.memory_mb, sized_at, max_connections, max_destinations)?;
    let mh_size = mh_size(source, file.mh_table_index)?;
    let rules =
        file.rules.map(|rules| named_file(source, rules, "rules", "ipvsadm-save writes")).transpose()?;
    let marks = file
        .marks
        .map(|marks| named_file(source, marks, "marks", "`vipline mark save` writes"))
        .transpose()?;
    let tunables = file
        .sysctl
        .into_iter()
        .map(|(name, value)| tunable(source, &name, &value))
        .collect::<Result<_, _>>()?;
    let state_dir = file.state_dir.map(|dir| state_dir(source, &dir)).transpose()?;
    if file.port.is_empty() {
        return Err(source.error(
            source.text.len()..source.text.len(),
            "there is no [[port]]; expected at least one, with a `name` and a `device`",
        ));
    }
    let mut seen = Seen::default();
    let ports = file
        .port
        .into_iter()
        .enumerate()
        .map(|(index, port)| self::port(source, index, port, &mut seen))
        .collect::<Result<_, _>>()?;
    Ok(Config {
        cpus,
        control_cpus,
        poll: file.poll,
        memory_mb,
        max_connections,
        max_destinations,
        mh_size,
        rules,
        marks,
        state_dir,
        log_level: file.log_level,
        tunables,
        ports,
    })
}

type Cpus = Spanned<Vec<Spanned<usize>>>;

fn cpus(
    source: Source<'_>,
    file: &raw::File,
    allowed: &[usize],
) -> Result<(Vec<usize>, Vec<usize>), ConfigError> {
    let workers = match &file.cpus {
        Some(list) => cpu_list(source, "cpus", list, allowed)?,
        None => affinity::default_worker_cpu(allowed).into_iter().collect(),
    };
    if let (true, Some(second)) =
        (workers.len() > 1, file.cpus.as_ref().and_then(|list| list.get_ref().get(1)))
    {
        return Err(source.error(
            second.span(),
            format!(
                "`cpus` names {} CPUs, but only one worker is built today; expected one CPU",
                workers.len()
            ),
        ));
    }
    let control = match &file.control_cpus {
        Some(list) => {
            let control = cpu_list(source, "control_cpus", list, allowed)?;
            if let Some(both) = list.get_ref().iter().find(|cpu| workers.contains(cpu.get_ref())) {
                let why = "is a worker's already, by `cpus` or by default; expected CPUs that no worker has";
                return Err(source.error(both.span(), format!("CPU {} {why}", both.get_ref())));
            }
            control
        }
        None => {
            let rest: Vec<usize> = allowed.iter().copied().filter(|cpu| !workers.contains(cpu)).collect();
            if rest.is_empty() { allowed.to_vec() } else { rest }
        }
    };
    Ok((workers, control))
}

fn cpu_list(
    source: Source<'_>,
    key: &str,
    list: &Cpus,
    allowed: &[usize],
) -> Result<Vec<usize>, ConfigError> {
    let mut cpus = Vec::new();
    for cpu in list.get_ref() {
        let number = *cpu.get_ref();
        if cpus.contains(&number) {
            return Err(source.error(cpu.span(), format!("`{key}` lists CPU {number} twice")));
        }
        if !allowed.contains(&number) {
            return Err(source.error(
                cpu.span(),
                format!(
                    "`{key}` names CPU {number}, which this process may not use; expected one of {allowed:?}"
                ),
            ));
        }
        cpus.push(number);
    }
    if cpus.is_empty() {
        return Err(source.error(list.span(), format!("`{key}` is empty; name a CPU or leave the line out")));
    }
    Ok(cpus)
}

fn number(
    source: Source<'_>,
    value: Option<Spanned<u32>>,
    key: &str,
    range: RangeInclusive<u32>,
    default: u32,
) -> Result<u32, ConfigError> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(value.get_ref()) => Ok(value.into_inner()),
        Some(value) => Err(source.error(
            value.span(),
            format!(
                "`{key}` cannot be {}; expected a whole number from {} to {}",
                value.get_ref(),
                range.start(),
                range.end()
            ),
        )),
    }
}

/// The table size that belongs to an index, as Linux numbers them (`CONFIG_IP_VS_MH_TAB_INDEX`).
fn mh_size(source: Source<'_>, index: Option<Spanned<u32>>) -> Result<MhSize, ConfigError> {
    let span = index.as_ref().map_or(0..0, Spanned::span);
    let index = number(source, index, "mh_table_index", MhSize::INDICES, MhSize::default().index())?;
    MhSize::from_index(index).ok_or_else(|| source.error(span, "`mh_table_index` has no table size"))
}

fn memory(
    source: Source<'_>,
    value: Option<Spanned<u32>>,
    at: Range<usize>,
    connections: u32,
    destinations: u32,
) -> Result<u32, ConfigError> {
    let needed = memory_needed_mb(connections, destinations);
    let memory = value.as_ref().map_or(Config::MEMORY_MB, |value| *value.get_ref());
    if memory >= needed {
        return Ok(memory);
    }
    let said = if value.is_some() { "" } else { " (the default)" };
    Err(source.error(
        at,
        format!(
            "`memory_mb` is {memory}{said}, too small for {connections} connections and {destinations} destinations; \
             expected at least {needed}, or a lower `max_connections`"
        ),
    ))
}

/// The file of `what` that a key names. `writer` says which command writes such files.
fn named_file(
    source: Source<'_>,
    rules: Spanned<String>,
    what: &str,
    writer: &str,
) -> Result<PathBuf, ConfigError> {
    let path = source.path.parent().unwrap_or(source.path).join(rules.get_ref());
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err(source.error(
            rules.span(),
            format!("the {what} {} are not a file; expected a file as {writer} it", path.display()),
        )),
        Err(why) => Err(source.error(
            rules.span(),
            format!(
                "the {what} file {} cannot be read: {why}; expected a path relative to this file",
                path.display()
            ),
        )),
    }
}

/// One line of `[sysctl]`.
fn tunable(
    source: Source<'_>,
    name: &str,
    value: &Spanned<toml::Value>,
) -> Result<(String, String), ConfigError> {
    let short = name.strip_prefix("net.ipv4.vs.").unwrap_or(name);
    let Some(tunable) = Tunable::find(short) else {
        let why = format!(
            "`{name}` is no tunable; expected one that `vipline sysctl -a` lists, without `net.ipv4.vs.`"
        );
        return Err(source.error(value.span(), why));
    };
    let text = match value.get_ref() {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if !tunable.takes(&text) {
        let why = format!("`{short}` cannot be {}; expected {}", value.get_ref(), tunable.expected());
        return Err(source.error(value.span(), why));
    }
    Ok((short.to_owned(), text))
}

/// The directory may be missing: the daemon makes it.
fn state_dir(source: Source<'_>, dir: &Spanned<String>) -> Result<PathBuf, ConfigError> {
    if dir.get_ref().is_empty() {
        return Err(source.error(dir.span(), "`state_dir` is empty; expected the path of a directory"));
    }
    Ok(source.path.parent().unwrap_or(source.path).join(dir.get_ref()))
}

/// What the ports before this one have taken.
#[derive(Default)]
struct Seen {
    names: HashSet<String>,
    interfaces: HashMap<String, String>,
    devices: HashMap<String, String>,
    addresses: HashMap<IpAddr, String>,
    /// The ports of the routes, by net and metric: Linux has at most one route for each pair.
    routes: HashMap<(IpNet, u32), String>,
}

fn port(
    source: Source<'_>,
    index: usize,
    port: raw::Port,
    seen: &mut Seen,
) -> Result<PortConfig, ConfigError> {
    let name = port_name(source, &port.name, seen)?;
    let device: Device = port
        .device
        .get_ref()
        .parse()
        .map_err(|e: super::DeviceError| source.error(port.device.span(), e.to_string()))?;
    let under = device.kernel_interface().map_or_else(|| device.eal_name(index), str::to_owned);
    if let Some(other) = seen.devices.insert(under.clone(), name.clone()) {
        return Err(
            source.error(port.device.span(), format!("`{under}` is the device of port `{other}` already"))
        );
    }
    let (host_interface, span) = match port.host_interface {
        Some(given) => (given.get_ref().clone(), given.span()),
        None => (format!("vl-{name}"), port.name.span()),
    };
    check_interface(&host_interface).map_err(|why| {
        source.error(span.clone(), format!("host interface `{host_interface}` {why}; set `host_interface`"))
    })?;
    if Some(host_interface.as_str()) == device.kernel_interface() {
        return Err(source.error(
            span,
            format!("host interface `{host_interface}` is the device's own interface; expected a new name"),
        ));
    }
    if let Some(other) = seen.interfaces.insert(host_interface.clone(), name.clone()) {
        let what =
            format!("host interface `{host_interface}` is port `{other}`'s already; expected another name");
        return Err(source.error(span, what));
    }
    let addresses = port
        .addresses
        .iter()
        .map(|text| address(source, text, &name, seen))
        .collect::<Result<Vec<_>, _>>()?;
    let routes = routes(source, &port.routes, &addresses, &name, seen)?;
    Ok(PortConfig { name, device, host_interface, addresses, routes, rx_checksum: port.rx_checksum })
}

fn port_name(source: Source<'_>, name: &Spanned<String>, seen: &mut Seen) -> Result<String, ConfigError> {
    let text = name.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 32 || !text.chars().all(fits) {
        return Err(source.error(
            name.span(),
            format!("port name `{text}` cannot be used; expected 1 to 32 letters, digits, `-`, `_` or `.`"),
        ));
    }
    if !seen.names.insert(text.clone()) {
        return Err(
            source.error(name.span(), format!("there is a port `{text}` already; expected another name"))
        );
    }
    Ok(text.clone())
}

fn address(
    source: Source<'_>,
    text: &Spanned<String>,
    port: &str,
    seen: &mut Seen,
) -> Result<IpNet, ConfigError> {
    const EXPECTED: &str = "expected an address with its prefix length, as in 192.0.2.1/24";
    let refuse = |why: &str| source.error(text.span(), format!("`{}` {why}; {EXPECTED}", text.get_ref()));
    if text.get_ref().parse::<IpAddr>().is_ok() {
        return Err(refuse("has no prefix length"));
    }
    let net: IpNet = text.get_ref().parse().map_err(|_| refuse("is no address"))?;
    let addr = net.addr();
    let broad = net.prefix_len() < net.max_prefix_len() - 1;
    if addr.is_unspecified() || addr.is_multicast() {
        return Err(refuse("cannot be an interface's address"));
    }
    if broad && addr == net.network() && addr.is_ipv4() {
        return Err(refuse("is the network's address, not a host's"));
    }
    if broad && addr == net.broadcast() && addr.is_ipv4() {
        return Err(refuse("is the network's broadcast address"));
    }
    match seen.addresses.insert(addr, port.to_owned()) {
        Some(other) => Err(source.error(text.span(), format!("{addr} is on port `{other}` already"))),
        None => Ok(net),
    }
}

/// The routes of a port that has these addresses.
fn routes(
    source: Source<'_>,
    texts: &[Spanned<String>],
    addresses: &[IpNet],
    port: &str,
    seen: &mut Seen,
) -> Result<Vec<StaticRoute>, ConfigError> {
    let mut routes: Vec<StaticRoute> = Vec::new();
    for text in texts {
        let refuse = |why: String| source.error(text.span(), why);
        let route: StaticRoute =
            text.get_ref().parse().map_err(|e: linux::StaticRouteError| refuse(e.to_string()))?;
        if let Some(via) = route.via
            && !route.onlink
            && !is_link_local(via)
            && !addresses.iter().any(|net| net.contains(&via))
            && !routes.iter().any(|other| other.via.is_none() && other.net.contains(&via))
        {
            return Err(refuse(format!(
                "the gateway of `{route}` is not in the net of any of this port's addresses; expected one of these nets, \
                 or `onlink` after it"
            )));
        }
        let own = |addr: IpAddr| addresses.iter().any(|net| net.addr() == addr);
        if let Some(via) = route.via.filter(|via| own(*via)) {
            return Err(refuse(format!(
                "`{route}` leads to this port's own {via}; expected another machine's address"
            )));
        }
        if let Some(source) = route.source.filter(|source| !own(*source)) {
            return Err(refuse(format!(
                "{source} in `{route}` is not an address of this port; expected one of `addresses`"
            )));
        }
        let key = (route.net, route.effective_metric());
        if let Some(other) = seen.routes.insert(key, port.to_owned()) {
            return Err(refuse(format!(
                "`{route}` is a second route to {} with the same metric, after one of port `{other}`; expected another `metric`",
                route.net
            )));
        }
        routes.push(route);
    }
    Ok(routes)
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}
