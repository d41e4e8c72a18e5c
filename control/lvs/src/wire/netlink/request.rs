//! What to do with a message.

use api::{ListQuery, Request};
use model::{Change, Model, ServiceKey, Timeouts};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST};
use nix::errno::Errno;

use super::attribute::{Attributes, Broken};
use super::destination::Destination;
use super::family::{self, attribute as attr, command};
use super::message::{Explain, HEADER, Message, Refusal, Sender};
use super::reply::{Form, Pending, Replies};
use super::service::Service;
use super::{daemon, local, option};

/// What to do with a message.
#[derive(Debug)]
pub enum Step {
    /// Ask the director, and give its answer to [`Pending::answered`].
    Ask(Request, Pending),
    /// Send these datagrams.
    Reply(Replies),
}

/// Decides what to do with a message. `model` holds the director's rules; `explain` says how the
/// sender wants refusals explained.
pub fn receive(message: &Message<'_>, explain: Explain, model: &Model) -> Step {
    let sender = message.sender(explain);
    if !message.is_request() || message.kind() < family::CONTROL {
        return Step::Reply(Replies::done(&sender));
    }
    let asked = match message.kind() {
        option::OPTION => return option::receive(message.payload(), sender, model),
        family::CONTROL => return Step::Reply(about_families(message, &sender)),
        family::FAMILY => asked(message, model),
        _ => Err(Errno::ENOENT.into()),
    };
    match asked {
        Ok(Asked::Of(request, form)) => Step::Ask(request, Pending::new(sender, form)),
        Ok(Asked::Nothing) => Step::Reply(Replies::end_of_dump(&sender)),
        Err(refusal) => Step::Reply(Replies::refused(&sender, &refusal)),
    }
}

/// What a message of the family asks for.
enum Asked {
    /// A request to the director, and the form of the answer.
    Of(Request, Form),
    /// A dump without any object.
    Nothing,
}

impl Asked {
    fn change(change: Change) -> Self {
        Self::Of(Request::Change(change), Form::Acknowledgement)
    }
}

/// The answer of the family `nlctrl`.
fn about_families(message: &Message<'_>, sender: &Sender) -> Replies {
    let found = || {
        let (command, attributes) = generic(message)?;
        match command {
            family::GET_FAMILY if message.is_dump() => Ok(()),
            family::GET_FAMILY => family::find(attributes),
            _ => Err(Errno::EOPNOTSUPP.into()),
        }
    };
    match found() {
        Ok(()) => Replies::one(sender, message.is_dump(), family::describe),
        Err(refusal) => Replies::refused(sender, &refusal),
    }
}

/// The checks are in Linux's order: `genl_family_rcv_msg`, then for example `ip_vs_genl_set_cmd`.
fn asked(message: &Message<'_>, model: &Model) -> Result<Asked, Refusal> {
    let (number, attributes) = generic(message)?;
    check_header(message, number)?;
    let manner = family::manner(number);
    if message.is_dump() {
        return if manner.dump { Ok(dump(number, attributes, model)) } else { Err(Errno::EOPNOTSUPP.into()) };
    }
    if !manner.one {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let attributes = Attributes::read(attributes, family::MESSAGE).map_err(broken)?;
    let nest = |kind| attributes.bytes(kind);
    let seconds = |kind| attributes.u32(kind).unwrap_or(0);
    match number {
        command::FLUSH => return Ok(Asked::change(Change::Flush)),
        command::SET_CONFIG => {
            let (tcp, tcp_fin) = (seconds(attr::TIMEOUT_TCP), seconds(attr::TIMEOUT_TCP_FIN));
            let timeouts = Timeouts { tcp, tcp_fin, udp: seconds(attr::TIMEOUT_UDP) };
            return Ok(Asked::change(Change::SetTimeouts(timeouts)));
        }
        command::GET_CONFIG => return Ok(Asked::Of(Request::Timeouts, Form::Config)),
        command::GET_INFO => return Ok(Asked::Of(Request::Totals, Form::Info)),
        command::NEW_DAEMON => return Err(daemon::start(nest(attr::DAEMON))),
        command::DEL_DAEMON => return Err(daemon::stop(nest(attr::DAEMON))),
        command::ZERO if nest(attr::SERVICE).is_none() => {
            return Ok(Asked::Of(Request::Zero(None), Form::Acknowledgement));
        }
        _ => {}
    }
    let service = Service::read(nest(attr::SERVICE))?;
    if number == command::NEW_SERVICE {
        let full = service.full()?;
        let key = service.named.possible()?;
        return Ok(Asked::change(Change::AddService(full.spec(key, model))));
    }
    if number == command::SET_SERVICE {
        // As in Linux, an incomplete service is refused before the search for it.
        let full = service.full()?;
        let key = service.named.existing(model)?;
        return Ok(Asked::change(Change::EditService(full.spec(key, model))));
    }
    let key = service.named.existing(model)?;
    about_service(number, key, &attributes).map_err(Refusal::from)
}

/// A request about an existing service.
fn about_service(number: u8, key: ServiceKey, attributes: &Attributes<'_>) -> Result<Asked, Errno> {
    let destination = || Destination::read(attributes.bytes(attr::DEST));
    let local = || local::read(attributes.bytes(attr::LOCAL_ADDRESS), key.family());
    let change = match number {
        command::GET_SERVICE => return Ok(Asked::Of(list(Some(key)), Form::Service)),
        command::ZERO => return Ok(Asked::Of(Request::Zero(Some(key)), Form::Acknowledgement)),
        command::DEL_SERVICE => Change::DeleteService(key),
        command::NEW_DEST => Change::AddDestination(key, destination()?.full(key.family())?),
        command::SET_DEST => Change::EditDestination(key, destination()?.full(key.family())?),
        command::DEL_DEST => Change::DeleteDestination(key, destination()?.key(key.family())?),
        command::NEW_LOCAL_ADDRESS => Change::AddLocalAddress(key, local()?),
        command::DEL_LOCAL_ADDRESS => Change::DeleteLocalAddress(key, local()?),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    Ok(Asked::change(change))
}

/// A dump of destinations is empty if the service does not exist or is not named.
fn dump(number: u8, attributes: &[u8], model: &Model) -> Asked {
    let form = match number {
        command::GET_SERVICE => return Asked::Of(list(None), Form::Services),
        command::GET_DEST => Form::Destinations,
        command::GET_LOCAL_ADDRESS => Form::LocalAddresses,
        _ => return Asked::Nothing,
    };
    let key = || {
        let attributes = Attributes::read(attributes, family::MESSAGE).ok()?;
        Service::read(attributes.bytes(attr::SERVICE)).ok()?.named.existing(model).ok()
    };
    key().map_or(Asked::Nothing, |key| Asked::Of(list(Some(key)), form))
}

fn list(service: Option<ServiceKey>) -> Request {
    Request::List(ListQuery { service, from: None })
}

/// The command and the attributes of a generic message.
fn generic<'a>(message: &Message<'a>) -> Result<(u8, &'a [u8]), Refusal> {
    let (header, attributes) =
        message.payload().split_at_checked(GENERIC_HEADER).ok_or(Refusal::from(Errno::EINVAL))?;
    Ok((header[0], attributes))
}

/// Linux 6.1 and later check the headers of commands that are newer than 6.1 (`genl_header_check`).
/// IPVS has no such command yet, but Linux checks before it refuses an unknown command.
fn check_header(message: &Message<'_>, number: u8) -> Result<(), Refusal> {
    if number <= command::FLUSH {
        return Ok(());
    }
    let refuse =
        |reason: &str| Err(Refusal { errno: Errno::EINVAL, reason: Some(reason.to_owned()), offset: None });
    if message.payload()[2..GENERIC_HEADER] != [0, 0] {
        return refuse("genlmsghdr.reserved field is not 0");
    }
    let dump = if message.is_dump() { NLM_F_DUMP } else { 0 };
    if message.flags() & !dump & !(NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO) != 0 {
        return refuse("ambiguous or reserved bits set in nlmsg_flags");
    }
    Ok(())
}

/// The refusal of a message with a broken attribute.
pub(super) fn broken(broken: Broken) -> Refusal {
    Refusal {
        errno: broken.errno,
        reason: Some("Attribute failed policy validation".to_owned()),
        offset: u32::try_from(HEADER + GENERIC_HEADER + broken.offset).ok(),
    }
}

const GENERIC_HEADER: usize = 4;
