//! The messages by which `ffi/preload` passes on the socket options of [`sockopt`]. Linux has no
//! such messages. Numbers are in host order.
//!
//! | request | bytes |
//! |---|---|
//! | 0 | 1 for `setsockopt`, 0 for `getsockopt` |
//! | 4 | the option |
//! | 8 | the length of the value, or of the caller's buffer |
//! | 12 | the value, or the beginning of the buffer |
//!
//! | answer | bytes |
//! |---|---|
//! | 0 | 0, or the errno |
//! | 4 | the length of the whole value |
//! | 8 | where this part of the value begins |
//! | 12 | the part |

use api::Response;
use model::Model;
use nix::errno::Errno;

use super::message::Sender;
use super::reply::{Form, Pending, Replies};
use super::request::Step;
use crate::wire::{errno, sockopt};

/// The number of these messages, above those of Linux's families.
pub(super) const OPTION: u16 = 1053;
/// The longest buffer of a caller, in bytes.
const LONGEST: usize = 16 << 20;
/// The longest part of a value in a message, in bytes.
const PART: usize = 16 << 10;

/// What waits for the director's answer.
#[derive(Debug)]
pub(super) enum Waiting {
    Get(sockopt::Pending),
    Set,
}

/// Decides what to do with a message.
pub(super) fn receive(payload: &[u8], sender: Sender, model: &Model) -> Step {
    let number = |at: usize| Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let (Some(set), Some(option), Some(length)) = (number(0), number(4), number(8)) else {
        return failed(&sender, Errno::EINVAL);
    };
    let (option, length) = (option.cast_signed(), length as usize);
    let value = payload.get(12..).unwrap_or_default();
    if set == 1 {
        return match sockopt::set(option, value, model) {
            Ok(request) => Step::Ask(request, Pending::new(sender, Form::Option(Waiting::Set))),
            Err(errno) => failed(&sender, errno),
        };
    }
    if length > LONGEST {
        return failed(&sender, Errno::EINVAL);
    }
    let mut buffer = value.to_vec();
    buffer.resize(length, 0);
    go_on(sender, sockopt::get(option, buffer, model))
}

/// Continues with the director's answer.
pub(super) fn answered(sender: Sender, waiting: Waiting, response: Response) -> Step {
    match (waiting, response) {
        (Waiting::Get(pending), response) => go_on(sender, pending.answered(response)),
        (Waiting::Set, Response::Done | Response::Warned(_)) => Step::Reply(value(&sender, &[])),
        (Waiting::Set, Response::Refused(error)) => failed(&sender, errno(&error)),
        (Waiting::Set, _) => failed(&sender, Errno::EIO),
    }
}

fn go_on(sender: Sender, step: Result<sockopt::Step, Errno>) -> Step {
    match step {
        Ok(sockopt::Step::Ask(request, pending)) => {
            Step::Ask(request, Pending::new(sender, Form::Option(Waiting::Get(pending))))
        }
        Ok(sockopt::Step::Done(buffer)) => Step::Reply(value(&sender, &buffer)),
        Err(errno) => failed(&sender, errno),
    }
}

fn failed(sender: &Sender, errno: Errno) -> Step {
    Step::Reply(Replies::ready(vec![part(sender, errno as u32, 0, 0, &[])]))
}

fn value(sender: &Sender, bytes: &[u8]) -> Replies {
    let parts = bytes.chunks(PART).enumerate();
    let mut all: Vec<_> =
        parts.map(|(index, bytes_of)| part(sender, 0, bytes.len(), index * PART, bytes_of)).collect();
    if all.is_empty() {
        all.push(part(sender, 0, 0, 0, &[]));
    }
    Replies::ready(all)
}

fn part(sender: &Sender, errno: u32, whole: usize, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    sender.message(&mut datagram, false, |out| {
        [errno, whole as u32, offset as u32].iter().for_each(|number| out.extend(number.to_ne_bytes()));
        out.extend_from_slice(bytes);
    });
    datagram
}
