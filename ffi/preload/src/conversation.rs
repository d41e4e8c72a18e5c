//! A socket of generic netlink that speaks to the kernel and to the daemon.
//!
//! The program's descriptor is the kernel's socket until the program sends a message for IPVS.
//! Then the descriptor becomes the connection to the daemon (`dup3` over it), so that `poll` and
//! blocking calls see the daemon's answers. The kernel's socket lives on under another number, and
//! gives the socket its name. When the program sends a message for another family and waits for no
//! answer of the daemon, the descriptor becomes the kernel's socket again. If it waits for both,
//! reading gives both, but `poll` sees only the daemon's answers.
//!
//! If the connection ends, what happens depends on what the program waits for:
//!
//! * nothing: the descriptor becomes the kernel's socket again, and the next message connects anew;
//! * an answer that has not begun: the daemon is waited for, and gets the request again;
//! * the rest of an answer, or the daemon does not come back in time: the request is refused with
//!   `EBUSY`.

use std::ffi::{c_int, c_void};
use std::mem::{size_of, zeroed};
use std::ptr;
use std::time::Duration;

use libc::{iovec, msghdr, sockaddr, sockaddr_nl, socklen_t, ssize_t};

use crate::message::{Message, messages, refusal, stamp};
use crate::table::{self, Pending, kernel_of};
use crate::{daemon, real, told};

/// The library's descriptors are above this number if possible, far from those of the program.
const FAR: usize = 500;
/// How often a message is sent on another connection.
const TRIES: usize = 3;

/// Sends the messages of a datagram to the kernel and to the daemon. `plain` makes the program's
/// own call on another descriptor.
pub(crate) fn send(
    fd: c_int,
    datagram: &[u8],
    flags: c_int,
    plain: impl FnOnce(c_int) -> ssize_t,
) -> ssize_t {
    if !messages(datagram).any(|message| message.is_ours()) {
        let idle = |socket: &mut table::Socket| socket.pending.is_empty() && socket.refusals.is_empty();
        if table::with(fd, idle) == Some(true) {
            back_to_kernel(fd);
        }
        return plain(kernel_of(fd).unwrap_or(fd));
    }
    for message in messages(datagram) {
        if message.is_ours() {
            if let Err(error) = transmit(fd, &message, flags) {
                return real::fail(error) as ssize_t;
            }
        } else if put(kernel_of(fd).unwrap_or(fd), message.bytes, flags) < 0 {
            return -1;
        }
    }
    datagram.len() as ssize_t
}

fn put(fd: c_int, bytes: &[u8], flags: c_int) -> ssize_t {
    let at = bytes.as_ptr().cast::<c_void>();
    // SAFETY: the pointer and the length are those of `bytes`.
    unsafe { real::send(fd, at, bytes.len(), flags | libc::MSG_NOSIGNAL) }
}

/// Sends a message to the daemon. If that is impossible, the refusal is the answer.
fn transmit(fd: c_int, message: &Message<'_>, flags: c_int) -> Result<(), c_int> {
    let mut request = message.bytes.to_vec();
    stamp(&mut request, port(kernel_of(fd).unwrap_or(fd)));
    let patient = waits(fd, flags);
    for _ in 0..TRIES {
        if let Err(error) = connected(fd, patient) {
            refuse(fd, &request, error);
            return Ok(());
        }
        if put(fd, &request, flags) >= 0 {
            if message.wants_answer() {
                table::with(fd, |socket| socket.pending.push_back(Pending { request, begun: false }));
            }
            return Ok(());
        }
        match real::errno() {
            libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN => died(fd),
            error => return Err(error),
        }
    }
    refuse(fd, &request, libc::EBUSY);
    Ok(())
}

/// Adds a refusal to those that the program will read. A missing daemon is a missing family.
fn refuse(fd: c_int, request: &[u8], why: c_int) {
    let asks_for_family = messages(request).next().is_some_and(|message| message.kind < 1024);
    let errno = match why {
        libc::EACCES | libc::EPERM => libc::EPERM,
        _ if asks_for_family => libc::ENOENT,
        _ => libc::EBUSY,
    };
    let answer = refusal(request, errno);
    table::with(fd, |socket| socket.refusals.push_back(answer));
}

fn died(fd: c_int) {
    table::with(fd, |socket| socket.dead = true);
}

/// Refuses all requests that wait.
fn give_up(fd: c_int, why: c_int) {
    died(fd);
    let pending = table::with(fd, |socket| std::mem::take(&mut socket.pending)).unwrap_or_default();
    pending.iter().for_each(|one| refuse(fd, &one.request, why));
}

/// Makes sure that the descriptor is a connection of this process to the daemon.
fn connected(fd: c_int, patient: bool) -> Result<(), c_int> {
    let process = std::process::id();
    let good =
        |socket: &mut table::Socket| socket.kernel.is_some() && !socket.dead && socket.owner == process;
    if table::with(fd, good) == Some(true) {
        return Ok(());
    }
    match daemon::connect(patient) {
        Ok(connection) => install(fd, connection),
        Err(error) => {
            give_up(fd, error);
            if kernel_of(fd).is_none() {
                // Reading an end makes the descriptor readable, so the program finds the refusal.
                install(fd, dead_end()?);
                died(fd);
            }
            return Err(error);
        }
    }
    table::with(fd, |socket| (socket.dead, socket.owner) = (false, process));
    let pending = table::with(fd, |socket| std::mem::take(&mut socket.pending)).unwrap_or_default();
    for one in pending {
        if one.begun || put(fd, &one.request, libc::MSG_DONTWAIT) < 0 {
            refuse(fd, &one.request, libc::EBUSY);
        } else {
            table::with(fd, |socket| socket.pending.push_back(one));
        }
    }
    Ok(())
}

/// A connection whose other end is closed.
fn dead_end() -> Result<c_int, c_int> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
        return Err(real::errno());
    }
    real::shut(ends[1]);
    Ok(ends[0])
}

/// Makes the program's descriptors lead to `connection`, and keeps the kernel's socket.
fn install(fd: c_int, connection: c_int) {
    let kernel = kernel_of(fd).unwrap_or_else(|| {
        let far = number(fd, libc::F_DUPFD_CLOEXEC, FAR);
        let kernel = if far < 0 { number(fd, libc::F_DUPFD_CLOEXEC, 3) } else { far };
        table::own(kernel);
        kernel
    });
    copy_times(fd, connection);
    lead(fd, connection);
    real::shut(connection);
    table::with(fd, |socket| socket.kernel = Some(kernel));
}

/// Makes the program's descriptors the kernel's socket again.
fn back_to_kernel(fd: c_int) {
    let Some(kernel) = kernel_of(fd) else { return };
    lead(fd, kernel);
    table::with(fd, |socket| (socket.kernel, socket.dead) = (None, false));
    table::disown(kernel);
    real::shut(kernel);
}

/// Makes all descriptors of the socket lead to `to`. Each keeps its flags.
fn lead(fd: c_int, to: c_int) {
    let status = number(fd, libc::F_GETFL, 0);
    for sibling in table::siblings(fd) {
        let closes = number(sibling, libc::F_GETFD, 0) & libc::FD_CLOEXEC != 0;
        // SAFETY: the descriptor is a socket of the program, which stays open under its number.
        unsafe { real::dup3(to, sibling, if closes { libc::O_CLOEXEC } else { 0 }) };
    }
    number(fd, libc::F_SETFL, (status & libc::O_NONBLOCK) as usize);
}

/// `fcntl` with a number.
fn number(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the commands of this file take a number or nothing.
    unsafe { real::fcntl(fd, command, argument) }
}

/// The connection gets the program's limits for reading and writing.
fn copy_times(from: c_int, to: c_int) {
    for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let value = time(from, name);
        let at = (&raw const value).cast::<c_void>();
        // SAFETY: the pointer and the length are those of `value`.
        unsafe { real::setsockopt(to, libc::SOL_SOCKET, name, at, size_of::<libc::timeval>() as socklen_t) };
    }
}

fn time(fd: c_int, name: c_int) -> libc::timeval {
    let mut value = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut length = size_of::<libc::timeval>() as socklen_t;
    let at = (&raw mut value).cast::<c_void>();
    // SAFETY: the pointer and the length are those of `value`.
    unsafe { real::getsockopt(fd, libc::SOL_SOCKET, name, at, &raw mut length) };
    value
}

/// Whether a call on the descriptor may wait.
fn waits(fd: c_int, flags: c_int) -> bool {
    flags & libc::MSG_DONTWAIT == 0 && number(fd, libc::F_GETFL, 0) & libc::O_NONBLOCK == 0
}

/// The netlink port of a socket, which gets one if it has none.
fn port(kernel: c_int) -> u32 {
    // SAFETY: all zeros is a valid address.
    let mut addr: sockaddr_nl = unsafe { zeroed() };
    addr.nl_family = libc::AF_NETLINK as u16;
    for bound in [false, true] {
        let mut length = size_of::<sockaddr_nl>() as socklen_t;
        let at = (&raw mut addr).cast::<sockaddr>();
        if bound {
            // SAFETY: the address and its length are those of `addr`.
            unsafe { real::bind(kernel, at, length) };
        }
        // SAFETY: the address and its length are those of `addr`.
        let known = unsafe { real::getsockname(kernel, at, &raw mut length) } == 0;
        if known && addr.nl_pid != 0 {
            return addr.nl_pid;
        }
    }
    0
}

/// What a reader can do next.
enum Ready {
    /// Read the connection to the daemon.
    Daemon,
    /// Read the kernel's socket.
    Kernel,
    /// Return with this errno.
    Nothing(c_int),
    /// The daemon has not answered for too long.
    Late,
}

/// Waits until something can be read.
fn wait(fd: c_int, kernel: c_int, flags: c_int) -> Ready {
    let asked = table::with(fd, |socket| !socket.pending.is_empty()).unwrap_or(false);
    let limit = time(fd, libc::SO_RCVTIMEO);
    let limit = Duration::new(limit.tv_sec as u64, limit.tv_usec as u32 * 1000);
    let limit = Some(limit).filter(|limit| !limit.is_zero());
    let patience = Some(daemon::patience()).filter(|_| asked);
    let shorter = match (limit, patience) {
        _ if !waits(fd, flags) => Some(Duration::ZERO),
        (Some(limit), Some(patience)) => Some(limit.min(patience)),
        (limit, patience) => limit.or(patience),
    };
    let millis = shorter.map_or(-1, |time| c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX));
    let watched = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut both = [watched(fd), watched(kernel)];
    // SAFETY: there are two structures.
    let ready = unsafe { libc::poll(both.as_mut_ptr(), 2, millis) };
    match ready {
        ..0 => Ready::Nothing(real::errno()),
        0 if waits(fd, flags) && patience.is_some() && shorter == patience => Ready::Late,
        0 => Ready::Nothing(libc::EAGAIN),
        _ if both[0].revents != 0 => Ready::Daemon,
        _ => Ready::Kernel,
    }
}

/// `recvmsg` on a socket of generic netlink.
///
/// # Safety
///
/// `message` must be as `recvmsg` demands.
pub(crate) unsafe fn receive(fd: c_int, message: &mut msghdr, flags: c_int) -> ssize_t {
    loop {
        let Some(kernel) = kernel_of(fd) else {
            // SAFETY: the caller keeps the rules of recvmsg.
            return unsafe { real::recvmsg(fd, message, flags) };
        };
        let peek = flags & libc::MSG_PEEK != 0;
        let next = table::with(fd, |socket| match peek {
            true => socket.refusals.front().cloned(),
            false => socket.refusals.pop_front(),
        });
        if let Some(Some(bytes)) = next {
            // SAFETY: the caller keeps the rules of recvmsg.
            return unsafe { give(message, &bytes, flags) };
        }
        if table::with(fd, |socket| socket.dead) == Some(true) {
            back_to_kernel(fd);
            continue;
        }
        match wait(fd, kernel, flags) {
            Ready::Daemon => {
                // SAFETY: the caller keeps the rules of recvmsg.
                if let Some(got) = unsafe { read(fd, message, flags) } {
                    return got;
                }
            }
            Ready::Kernel => {
                // SAFETY: the caller keeps the rules of recvmsg.
                let got = unsafe { real::recvmsg(kernel, message, flags | libc::MSG_DONTWAIT) };
                if got >= 0 || real::errno() != libc::EAGAIN {
                    return got;
                }
            }
            Ready::Nothing(error) => return real::fail(error) as ssize_t,
            Ready::Late => {
                told::trouble("the daemon does not answer");
                give_up(fd, libc::EBUSY);
            }
        }
    }
}

/// Reads a datagram of the daemon. `None` if there is none, or if the connection has ended.
///
/// # Safety
///
/// `message` must be as `recvmsg` demands.
unsafe fn read(fd: c_int, message: &mut msghdr, flags: c_int) -> Option<ssize_t> {
    let (name, length) = (message.msg_name, message.msg_namelen);
    (message.msg_name, message.msg_namelen) = (ptr::null_mut(), 0);
    // SAFETY: the caller keeps the rules of recvmsg, and no name is wanted.
    let got = unsafe { real::recvmsg(fd, message, flags | libc::MSG_DONTWAIT) };
    (message.msg_name, message.msg_namelen) = (name, length);
    // SAFETY: the caller keeps the rules of recvmsg.
    let buffers = unsafe { buffers(message) };
    let room: usize = buffers.iter().map(|buffer| buffer.iov_len).sum();
    match got {
        1.. => {
            if flags & libc::MSG_PEEK == 0 {
                // SAFETY: recvmsg has filled the buffers up to this length.
                let datagram = unsafe { gathered(buffers, got as usize) };
                observe(fd, &datagram);
            }
            // SAFETY: the caller keeps the rules of recvmsg.
            unsafe { name_kernel(message) };
            Some(got)
        }
        // The buffers are empty.
        0 if room == 0 && flags & libc::MSG_TRUNC == 0 => Some(0),
        ..0 if matches!(real::errno(), libc::EAGAIN) => None,
        ..0 if real::errno() != libc::ECONNRESET => Some(got),
        _ => {
            died(fd);
            let asked = table::with(fd, |socket| !socket.pending.is_empty()) == Some(true);
            if asked && (!waits(fd, flags) || connected(fd, true).is_err()) {
                give_up(fd, libc::EBUSY);
            }
            None
        }
    }
}

/// Notes which requests a datagram of the daemon answers. Answers come in order.
fn observe(fd: c_int, datagram: &[u8]) {
    table::with(fd, |socket| {
        for message in messages(datagram) {
            let mut asked = socket.pending.iter().map(|one| messages(&one.request).next());
            let sequence = Some(message.sequence);
            let Some(at) = asked.position(|asked| asked.map(|asked| asked.sequence) == sequence) else {
                continue;
            };
            socket.pending.drain(..at);
            if let Some(first) = socket.pending.front_mut() {
                first.begun = true;
                let ended = messages(&first.request).next().is_none_or(|asked| message.ends(&asked));
                if ended {
                    socket.pending.pop_front();
                }
            }
        }
    });
}

/// Gives the program a datagram of this library.
///
/// # Safety
///
/// `message` must be as `recvmsg` demands.
unsafe fn give(message: &mut msghdr, bytes: &[u8], flags: c_int) -> ssize_t {
    let mut rest = bytes;
    // SAFETY: the caller keeps the rules of recvmsg.
    for buffer in unsafe { buffers(message) } {
        let (part, after) = rest.split_at(rest.len().min(buffer.iov_len));
        // SAFETY: the part fits into the program's buffer, which is not ours.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), buffer.iov_base.cast::<u8>(), part.len()) };
        rest = after;
    }
    message.msg_flags = if rest.is_empty() { 0 } else { libc::MSG_TRUNC };
    // SAFETY: the caller keeps the rules of recvmsg.
    unsafe { name_kernel(message) };
    let given = bytes.len() - if flags & libc::MSG_TRUNC == 0 { rest.len() } else { 0 };
    given as ssize_t
}

/// Names the kernel (port 0) as the sender, without control data. Programs check both.
///
/// # Safety
///
/// `message` must be as `recvmsg` demands.
unsafe fn name_kernel(message: &mut msghdr) {
    message.msg_controllen = 0;
    if message.msg_name.is_null() {
        return;
    }
    // SAFETY: all zeros is a valid address.
    let mut kernel: sockaddr_nl = unsafe { zeroed() };
    kernel.nl_family = libc::AF_NETLINK as u16;
    let length = size_of::<sockaddr_nl>();
    let fits = length.min(message.msg_namelen as usize);
    let (from, to) = ((&raw const kernel).cast::<u8>(), message.msg_name.cast::<u8>());
    // SAFETY: the name's buffer has at least `fits` bytes, by msg_namelen.
    unsafe { ptr::copy_nonoverlapping(from, to, fits) };
    message.msg_namelen = length as socklen_t;
}

/// The buffers of a message.
///
/// # Safety
///
/// `message` must be as `recvmsg` and `sendmsg` demand, and must stay so while the buffers are used.
pub(crate) unsafe fn buffers<'a>(message: &msghdr) -> &'a [iovec] {
    if message.msg_iov.is_null() || message.msg_iovlen == 0 {
        return &[];
    }
    // SAFETY: by the caller's word there are so many of them.
    unsafe { std::slice::from_raw_parts(message.msg_iov, message.msg_iovlen) }
}

/// The first `length` bytes in these buffers, or as many as there are.
///
/// # Safety
///
/// The buffers must hold initialized bytes up to `length`.
pub(crate) unsafe fn gathered(buffers: &[iovec], length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for buffer in buffers {
        let wanted = buffer.iov_len.min(length - bytes.len());
        if wanted > 0 && !buffer.iov_base.is_null() {
            // SAFETY: the buffer has at least so many bytes, by iov_len.
            bytes.extend_from_slice(unsafe {
                std::slice::from_raw_parts(buffer.iov_base.cast::<u8>(), wanted)
            });
        }
    }
    bytes
}
