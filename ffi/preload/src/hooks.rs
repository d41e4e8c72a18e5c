//! The functions about sockets and descriptors that programs find instead of the C library's.
//!
//! Each has the C library's contract: whoever calls it keeps the rules of the function in C. A
//! SAFETY comment that says "the caller's contract" means these rules. `fcntl` is variadic in C; on
//! the processors that `lib.rs` allows, its argument comes in the same register as here.

use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr;

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use crate::conversation::{buffers, gathered, receive, send as converse};
use crate::table::{self, is_netlink, is_own, kernel_of};
use crate::{daemon, real, told};

/// The options of IPVS, `IP_VS_SO_*`, at level 0.
const OPTIONS: std::ops::RangeInclusive<c_int> = 1152..=1167;
/// The longest value of an option: more than a hundred thousand services.
const LONGEST_OPTION: usize = 16 << 20;

extern "C" fn start() {
    told::begin();
    table::begin();
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

/// The kernel's socket behind a descriptor of the program, which may lead to the daemon.
fn kernel(fd: c_int) -> c_int {
    if is_netlink(fd) { kernel_of(fd).unwrap_or(fd) } else { fd }
}

/// A new descriptor of the program. Its number may have been another one's, which was closed in a
/// way that this library does not see.
fn fresh(fd: c_int) -> c_int {
    if is_netlink(fd) || is_own(fd) {
        table::disown(fd);
        table::forget(fd);
    }
    fd
}

#[unsafe(no_mangle)]
unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let fd = fresh(unsafe { real::socket(domain, kind, protocol) });
    if fd >= 0 && domain == libc::AF_NETLINK && protocol == libc::NETLINK_GENERIC {
        table::add(fd);
    }
    fd
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bind(fd: c_int, addr: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { real::bind(kernel(fd), addr, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn connect(fd: c_int, addr: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { real::connect(kernel(fd), addr, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getsockname(fd: c_int, addr: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { real::getsockname(kernel(fd), addr, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getpeername(fd: c_int, addr: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { real::getpeername(kernel(fd), addr, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    if level != libc::IPPROTO_IP || !OPTIONS.contains(&name) || value.is_null() || length.is_null() {
        // SAFETY: the caller's contract.
        return unsafe { real::getsockopt(kernel(fd), level, name, value, length) };
    }
    // SAFETY: the caller's contract: the pointer is valid.
    let room = unsafe { *length } as usize;
    if room > LONGEST_OPTION {
        return real::fail(libc::EINVAL);
    }
    // SAFETY: the caller's contract: the buffer has so many bytes.
    let buffer = unsafe { std::slice::from_raw_parts_mut(value.cast::<u8>(), room) };
    match daemon::get_option(name, buffer) {
        Ok(used) => {
            // SAFETY: as above.
            unsafe { *length = used as socklen_t };
            0
        }
        Err(error) => real::fail(option_error(error)),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    if level == libc::IPPROTO_IP && OPTIONS.contains(&name) {
        let length = length as usize;
        if length > LONGEST_OPTION {
            return real::fail(libc::EINVAL);
        }
        let value = match value.is_null() {
            true => &[][..],
            // SAFETY: the caller's contract: the value has so many bytes.
            false => unsafe { std::slice::from_raw_parts(value.cast::<u8>(), length) },
        };
        return daemon::set_option(name, value).map_or_else(|error| real::fail(option_error(error)), |()| 0);
    }
    let kernel = kernel(fd);
    if kernel != fd && level == libc::SOL_SOCKET {
        // SAFETY: the caller's contract.
        unsafe { real::setsockopt(fd, level, name, value, length) };
    }
    // SAFETY: the caller's contract.
    unsafe { real::setsockopt(kernel, level, name, value, length) }
}

/// Without a daemon there are no such options.
fn option_error(error: c_int) -> c_int {
    match error {
        libc::ECONNREFUSED | libc::ENOENT => libc::ENOPROTOOPT,
        libc::EACCES => libc::EPERM,
        error => error,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    if !is_netlink(fd) || message.is_null() {
        // SAFETY: the caller's contract.
        return unsafe { real::sendmsg(fd, message, flags) };
    }
    // SAFETY: the caller's contract.
    let whole = unsafe { &*message };
    // SAFETY: the caller's contract.
    let buffers = unsafe { buffers(whole) };
    // SAFETY: the caller's contract.
    let datagram = unsafe { gathered(buffers, buffers.iter().map(|buffer| buffer.iov_len).sum()) };
    // SAFETY: the caller's contract; the other descriptor is a socket of the same family.
    converse(fd, &datagram, flags, |fd| unsafe { real::sendmsg(fd, message, flags) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    fd: c_int,
    bytes: *const c_void,
    length: size_t,
    flags: c_int,
    to: *const sockaddr,
    to_length: socklen_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let plain = |fd| unsafe { real::sendto(fd, bytes, length, flags, to, to_length) };
    // SAFETY: the caller's contract.
    unsafe { sends(fd, bytes, length, flags, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(fd: c_int, bytes: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let plain = |fd| unsafe { real::send(fd, bytes, length, flags) };
    // SAFETY: the caller's contract.
    unsafe { sends(fd, bytes, length, flags, plain) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: the caller's contract.
    let plain = |fd| unsafe { real::write(fd, bytes, length) };
    // SAFETY: the caller's contract.
    unsafe { sends(fd, bytes, length, 0, plain) }
}

/// Sends one buffer.
///
/// # Safety
///
/// `bytes` must point to `length` bytes.
unsafe fn sends(
    fd: c_int,
    bytes: *const c_void,
    length: size_t,
    flags: c_int,
    plain: impl FnOnce(c_int) -> ssize_t,
) -> ssize_t {
    if !is_netlink(fd) || bytes.is_null() {
        return plain(fd);
    }
    // SAFETY: the caller's contract.
    converse(fd, unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) }, flags, plain)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    if !is_netlink(fd) || message.is_null() {
        // SAFETY: the caller's contract.
        return unsafe { real::recvmsg(fd, message, flags) };
    }
    // SAFETY: the caller's contract: nobody else uses the structure meanwhile.
    let message = unsafe { &mut *message };
    // SAFETY: the caller's contract.
    unsafe { receive(fd, message, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvfrom(
    fd: c_int,
    bytes: *mut c_void,
    length: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_length: *mut socklen_t,
) -> ssize_t {
    if !is_netlink(fd) {
        // SAFETY: the caller's contract.
        return unsafe { real::recvfrom(fd, bytes, length, flags, from, from_length) };
    }
    // SAFETY: the caller's contract.
    unsafe { receives(fd, bytes, length, flags, from, from_length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(fd: c_int, bytes: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    if !is_netlink(fd) {
        // SAFETY: the caller's contract.
        return unsafe { real::recv(fd, bytes, length, flags) };
    }
    // SAFETY: the caller's contract.
    unsafe { receives(fd, bytes, length, flags, ptr::null_mut(), ptr::null_mut()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, bytes: *mut c_void, length: size_t) -> ssize_t {
    if !is_netlink(fd) {
        // SAFETY: the caller's contract.
        return unsafe { real::read(fd, bytes, length) };
    }
    // SAFETY: the caller's contract.
    unsafe { receives(fd, bytes, length, 0, ptr::null_mut(), ptr::null_mut()) }
}

/// Receives into one buffer.
///
/// # Safety
///
/// The pointers must be as `recvfrom` demands.
unsafe fn receives(
    fd: c_int,
    bytes: *mut c_void,
    length: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_length: *mut socklen_t,
) -> ssize_t {
    let mut buffer = iovec { iov_base: bytes, iov_len: length };
    // SAFETY: all zeros is a message without anything.
    let mut message: msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut buffer, 1);
    if !from.is_null() && !from_length.is_null() {
        message.msg_name = from.cast::<c_void>();
        // SAFETY: the caller's contract.
        message.msg_namelen = unsafe { *from_length };
    }
    // SAFETY: the message is made of the caller's pointers.
    let got = unsafe { receive(fd, &mut message, flags) };
    if got >= 0 && !message.msg_name.is_null() {
        // SAFETY: the caller's contract.
        unsafe { *from_length = message.msg_namelen };
    }
    got
}

// What a program calls that was compiled with checks of buffers (`_FORTIFY_SOURCE`).

#[unsafe(no_mangle)]
unsafe extern "C" fn __recv_chk(
    fd: c_int,
    bytes: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    check(length, room);
    // SAFETY: the caller's contract.
    unsafe { recv(fd, bytes, length, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    bytes: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_length: *mut socklen_t,
) -> ssize_t {
    check(length, room);
    // SAFETY: the caller's contract.
    unsafe { recvfrom(fd, bytes, length, flags, from, from_length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __read_chk(fd: c_int, bytes: *mut c_void, length: size_t, room: size_t) -> ssize_t {
    check(length, room);
    // SAFETY: the caller's contract.
    unsafe { read(fd, bytes, length) }
}

/// Ends the program, as the C library does, if a buffer would overflow.
fn check(length: size_t, room: size_t) {
    if length > room {
        std::process::abort();
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    // Programs that close every number they do not know must not close the library's.
    if is_own(fd) {
        return real::fail(libc::EBADF);
    }
    if is_netlink(fd) {
        table::forget(fd);
    }
    // SAFETY: the caller's contract.
    unsafe { real::close(fd) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: the caller's contract.
    copied(fd, unsafe { real::dup(fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(fd: c_int, to: c_int) -> c_int {
    // SAFETY: the caller's contract.
    copied(fd, unsafe { real::dup2(fd, to) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: the caller's contract.
    copied(fd, unsafe { real::dup3(fd, to, flags) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's contract.
    controlled(fd, command, unsafe { real::fcntl(fd, command, argument) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's contract.
    controlled(fd, command, unsafe { real::fcntl64(fd, command, argument) })
}

fn controlled(fd: c_int, command: c_int, done: c_int) -> c_int {
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) { copied(fd, done) } else { done }
}

fn copied(fd: c_int, new: c_int) -> c_int {
    if new >= 0 && new != fd {
        table::copied(fd, fresh(new));
    }
    new
}
