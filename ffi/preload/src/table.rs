//! Which descriptors of the program are sockets of generic netlink, and what is known of them.
//!
//! A look at a descriptor that is no such socket costs one load. Everything else is behind one
//! lock, which is held for a few instructions and never while anything waits. `fork` takes it, so
//! that a child never finds it taken.

use std::cell::UnsafeCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::real;

/// Descriptors above this are not looked at.
const LIMIT: usize = 65_536;
/// What a descriptor is.
static MARKS: [AtomicU8; LIMIT] = [const { AtomicU8::new(NOTHING) }; LIMIT];
const NOTHING: u8 = 0;
/// A socket of generic netlink.
const NETLINK: u8 = 1;
/// A descriptor of this library.
const OWN: u8 = 2;

/// A socket of generic netlink. Several descriptors may belong to it.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    /// If the descriptors lead to the daemon: the kernel's socket.
    pub(crate) kernel: Option<c_int>,
    /// The connection to the daemon has ended. Reading it only gives its end.
    pub(crate) dead: bool,
    /// The process that made the connection. Another process must not read its answers.
    pub(crate) owner: u32,
    /// The requests that wait for an answer of the daemon.
    pub(crate) pending: VecDeque<Pending>,
    /// Refusals that the program has not read yet.
    pub(crate) refusals: VecDeque<Vec<u8>>,
}

/// A request that waits for an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Vec<u8>,
    /// A part of the answer has come.
    pub(crate) begun: bool,
}

#[derive(Debug)]
struct Table {
    next: u64,
    descriptors: BTreeMap<c_int, u64>,
    sockets: BTreeMap<u64, Socket>,
}

struct Locked(UnsafeCell<Table>);

// SAFETY: `with_table` is the only way to the table, and it takes the lock.
unsafe impl Sync for Locked {}

static TABLE: Locked =
    Locked(UnsafeCell::new(Table { next: 0, descriptors: BTreeMap::new(), sockets: BTreeMap::new() }));
static TAKEN: AtomicBool = AtomicBool::new(false);

extern "C" fn take() {
    while TAKEN.swap(true, Ordering::Acquire) {
        // SAFETY: the call has no conditions.
        unsafe { libc::sched_yield() };
    }
}

extern "C" fn release() {
    TAKEN.store(false, Ordering::Release);
}

fn with_table<T>(work: impl FnOnce(&mut Table) -> T) -> T {
    take();
    // SAFETY: the lock is taken, so there is no other reference. `work` calls nothing that takes it.
    let done = work(unsafe { &mut *TABLE.0.get() });
    release();
    done
}

/// Has `fork` take the lock.
pub(crate) fn begin() {
    // SAFETY: the functions take and release the lock, and stay as long as the library.
    unsafe { libc::pthread_atfork(Some(take), Some(release), Some(release)) };
}

fn mark(fd: c_int) -> Option<&'static AtomicU8> {
    MARKS.get(usize::try_from(fd).ok()?)
}

fn is(fd: c_int, what: u8) -> bool {
    mark(fd).is_some_and(|mark| mark.load(Ordering::Relaxed) == what)
}

/// Whether this is a socket of generic netlink.
pub(crate) fn is_netlink(fd: c_int) -> bool {
    is(fd, NETLINK)
}

/// Whether this descriptor belongs to the library. The program must not close it.
pub(crate) fn is_own(fd: c_int) -> bool {
    is(fd, OWN)
}

/// The program has a new socket of generic netlink.
pub(crate) fn add(fd: c_int) {
    let Some(mark) = mark(fd) else { return };
    forget(fd);
    with_table(|table| {
        table.next += 1;
        table.descriptors.insert(fd, table.next);
        table.sockets.insert(table.next, Socket::default());
    });
    mark.store(NETLINK, Ordering::Relaxed);
}

/// `new` is another descriptor of what `old` is. Whatever `new` was before has been closed.
pub(crate) fn copied(old: c_int, new: c_int) {
    if old == new {
        return;
    }
    forget(new);
    let Some(mark) = mark(new).filter(|_| is_netlink(old)) else { return };
    with_table(|table| {
        if let Some(socket) = table.descriptors.get(&old).copied() {
            table.descriptors.insert(new, socket);
        }
    });
    mark.store(NETLINK, Ordering::Relaxed);
}

/// The descriptor is closed, or is something else now. The last descriptor of a socket takes the
/// kernel's socket with it.
pub(crate) fn forget(fd: c_int) {
    let Some(mark) = mark(fd).filter(|mark| mark.load(Ordering::Relaxed) != NOTHING) else { return };
    mark.store(NOTHING, Ordering::Relaxed);
    let kernel = with_table(|table| {
        let socket = table.descriptors.remove(&fd)?;
        if table.descriptors.values().any(|other| *other == socket) {
            return None;
        }
        table.sockets.remove(&socket)?.kernel
    });
    if let Some(kernel) = kernel {
        disown(kernel);
        real::shut(kernel);
    }
}

/// Marks a descriptor as the library's.
pub(crate) fn own(fd: c_int) {
    if let Some(mark) = mark(fd) {
        mark.store(OWN, Ordering::Relaxed);
    }
}

/// The descriptor does not belong to the library any more.
pub(crate) fn disown(fd: c_int) {
    if let Some(mark) = mark(fd).filter(|mark| mark.load(Ordering::Relaxed) == OWN) {
        mark.store(NOTHING, Ordering::Relaxed);
    }
}

/// Looks at a socket, or changes it. `None` if the descriptor is no socket of generic netlink.
pub(crate) fn with<T>(fd: c_int, work: impl FnOnce(&mut Socket) -> T) -> Option<T> {
    with_table(|table| {
        let socket = table.descriptors.get(&fd)?;
        table.sockets.get_mut(socket).map(work)
    })
}

/// The kernel's socket, if the descriptor leads to the daemon.
pub(crate) fn kernel_of(fd: c_int) -> Option<c_int> {
    with(fd, |socket| socket.kernel)?
}

/// All descriptors of the same socket.
pub(crate) fn siblings(fd: c_int) -> Vec<c_int> {
    with_table(|table| {
        let Some(wanted) = table.descriptors.get(&fd) else { return Vec::new() };
        table.descriptors.iter().filter(|(_, socket)| *socket == wanted).map(|(fd, _)| *fd).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The numbers are far above those of the test's own files.
    #[test]
    fn a_copy_is_the_same_socket_until_the_last_is_closed() {
        add(60_001);
        copied(60_001, 60_002);
        with(60_001, |socket| socket.dead = true);
        assert_eq!(with(60_002, |socket| socket.dead), Some(true));
        assert_eq!(siblings(60_002), [60_001, 60_002]);
        forget(60_001);
        assert!(!is_netlink(60_001) && is_netlink(60_002));
        assert_eq!(with(60_002, |socket| socket.dead), Some(true));
        forget(60_002);
        assert_eq!(with(60_002, |_| ()), None);
        // The number is used again.
        add(60_002);
        assert_eq!(with(60_002, |socket| socket.dead), Some(false));
        copied(60_003, 60_002);
        assert!(!is_netlink(60_002));
    }

    #[test]
    fn own_descriptors_are_known_until_they_are_given_up() {
        own(60_010);
        assert!(is_own(60_010) && !is_netlink(60_010));
        disown(60_010);
        assert!(!is_own(60_010));
        assert!(!is_own(-1) && !is_netlink(c_int::MAX));
    }
}
