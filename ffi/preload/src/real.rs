//! The functions that come after this library in the order of the linker: usually the C library's.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{msghdr, size_t, sockaddr, socklen_t, ssize_t};

/// A function, once it has been looked for.
struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The address. There is no program without the C library, so it is never missing for functions
    /// that the library exports.
    fn find(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Acquire);
        if !found.is_null() {
            return found;
        }
        // SAFETY: the name ends with a NUL, and dlsym does not keep it.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            std::process::abort();
        }
        self.found.store(found, Ordering::Release);
        found
    }
}

/// Defines functions that call the next ones of the same name. The argument after a semicolon is
/// optional in C (`...`); here it is always given.
macro_rules! next {
    ($($name:ident($($arg:ident: $type:ty),* $(; $more:ident: $last:ty)?) -> $ret:ty;)*) => {$(
        /// The next function of this name.
        ///
        /// # Safety
        ///
        /// As for the function in C.
        pub(crate) unsafe fn $name($($arg: $type,)* $($more: $last)?) -> $ret {
            static NEXT: Next = Next::new(
                match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => unreachable!(),
                },
            );
            type Function = next!(@type [$($type),*] [$($last)?] $ret);
            // SAFETY: `find` never returns null, and the function with this name has this type.
            let function = unsafe { std::mem::transmute::<*mut c_void, Function>(NEXT.find()) };
            // SAFETY: the caller keeps the rules of the function.
            unsafe { function($($arg,)* $($more)?) }
        }
    )*};
    (@type [$($type:ty),*] [] $ret:ty) => { unsafe extern "C" fn($($type),*) -> $ret };
    (@type [$($type:ty),*] [$last:ty] $ret:ty) => { unsafe extern "C" fn($($type),*, ...) -> $ret };
}

next! {
    socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    bind(fd: c_int, addr: *const sockaddr, length: socklen_t) -> c_int;
    connect(fd: c_int, addr: *const sockaddr, length: socklen_t) -> c_int;
    getsockname(fd: c_int, addr: *mut sockaddr, length: *mut socklen_t) -> c_int;
    getpeername(fd: c_int, addr: *mut sockaddr, length: *mut socklen_t) -> c_int;
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int;
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t) -> c_int;
    send(fd: c_int, bytes: *const c_void, length: size_t, flags: c_int) -> ssize_t;
    sendto(fd: c_int, bytes: *const c_void, length: size_t, flags: c_int, to: *const sockaddr, to_length: socklen_t) -> ssize_t;
    sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t;
    recv(fd: c_int, bytes: *mut c_void, length: size_t, flags: c_int) -> ssize_t;
    recvfrom(fd: c_int, bytes: *mut c_void, length: size_t, flags: c_int, from: *mut sockaddr, from_length: *mut socklen_t) -> ssize_t;
    recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    read(fd: c_int, bytes: *mut c_void, length: size_t) -> ssize_t;
    close(fd: c_int) -> c_int;
    dup(fd: c_int) -> c_int;
    dup2(fd: c_int, to: c_int) -> c_int;
    dup3(fd: c_int, to: c_int, flags: c_int) -> c_int;
    fcntl(fd: c_int, command: c_int; argument: usize) -> c_int;
    fcntl64(fd: c_int, command: c_int; argument: usize) -> c_int;
    open(path: *const c_char, flags: c_int; mode: c_uint) -> c_int;
    open64(path: *const c_char, flags: c_int; mode: c_uint) -> c_int;
    openat(dir: c_int, path: *const c_char, flags: c_int; mode: c_uint) -> c_int;
    openat64(dir: c_int, path: *const c_char, flags: c_int; mode: c_uint) -> c_int;
    fopen(path: *const c_char, mode: *const c_char) -> *mut libc::FILE;
    fopen64(path: *const c_char, mode: *const c_char) -> *mut libc::FILE;
    access(path: *const c_char, mode: c_int) -> c_int;
    faccessat(dir: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int;
    stat(path: *const c_char, out: *mut c_void) -> c_int;
    stat64(path: *const c_char, out: *mut c_void) -> c_int;
    lstat(path: *const c_char, out: *mut c_void) -> c_int;
    lstat64(path: *const c_char, out: *mut c_void) -> c_int;
    fstatat(dir: c_int, path: *const c_char, out: *mut c_void, flags: c_int) -> c_int;
    fstatat64(dir: c_int, path: *const c_char, out: *mut c_void, flags: c_int) -> c_int;
    statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, out: *mut c_void) -> c_int;
    execv(path: *const c_char, args: *const *const c_char) -> c_int;
    execvp(path: *const c_char, args: *const *const c_char) -> c_int;
    execve(path: *const c_char, args: *const *const c_char, environment: *const *const c_char) -> c_int;
}

/// The thread's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: the call has no conditions.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for the calling thread.
    unsafe { *at }
}

/// Sets the thread's `errno`, and returns -1 as the C library does.
pub(crate) fn fail(errno: c_int) -> c_int {
    // SAFETY: the call has no conditions.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for the calling thread.
    unsafe { *at = errno };
    -1
}

/// Closes a descriptor that belongs to this library.
pub(crate) fn shut(fd: c_int) {
    if fd >= 0 {
        // SAFETY: closing a number has no memory effects; the caller owns the descriptor.
        unsafe { close(fd) };
    }
}
