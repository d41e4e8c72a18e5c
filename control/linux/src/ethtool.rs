//! What `ethtool` knows of an interface: its receive queues, and its speed.
//!
//! The questions go by generic netlink (`net/ethtool/channels.c`, `net/ethtool/linkmodes.c`; Linux
//! 5.6 and later).

use std::io;

use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::wire::{Body, Line, Message, attribute, number};

const GENL_ID_CTRL: u16 = 0x10;
const GENL_HEADER: usize = 4;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
/// `ETHTOOL_A_CHANNELS_HEADER`, `ETHTOOL_A_LINKMODES_HEADER`
const HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_CHANNELS_RX_COUNT: u16 = 6;
const ETHTOOL_A_CHANNELS_COMBINED_MAX: u16 = 5;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT: u16 = 9;
const ETHTOOL_A_LINKMODES_SPEED: u16 = 5;

/// The receive queues of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// How many are in use.
    pub rx: u32,
    /// Whether the driver counts receive and transmit queues together. The words of `ethtool -L`
    /// depend on it.
    pub combined: bool,
}

/// For an interface that has only one queue, or does not say.
impl Default for Channels {
    fn default() -> Self {
        Self { rx: 1, combined: false }
    }
}

impl Channels {
    /// The command that sets the number of receive queues to `count`.
    pub fn command(self, iface: &str, count: u32) -> String {
        match self.combined {
            true => format!("ethtool -L {iface} combined {count}"),
            false => format!("ethtool -L {iface} rx {count} tx {count}"),
        }
    }
}

/// A socket for these questions, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Ethtool {
    line: Line,
    family: u16,
}

impl Ethtool {
    /// Opens the socket. `ENOENT` when the kernel was built without ethtool over netlink.
    pub fn open() -> io::Result<Self> {
        let mut line = Line::open(NETLINK_GENERIC)?;
        let body = Body::new(&[CTRL_CMD_GETFAMILY, 1, 0, 0]).with_text(CTRL_ATTR_FAMILY_NAME, "ethtool");
        let answer = line.ask(Message::new(GENL_ID_CTRL, 0, body), GENL_HEADER)?;
        let family = attribute(&answer, CTRL_ATTR_FAMILY_ID)
            .and_then(|id| Some(u16::from_ne_bytes(id.try_into().ok()?)));
        let family = family.ok_or_else(|| io::Error::from(Errno::ENOENT))?;
        Ok(Self { line, family })
    }

    fn get(&mut self, command: u8, ifindex: u32) -> io::Result<Vec<u8>> {
        let device = Body::default().with(ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
        let body = Body::new(&[command, 1, 0, 0]).with_nest(HEADER, &device);
        self.line.ask(Message::new(self.family, 0, body), GENL_HEADER)
    }

    /// The receive queues. One when the driver does not count them.
    pub fn channels(&mut self, ifindex: u32) -> io::Result<Channels> {
        let answer = match self.get(ETHTOOL_MSG_CHANNELS_GET, ifindex) {
            Ok(answer) => answer,
            Err(e) if e.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(Channels::default()),
            Err(e) => return Err(e),
        };
        let count = |kind| number(&answer, kind).unwrap_or(0);
        let rx = count(ETHTOOL_A_CHANNELS_RX_COUNT) + count(ETHTOOL_A_CHANNELS_COMBINED_COUNT);
        Ok(Channels { rx: rx.max(1), combined: count(ETHTOOL_A_CHANNELS_COMBINED_MAX) > 0 })
    }

    /// The speed in Mbit/s, when the driver knows one.
    pub fn speed(&mut self, ifindex: u32) -> Option<u32> {
        let answer = self.get(ETHTOOL_MSG_LINKMODES_GET, ifindex).ok()?;
        number(&answer, ETHTOOL_A_LINKMODES_SPEED).filter(|speed| *speed != 0 && *speed != u32::MAX)
    }
}
