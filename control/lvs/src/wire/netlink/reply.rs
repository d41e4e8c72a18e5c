//! The answers to requests.

use std::vec::IntoIter;

use api::{DestView, ListQuery, LocalAddressView, Request, Response, ServiceView};
use nix::errno::Errno;

use super::attribute::Writer;
use super::family::{self, attribute as attr, command, generic_header};
use super::message::{Refusal, Sender};
use super::option::Waiting;
use super::request::Step;
use super::{destination, local, option, service};
use crate::wire::{errno, fields};

/// A request that waits for the director's answer.
#[derive(Debug)]
pub struct Pending {
    sender: Sender,
    form: Form,
}

/// The form of the answer.
#[derive(Debug)]
pub(super) enum Form {
    /// Only an acknowledgement.
    Acknowledgement,
    /// The timeouts.
    Config,
    /// A dump of one service's destinations.
    Destinations,
    /// The version and the size of the table.
    Info,
    /// A dump of one service's local addresses.
    LocalAddresses,
    /// A socket option.
    Option(Waiting),
    /// One service.
    Service,
    /// A dump of services. The director's answer is one page of it.
    Services,
}

impl Pending {
    pub(super) fn new(sender: Sender, form: Form) -> Self {
        Self { sender, form }
    }

    /// Turns the director's answer into datagrams.
    pub fn answered(self, response: Response) -> Replies {
        let Self { sender, form } = self;
        let form = match form {
            Form::Option(waiting) => {
                return match option::answered(sender, waiting, response) {
                    Step::Reply(replies) => replies,
                    Step::Ask(request, pending) => Replies::again(request, pending),
                };
            }
            form => form,
        };
        let seconds = |out: &mut Vec<u8>, timeouts: model::Timeouts| {
            generic_header(out, command::SET_CONFIG, family::VERSION);
            let mut writer = Writer::new(out);
            writer.u32(attr::TIMEOUT_TCP, timeouts.tcp);
            writer.u32(attr::TIMEOUT_TCP_FIN, timeouts.tcp_fin);
            writer.u32(attr::TIMEOUT_UDP, timeouts.udp);
        };
        match (form, response) {
            (Form::Acknowledgement, Response::Done | Response::Warned(_)) => Replies::done(&sender),
            (Form::Config, Response::Timeouts(timeouts)) => {
                Replies::one(&sender, false, |out| seconds(out, timeouts))
            }
            (Form::Info, Response::Totals(totals)) => Replies::one(&sender, false, |out| {
                generic_header(out, command::SET_INFO, family::VERSION);
                let mut writer = Writer::new(out);
                writer.u32(attr::INFO_VERSION, fields::VERSION);
                writer.u32(attr::INFO_TABLE_SIZE, u32::try_from(totals.table_size).unwrap_or(u32::MAX));
            }),
            (Form::Service, Response::Services { services, .. }) => match services.first() {
                Some(service) => Replies::one(&sender, false, |out| write_service(out, service)),
                None => Replies::refused(&sender, &Errno::ESRCH.into()),
            },
            (Form::Services, Response::Services { services, next }) => {
                Replies::dump(sender, Rows::Services(services.into_iter()), next)
            }
            (Form::Destinations, Response::Services { services, .. }) => {
                let rows = services.into_iter().next().map(|service| service.destinations);
                Replies::dump(sender, Rows::Destinations(rows.unwrap_or_default().into_iter()), None)
            }
            (Form::LocalAddresses, Response::Services { services, .. }) => {
                let rows = services.into_iter().next().map(|service| service.local_addresses);
                Replies::dump(sender, Rows::LocalAddresses(rows.unwrap_or_default().into_iter()), None)
            }
            // The service was deleted after the check.
            (Form::Destinations | Form::LocalAddresses, Response::Refused(_)) => {
                Replies::end_of_dump(&sender)
            }
            (_, Response::Refused(error)) => {
                let refusal = Refusal { errno: errno(&error), reason: Some(error.to_string()), offset: None };
                Replies::refused(&sender, &refusal)
            }
            (_, Response::Failed(reason)) => {
                Replies::refused(&sender, &Refusal { errno: Errno::EIO, reason: Some(reason), offset: None })
            }
            _ => Replies::refused(&sender, &Errno::EIO.into()),
        }
    }
}

/// The datagrams to send, in order. Each is made when it is taken. After the last one, call
/// [`more`](Self::more): the answer may have another page.
#[derive(Debug)]
pub struct Replies {
    dump: Option<Dump>,
    /// Another question, before anything can be sent.
    again: Option<Box<(Request, Pending)>>,
    ready: IntoIter<Vec<u8>>,
}

/// A page of a dump.
#[derive(Debug)]
struct Dump {
    sender: Sender,
    rows: Rows,
    /// A message that did not fit into the last datagram.
    left: Option<Row>,
    /// Where the next page begins.
    next: Option<u64>,
}

/// The objects of a dump.
#[derive(Debug)]
enum Rows {
    Services(IntoIter<ServiceView>),
    Destinations(IntoIter<DestView>),
    LocalAddresses(IntoIter<LocalAddressView>),
}

/// A message of a dump.
#[derive(Debug)]
enum Row {
    Service(Box<ServiceView>),
    Destination(Box<DestView>),
    LocalAddress(LocalAddressView),
}

impl Replies {
    /// Only the acknowledgement, if the sender wants one.
    pub(super) fn done(sender: &Sender) -> Self {
        Self::ready(sender.acknowledgement().into_iter().collect())
    }

    /// A refusal.
    pub(super) fn refused(sender: &Sender, refusal: &Refusal) -> Self {
        Self::ready(vec![sender.refusal(refusal)])
    }

    /// The end of a dump.
    pub(super) fn end_of_dump(sender: &Sender) -> Self {
        Self::ready(vec![sender.done()])
    }

    /// One message, then the end of the dump or the acknowledgement.
    pub(super) fn one(sender: &Sender, dump: bool, body: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut message = Vec::new();
        sender.message(&mut message, dump, body);
        let end = if dump { Some(sender.done()) } else { sender.acknowledgement() };
        Self::ready([Some(message), end].into_iter().flatten().collect())
    }

    fn dump(sender: Sender, rows: Rows, next: Option<u64>) -> Self {
        Self {
            dump: Some(Dump { sender, rows, left: None, next }),
            again: None,
            ready: Vec::new().into_iter(),
        }
    }

    fn again(request: Request, pending: Pending) -> Self {
        Self { dump: None, again: Some(Box::new((request, pending))), ready: Vec::new().into_iter() }
    }

    /// These datagrams.
    pub(super) fn ready(datagrams: Vec<Vec<u8>>) -> Self {
        Self { dump: None, again: None, ready: datagrams.into_iter() }
    }

    /// The question for the next page of a dump. Call this when all datagrams have been taken.
    pub fn more(self) -> Option<(Request, Pending)> {
        if let Some(again) = self.again {
            return Some(*again);
        }
        let Dump { sender, next, .. } = self.dump?;
        let query = ListQuery { service: None, from: Some(next?) };
        Some((Request::List(query), Pending::new(sender, Form::Services)))
    }
}

impl Iterator for Replies {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(dump) = &mut self.dump else { return self.ready.next() };
        if let Some(datagram) = dump.datagram() {
            return Some(datagram);
        }
        if dump.next.is_none() {
            self.ready = vec![dump.sender.done()].into_iter();
            self.dump = None;
        }
        self.ready.next()
    }
}

impl Dump {
    /// A datagram with as many messages as fit, and with at least one. `None` if no message is
    /// left.
    fn datagram(&mut self) -> Option<Vec<u8>> {
        let mut datagram = Vec::new();
        while let Some(row) = self.left.take().or_else(|| self.rows.next()) {
            let end = datagram.len();
            self.sender.message(&mut datagram, true, |out| row.write(out));
            if datagram.len() > DATAGRAM && end > 0 {
                datagram.truncate(end);
                self.left = Some(row);
                break;
            }
        }
        (!datagram.is_empty()).then_some(datagram)
    }
}

impl Rows {
    fn next(&mut self) -> Option<Row> {
        match self {
            Self::Services(rows) => rows.next().map(|row| Row::Service(Box::new(row))),
            Self::Destinations(rows) => rows.next().map(|row| Row::Destination(Box::new(row))),
            Self::LocalAddresses(rows) => rows.next().map(Row::LocalAddress),
        }
    }
}

impl Row {
    fn write(&self, out: &mut Vec<u8>) {
        let mut message = |number| generic_header(out, number, family::VERSION);
        match self {
            Self::Service(service) => write_service(out, service),
            Self::Destination(dest) => {
                message(command::NEW_DEST);
                destination::write(&mut Writer::new(out), attr::DEST, dest);
            }
            Self::LocalAddress(addr) => {
                message(command::NEW_LOCAL_ADDRESS);
                local::write(&mut Writer::new(out), attr::LOCAL_ADDRESS, addr);
            }
        }
    }
}

fn write_service(out: &mut Vec<u8>, view: &ServiceView) {
    generic_header(out, command::NEW_SERVICE, family::VERSION);
    service::write(&mut Writer::new(out), attr::SERVICE, view);
}

/// The greatest length of a dump's datagram. Linux uses it for a client that has not yet read with
/// a longer buffer (`SKB_WITH_OVERHEAD(PAGE_SIZE)`).
const DATAGRAM: usize = 3776;
