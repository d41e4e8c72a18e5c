//! `setsockopt`.

use api::Request;
use model::{Change, Model, Timeouts};
use nix::errno::Errno;

use super::check;
use super::layout::{self, Both, Service, exactly};
use crate::wire::fields;

/// Turns a `setsockopt` into a request. The checks are in the order of `do_ip_vs_set_ctl`; `model`
/// holds the director's rules. The option then returns 0, or the [`errno`](crate::wire::errno()) of
/// the director's refusal.
pub fn set(option: i32, value: &[u8], model: &Model) -> Result<Request, Errno> {
    check(option)?;
    let (service, destination) = match option {
        FLUSH if value.is_empty() => return Ok(Request::Change(Change::Flush)),
        TIMEOUT => {
            let layout::Timeouts { tcp, tcp_fin, udp } = exactly(value)?;
            return Ok(Request::Change(Change::SetTimeouts(Timeouts { tcp, tcp_fin, udp })));
        }
        START_DAEMON => return Err(start_daemon(&exactly(value)?)),
        STOP_DAEMON => return Err(fields::stop_daemon(exactly::<layout::Daemon>(value)?.state)),
        ADD | EDIT | DEL | ZERO => (exactly::<Service>(value)?, None),
        ADD_DEST | DEL_DEST | EDIT_DEST => {
            let both: Both = exactly(value)?;
            (both.service, Some(both.destination))
        }
        _ => return Err(Errno::EINVAL),
    };
    if option == ZERO && service.name.is_empty() {
        return Ok(Request::Zero(None));
    }
    if matches!(option, ADD | EDIT) && !service.has_scheduler() {
        return Err(Errno::EINVAL);
    }
    let protocol = service.name.protocol();
    if u8::try_from(protocol).ok().and_then(model::Protocol::from_number).is_none() {
        return Err(Errno::EFAULT);
    }
    if option == ADD {
        let key = service.name.named().possible()?;
        return Ok(Request::Change(Change::AddService(service.spec(key))));
    }
    let key = service.name.named().existing(model)?;
    if u16::from(key.protocol().number()) != protocol {
        return Err(Errno::ESRCH);
    }
    Ok(match (option, destination) {
        (EDIT, _) => Request::Change(Change::EditService(service.spec(key))),
        (DEL, _) => Request::Change(Change::DeleteService(key)),
        (ADD_DEST, Some(dest)) => Request::Change(Change::AddDestination(key, dest.spec()?)),
        (EDIT_DEST, Some(dest)) => Request::Change(Change::EditDestination(key, dest.spec()?)),
        (DEL_DEST, Some(dest)) => Request::Change(Change::DeleteDestination(key, dest.key())),
        _ => Request::Zero(Some(key)),
    })
}

fn start_daemon(daemon: &layout::Daemon) -> Errno {
    let named = daemon.interface[0] != 0 && daemon.interface.contains(&0);
    if named { fields::start_daemon(daemon.state) } else { Errno::EINVAL }
}

// IP_VS_SO_SET_*
const ADD: i32 = 1154;
const EDIT: i32 = 1155;
const DEL: i32 = 1156;
const FLUSH: i32 = 1157;
const ADD_DEST: i32 = 1159;
const DEL_DEST: i32 = 1160;
const EDIT_DEST: i32 = 1161;
const TIMEOUT: i32 = 1162;
const START_DAEMON: i32 = 1163;
const STOP_DAEMON: i32 = 1164;
const ZERO: i32 = 1167;
