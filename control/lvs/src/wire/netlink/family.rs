//! The family `IPVS`: its commands, its attributes, and how Linux describes it.
//!
//! Linux chooses a family's number when it makes the family. Here the number is fixed, and it is
//! above all that Linux may choose. So a program that speaks to both (`ffi/preload`) never takes a
//! family of the kernel for this one. A client first asks for the number by name ([`find`]).

use nix::errno::Errno;

use super::attribute::{Attributes, Policies, Policy, Writer};
use super::message::Refusal;
use crate::wire::fields;

/// The family `nlctrl`, which describes families.
pub(super) const CONTROL: u16 = 16;
/// The family `IPVS`. Linux's numbers end at 1023 (`GENL_MAX_ID`).
pub const FAMILY: u16 = 1052;
/// The version of the family. Nobody checks it.
pub(super) const VERSION: u8 = 1;

/// The commands of the family, `IPVS_CMD_*`. Commands from 0xc0 on are Vipline's own.
pub(super) mod command {
    pub(crate) const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const DEL_SERVICE: u8 = 3;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DEST: u8 = 5;
    pub(crate) const SET_DEST: u8 = 6;
    pub(crate) const DEL_DEST: u8 = 7;
    pub(crate) const GET_DEST: u8 = 8;
    pub(crate) const NEW_DAEMON: u8 = 9;
    pub(crate) const DEL_DAEMON: u8 = 10;
    pub(crate) const GET_DAEMON: u8 = 11;
    pub(crate) const SET_CONFIG: u8 = 12;
    pub(crate) const GET_CONFIG: u8 = 13;
    pub(crate) const SET_INFO: u8 = 14;
    pub(crate) const GET_INFO: u8 = 15;
    pub(crate) const ZERO: u8 = 16;
    pub(crate) const FLUSH: u8 = 17;
    /// With `SERVICE` and `LOCAL_ADDRESS`. The messages of a dump of local addresses have this
    /// command too.
    pub(crate) const NEW_LOCAL_ADDRESS: u8 = 0xc0;
    /// With `SERVICE` and `LOCAL_ADDRESS`.
    pub(crate) const DEL_LOCAL_ADDRESS: u8 = 0xc1;
    /// A dump, with `SERVICE`.
    pub(crate) const GET_LOCAL_ADDRESS: u8 = 0xc2;
}

/// The attributes of a message, `IPVS_CMD_ATTR_*` and `IPVS_INFO_ATTR_*`.
pub(super) mod attribute {
    pub(crate) const SERVICE: u16 = 1;
    pub(crate) const DEST: u16 = 2;
    pub(crate) const DAEMON: u16 = 3;
    pub(crate) const TIMEOUT_TCP: u16 = 4;
    pub(crate) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(crate) const TIMEOUT_UDP: u16 = 6;
    /// Vipline's own.
    pub(crate) const LOCAL_ADDRESS: u16 = 0x2000;
    /// In the answer to `GET_INFO`.
    pub(crate) const INFO_VERSION: u16 = 1;
    /// In the answer to `GET_INFO`.
    pub(crate) const INFO_TABLE_SIZE: u16 = 2;
}

/// `ip_vs_cmd_policy`
pub(super) const MESSAGE: &Policies = &[
    (attribute::SERVICE, Policy::Attributes),
    (attribute::DEST, Policy::Attributes),
    (attribute::DAEMON, Policy::Attributes),
    (attribute::TIMEOUT_TCP, Policy::AtLeast(4)),
    (attribute::TIMEOUT_TCP_FIN, Policy::AtLeast(4)),
    (attribute::TIMEOUT_UDP, Policy::AtLeast(4)),
    (attribute::LOCAL_ADDRESS, Policy::Attributes),
];

/// How a command may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// As a request for one object.
    pub(super) one: bool,
    /// As a request for all objects.
    pub(super) dump: bool,
}

impl Manner {
    const NONE: Self = Self { one: false, dump: false };

    /// The flags with which Linux describes the command. Each command needs an administrator, and
    /// its attributes have policies.
    fn flags(self) -> u32 {
        0x1 | 0x8 | if self.one { 0x2 } else { 0 } | if self.dump { 0x4 } else { 0 }
    }
}

/// How this command may be used; [`Manner::NONE`] if there is no such command.
pub(super) fn manner(number: u8) -> Manner {
    use command::*;
    match number {
        GET_SERVICE => Manner { one: true, dump: true },
        GET_DEST | GET_DAEMON | GET_LOCAL_ADDRESS => Manner { one: false, dump: true },
        SET_INFO => Manner::NONE,
        NEW_SERVICE..=FLUSH | NEW_LOCAL_ADDRESS | DEL_LOCAL_ADDRESS => Manner { one: true, dump: false },
        _ => Manner::NONE,
    }
}

/// Checks that a request for a family asks for this family (`net/netlink/genetlink.c:
/// ctrl_getfamily`).
pub(super) fn find(attributes: &[u8]) -> Result<(), Refusal> {
    let asked = Attributes::read(attributes, CONTROL_POLICY).map_err(super::request::broken)?;
    let by_name = asked.bytes(NAME).map(|name| fields::text(name) == FAMILY_NAME);
    let by_number = asked.u16(NUMBER).map(|number| number == FAMILY);
    match by_name.or(by_number) {
        Some(true) => Ok(()),
        Some(false) => Err(Errno::ENOENT.into()),
        None => Err(Errno::EINVAL.into()),
    }
}

/// Writes the description of the family.
pub(super) fn describe(out: &mut Vec<u8>) {
    generic_header(out, NEW_FAMILY, CONTROL_VERSION);
    let mut writer = Writer::new(out);
    writer.text(NAME, FAMILY_NAME);
    writer.u16(NUMBER, FAMILY);
    writer.u32(DESCRIBED_VERSION, VERSION.into());
    writer.u32(HEADER_SIZE, 0);
    writer.u32(LAST_ATTRIBUTE, attribute::TIMEOUT_UDP.into());
    // Vipline's own commands are not listed, so the description equals Linux's, byte for byte.
    let listed = (command::NEW_SERVICE..=command::FLUSH).filter(|number| manner(*number) != Manner::NONE);
    writer.nest(COMMANDS, |list| {
        for (index, number) in (1..).zip(listed) {
            list.nest(index, |one| {
                one.u32(COMMAND_NUMBER, number.into());
                one.u32(COMMAND_FLAGS, manner(number).flags());
            });
        }
    });
}

/// Writes the header of a generic message.
pub(super) fn generic_header(out: &mut Vec<u8>, command: u8, version: u8) {
    out.extend_from_slice(&[command, version, 0, 0]);
}

/// `CTRL_CMD_GETFAMILY`
pub(super) const GET_FAMILY: u8 = 3;

const NEW_FAMILY: u8 = 1;
const CONTROL_VERSION: u8 = 2;
const FAMILY_NAME: &str = "IPVS";

// CTRL_ATTR_*
const NUMBER: u16 = 1;
const NAME: u16 = 2;
const DESCRIBED_VERSION: u16 = 3;
const HEADER_SIZE: u16 = 4;
const LAST_ATTRIBUTE: u16 = 5;
const COMMANDS: u16 = 6;
// CTRL_ATTR_OP_*
const COMMAND_NUMBER: u16 = 1;
const COMMAND_FLAGS: u16 = 2;
const CONTROL_POLICY: &Policies = &[(NUMBER, Policy::AtLeast(2)), (NAME, Policy::Text(15))];
