//! Two kinds of rtnetlink socket: one asks and is answered, the other one listens.
//!
//! Both belong for good to the network namespace of the thread that opens them. A datagram may
//! contain a message that this program does not understand. It is passed on as [`Item::Unknown`],
//! and the others in the datagram are read all the same.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// The kernel makes no larger datagram unless the reader offers more room.
const DATAGRAM: usize = 1 << 16;
/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One message of a datagram.
pub(super) enum Item {
    /// The message. It is boxed because links are large.
    Message(Box<RouteNetlinkMessage>),
    /// A message of a kind, or with an attribute, that is not understood.
    Unknown,
    /// The end of a dump, or the answer to a request: 0 or a negative error number.
    Result(i32),
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dumped {
    /// It is complete, and nothing changed meanwhile.
    Whole,
    /// Something changed meanwhile: ask again.
    Interrupted,
}

/// A socket for requests.
#[derive(Debug)]
pub(super) struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Asks for a whole table.
    pub(super) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<Dumped> {
        let mut dumped = Dumped::Whole;
        self.exchange(request, NLM_F_DUMP, |header, item| match item {
            Item::Message(message) => {
                if header.flags & NLM_F_DUMP_INTR != 0 {
                    dumped = Dumped::Interrupted;
                }
                each(*message);
            }
            Item::Result(_) if header.flags & NLM_F_DUMP_INTR != 0 => dumped = Dumped::Interrupted,
            _ => {}
        })?;
        Ok(dumped)
    }

    /// Asks for a change, and waits until it is made or refused.
    pub(super) fn change(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(request, flags | NLM_F_ACK, |_, _| {})
    }

    /// Asks for one object.
    pub(super) fn ask(&mut self, request: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut answer = None;
        self.exchange(request, NLM_F_ACK, |_, item| {
            if let Item::Message(message) = item {
                answer = Some(*message);
            }
        })?;
        Ok(answer)
    }

    fn exchange(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(NetlinkHeader, Item),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut request = NetlinkMessage::from(request);
        request.header.flags = flags | NLM_F_REQUEST;
        request.header.sequence_number = sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut result = None;
        while result.is_none() {
            receive(&self.socket, &mut self.buffer).or_else(|e| match e.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                io::ErrorKind::WouldBlock => Err(io::Error::from(io::ErrorKind::TimedOut)),
                _ => Err(e),
            })?;
            items(&self.buffer, |header, item| {
                if header.sequence_number != sequence {
                    return;
                }
                if let Item::Result(code) = item {
                    result = Some(code);
                }
                each(header, item);
            });
        }
        match result {
            Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            _ => Ok(()),
        }
    }
}

/// A socket that hears of changes.
pub(super) struct Events {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Events {
    /// Starts to listen. From now on it hears of every change, or is told that events were lost.
    pub(super) fn open(groups: &[u32], buffer: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // More than `net.core.rmem_max` needs CAP_NET_ADMIN. A smaller buffer works too, but more
        // dumps are needed.
        if setsockopt(&socket, sockopt::RcvBufForce, &buffer).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &buffer)?;
        }
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Reads one datagram. `WouldBlock` when there is none; `ENOBUFS` when some were lost.
    pub(super) fn read(&mut self, mut each: impl FnMut(NetlinkHeader, Item)) -> io::Result<()> {
        receive(&self.socket, &mut self.buffer)?;
        items(&self.buffer, &mut each);
        Ok(())
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    socket.recv(buffer, 0).map(|_| ())
}

/// Calls `each` for every message of a datagram.
fn items(mut bytes: &[u8], mut each: impl FnMut(NetlinkHeader, Item)) {
    while let Ok(message) = NetlinkBuffer::new_checked(&bytes) {
        let length = message.length() as usize;
        let payload = message.payload();
        if let Ok(header) = NetlinkHeader::parse(&message) {
            let code = || payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
            match header.message_type {
                NLMSG_ERROR | NLMSG_DONE => each(header, Item::Result(code())),
                kind if kind < 16 => {}
                _ => match RouteNetlinkMessage::deserialize(&header, payload) {
                    Ok(message) => each(header, Item::Message(Box::new(message))),
                    Err(why) => {
                        tracing::debug!(
                            "rtnetlink message of type {} not understood: {why}",
                            header.message_type
                        );
                        each(header, Item::Unknown);
                    }
                },
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
