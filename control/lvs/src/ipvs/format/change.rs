//! A change as the command that makes it.

use super::name;
use super::save::{destination, settings};
use crate::ipvs::names::Names;
use model::{Change, DestSpec, ServiceKey, Timeouts};

/// The change as a command: of `ipvsadm`, or of `sysctl` for a tunable.
pub fn change(change: &Change, names: &dyn Names) -> String {
    let key = |key: &ServiceKey| name::option(key, names);
    let thresholds = |spec: &DestSpec| match (spec.upper, spec.lower) {
        (0, 0) => String::new(),
        (upper, 0) => format!(" -x {upper}"),
        (upper, lower) => format!(" -x {upper} -y {lower}"),
    };
    let words = match change {
        Change::AddService(spec) => format!("-A {}{}", key(&spec.key), settings(spec)),
        Change::EditService(spec) => format!("-E {}{}", key(&spec.key), settings(spec)),
        Change::DeleteService(service) => format!("-D {}", key(service)),
        Change::Flush => "-C".to_owned(),
        Change::AddDestination(service, spec) => {
            format!("-a {}{}", destination(service, spec, names), thresholds(spec))
        }
        Change::EditDestination(service, spec) => {
            format!("-e {}{}", destination(service, spec, names), thresholds(spec))
        }
        Change::DeleteDestination(service, dest) => {
            format!("-d {} -r {}", key(service), name::destination(*dest, service, names))
        }
        Change::AddLocalAddress(service, addr) => format!("-P {} -z {addr}", key(service)),
        Change::DeleteLocalAddress(service, addr) => format!("-Q {} -z {addr}", key(service)),
        Change::SetTimeouts(Timeouts { tcp, tcp_fin, udp }) => format!("--set {tcp} {tcp_fin} {udp}"),
        Change::SetTunable(name, value) => {
            let value = value.replace('\t', " ");
            let quote = if value.contains(' ') { "\"" } else { "" };
            return format!("sysctl -w net.ipv4.vs.{name}={quote}{value}{quote}");
        }
    };
    format!("ipvsadm {words}")
}
