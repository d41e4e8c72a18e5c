//! `getsockopt`.

use std::mem::size_of;

use api::{ListQuery, Request, Response};
use model::{Family, Model, ServiceKey};
use nix::errno::Errno;
use zerocopy::{Immutable, IntoBytes};

use super::check;
use super::layout::{
    Daemon, DestinationEntry, GetDestinations, GetServices, Info, ServiceEntry, Timeouts, beginning,
};
use crate::wire::{errno, fields};

/// The next step of a `getsockopt`.
#[derive(Debug)]
pub enum Step {
    /// Ask the director, and give its answer to [`Pending::answered`].
    Ask(Request, Pending),
    /// The final buffer. It may be shorter than the caller's.
    Done(Vec<u8>),
}

/// A `getsockopt` that waits for the director's answer.
#[derive(Debug)]
pub struct Pending {
    /// The caller's buffer, with everything that has been written so far.
    buffer: Vec<u8>,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// This many destinations.
    Destinations(usize),
    /// Version, table size, and this number of services.
    Info(u32),
    /// One service.
    Service,
    /// `count` services. The first `at` of them have been written.
    Services { count: usize, at: usize },
    /// The timeouts.
    Timeouts,
    /// The version as a text.
    Version,
}

/// Begins a `getsockopt` (`do_ip_vs_get_ctl`). `model` holds the director's rules. `buffer` is the
/// caller's buffer; who calls this must limit its length. After an error, the caller's buffer must
/// stay as it was.
pub fn get(option: i32, buffer: Vec<u8>, model: &Model) -> Result<Step, Errno> {
    check(option)?;
    let least = match option {
        VERSION => VERSION_LENGTH,
        INFO => size_of::<Info>(),
        SERVICES => size_of::<GetServices>(),
        SERVICE => size_of::<ServiceEntry>(),
        DESTS => size_of::<GetDestinations>(),
        TIMEOUT => size_of::<Timeouts>(),
        DAEMON => DAEMONS * size_of::<Daemon>(),
        _ => return Err(Errno::EINVAL),
    };
    if buffer.len() < least {
        return Err(Errno::EINVAL);
    }
    let (request, wanted) = match option {
        VERSION => (Request::Totals, Wanted::Version),
        INFO => {
            let services = model.services().filter(|(_, service)| service.spec.key.family() == Family::V4);
            (Request::Totals, Wanted::Info(services.count() as u32))
        }
        SERVICES => {
            let count = beginning::<GetServices>(&buffer)?.count as usize;
            check_length::<ServiceEntry>(&buffer, size_of::<GetServices>(), count)?;
            (list(None), Wanted::Services { count, at: 0 })
        }
        SERVICE => {
            let name = beginning::<ServiceEntry>(&buffer)?.service.name;
            (list(Some(name.named().existing(model)?)), Wanted::Service)
        }
        DESTS => {
            let GetDestinations { name, count, .. } = beginning(&buffer)?;
            check_length::<DestinationEntry>(&buffer, size_of::<GetDestinations>(), count as usize)?;
            (list(Some(name.named().existing(model)?)), Wanted::Destinations(count as usize))
        }
        TIMEOUT => (Request::Timeouts, Wanted::Timeouts),
        _ => {
            let mut buffer = buffer;
            buffer[..least].fill(0);
            return Ok(Step::Done(buffer));
        }
    };
    Ok(Step::Ask(request, Pending { buffer, wanted }))
}

impl Pending {
    /// Continues with the director's answer.
    pub fn answered(mut self, response: Response) -> Result<Step, Errno> {
        match (self.wanted, response) {
            (Wanted::Version, Response::Totals(totals)) => {
                let size = totals.table_size;
                let [_, major, minor, patch] = fields::VERSION.to_be_bytes();
                let text = format!("IP Virtual Server version {major}.{minor}.{patch} (size={size})\0");
                return Ok(Step::Done(text.into_bytes()));
            }
            (Wanted::Info(services), Response::Totals(totals)) => {
                let table_size = u32::try_from(totals.table_size).unwrap_or(u32::MAX);
                self.write(0, &Info { version: fields::VERSION, table_size, services });
            }
            (Wanted::Timeouts, Response::Timeouts(timeouts)) => {
                let model::Timeouts { tcp, tcp_fin, udp } = timeouts;
                self.write(0, &Timeouts { tcp, tcp_fin, udp });
            }
            (Wanted::Service, Response::Services { services, .. }) => {
                let entry = services.first().and_then(ServiceEntry::of).ok_or(Errno::ESRCH)?;
                self.write(0, &entry);
            }
            (Wanted::Destinations(count), Response::Services { services, .. }) => {
                let dests = services.first().ok_or(Errno::ESRCH)?.destinations.iter();
                for (index, entry) in dests.filter_map(DestinationEntry::of).take(count).enumerate() {
                    self.write(size_of::<GetDestinations>() + index * size_of::<DestinationEntry>(), &entry);
                }
            }
            (Wanted::Services { count, at }, Response::Services { services, next }) => {
                let mut at = at;
                for entry in services.iter().filter_map(ServiceEntry::of).take(count - at) {
                    self.write(size_of::<GetServices>() + at * size_of::<ServiceEntry>(), &entry);
                    at += 1;
                }
                if let (Some(from), true) = (next, at < count) {
                    self.wanted = Wanted::Services { count, at };
                    let query = ListQuery { service: None, from: Some(from) };
                    return Ok(Step::Ask(Request::List(query), self));
                }
            }
            (_, Response::Refused(error)) => return Err(errno(&error)),
            _ => return Err(Errno::EIO),
        }
        Ok(Step::Done(self.buffer))
    }

    fn write(&mut self, at: usize, entry: &(impl IntoBytes + Immutable)) {
        let bytes = entry.as_bytes();
        self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Checks that a buffer has room for exactly this many entries.
fn check_length<T>(buffer: &[u8], header: usize, count: usize) -> Result<(), Errno> {
    let wanted = count.checked_mul(size_of::<T>()).and_then(|entries| entries.checked_add(header));
    if wanted == Some(buffer.len()) { Ok(()) } else { Err(Errno::EINVAL) }
}

fn list(service: Option<ServiceKey>) -> Request {
    Request::List(ListQuery { service, from: None })
}

/// Linux shows the states of two daemons, master and backup. Here both are zero.
const DAEMONS: usize = 2;
const VERSION_LENGTH: usize = 64;

// IP_VS_SO_GET_*
const VERSION: i32 = 1152;
const INFO: i32 = 1153;
const SERVICES: i32 = 1154;
const SERVICE: i32 = 1155;
const DESTS: i32 = 1156;
const TIMEOUT: i32 = 1158;
const DAEMON: i32 = 1159;
