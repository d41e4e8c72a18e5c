//! Listings, byte for byte as ipvsadm prints them, including trailing blanks. The functions are
//! pure: data in, text out.
//!
//! Two things differ on purpose. Destination counters are whole 64-bit numbers; ipvsadm 1.31 drops
//! the upper half of some. `-S` prints marks of 2^31 and more so that `-R` can read them.

mod change;
mod connections;
mod name;
mod save;
mod services;
#[cfg(test)]
mod tests;

pub use change::change;
pub use connections::{connections, title as connections_title};
pub use name::option;
pub use save::save;
pub use services::{local_addresses, services};

use model::{ServiceFlags, ServiceSpec, Timeouts};

/// The first line of a full listing. `size` is the size of the connection table.
pub fn banner(size: u64) -> String {
    format!("IP Virtual Server version 1.2.1 (size={size})\n")
}

/// `-L --timeout`
pub fn timeouts(timeouts: &Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n")
}

/// The names of a service's scheduler flags, separated by commas.
fn sched_flags(spec: &ServiceSpec) -> String {
    let names: &[_] = match spec.scheduler.as_str() {
        "sh" => &["sh-fallback", "sh-port"],
        "mh" => &["mh-fallback", "mh-port"],
        _ => &["flag-1", "flag-2", "flag-3"],
    };
    let flags = [ServiceFlags::SCHED_1, ServiceFlags::SCHED_2, ServiceFlags::SCHED_3];
    let set = flags.into_iter().zip(names).filter(|(flag, _)| spec.flags.contains(*flag));
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}
