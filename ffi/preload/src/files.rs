//! The functions about files that programs find instead of the C library's.
//!
//! Linux IPVS has files in `/proc/net`. When a program opens one, it gets a file of memory with the
//! daemon's text. The file has the state of that moment. A path must be absolute to be recognised.
//!
//! `modprobe ip_vs` does nothing: the kernel's IPVS must not come into the way of Vipline's.
//!
//! `open` and `openat` are variadic in C; on the processors that `lib.rs` allows, the mode comes in
//! the same register as here. A SAFETY comment that says "the caller's contract" means the rules of
//! the function in C.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use libc::FILE;

use crate::{daemon, real};

/// The files that the daemon has.
const FILES: [&str; 3] = ["ip_vs", "ip_vs_stats", "ip_vs_conn"];
const DIRECTORIES: [&str; 3] = ["/proc/net/", "/proc/self/net/", "/proc/thread-self/net/"];
/// A file of the same kind, whose properties all of them have.
const LIKE: &CStr = c"/proc/net/dev";

/// Which of the daemon's files a path names.
///
/// # Safety
///
/// The path must be null or end with a NUL.
unsafe fn ours(path: *const c_char) -> Option<&'static str> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's contract.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let name = DIRECTORIES.iter().find_map(|directory| path.strip_prefix(directory.as_bytes()))?;
    FILES.into_iter().find(|file| file.as_bytes() == name)
}

fn text(name: &str, flags: c_int) -> c_int {
    if flags & libc::O_ACCMODE != libc::O_RDONLY {
        return real::fail(libc::EACCES);
    }
    daemon::text(name, flags & libc::O_CLOEXEC != 0).unwrap_or_else(|error| real::fail(missing(error)))
}

/// Without a daemon there is no such file.
fn missing(error: c_int) -> c_int {
    match error {
        libc::ECONNREFUSED => libc::ENOENT,
        error => error,
    }
}

/// The path to look at instead of this one. An errno if there is no daemon.
///
/// # Safety
///
/// The path must be null or end with a NUL.
unsafe fn like(path: *const c_char) -> Result<*const c_char, c_int> {
    // SAFETY: the caller's contract.
    if unsafe { ours(path) }.is_none() {
        return Ok(path);
    }
    let connection = daemon::connect(false).map_err(missing)?;
    real::shut(connection);
    Ok(LIKE.as_ptr())
}

/// Functions that open a file. `dir` is the argument before the path.
macro_rules! opening {
    ($($name:ident($($dir:ident)?);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($dir: c_int,)? path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            // SAFETY: the caller's contract.
            match unsafe { ours(path) } {
                Some(name) => text(name, flags),
                // SAFETY: the caller's contract.
                None => unsafe { real::$name($($dir,)? path, flags, mode) },
            }
        }
    )*};
}

opening! {
    open();
    open64();
    openat(dir);
    openat64(dir);
}

// What a program calls that was compiled with checks (`_FORTIFY_SOURCE`). These never make a file.

#[unsafe(no_mangle)]
unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { open(path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { open64(path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { openat(dir, path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { openat64(dir, path, flags, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: the caller's contract.
    match unsafe { ours(path) } {
        // SAFETY: the caller's contract.
        Some(name) => unsafe { stream(name, mode) },
        // SAFETY: the caller's contract.
        None => unsafe { real::fopen(path, mode) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: the caller's contract.
    match unsafe { ours(path) } {
        // SAFETY: the caller's contract.
        Some(name) => unsafe { stream(name, mode) },
        // SAFETY: the caller's contract.
        None => unsafe { real::fopen64(path, mode) },
    }
}

/// A stream of one of the daemon's files.
///
/// # Safety
///
/// The mode must end with a NUL.
unsafe fn stream(name: &str, mode: *const c_char) -> *mut FILE {
    // SAFETY: the caller's contract.
    let words = unsafe { CStr::from_ptr(mode) }.to_bytes();
    let writes = words.first() != Some(&b'r') || words.contains(&b'+');
    let close = if words.contains(&b'e') { libc::O_CLOEXEC } else { 0 };
    let fd = text(name, close | if writes { libc::O_RDWR } else { libc::O_RDONLY });
    if fd < 0 {
        return ptr::null_mut();
    }
    // SAFETY: the descriptor is open for reading, and the stream takes it.
    unsafe { libc::fdopen(fd, mode) }
}

/// Functions that look at a file by its path, with the arguments before and after the path.
macro_rules! looking {
    ($($name:ident([$($before:ident: $early:ty)?], [$($after:ident: $late:ty),*]);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($before: $early,)? path: *const c_char, $($after: $late),*) -> c_int {
            // SAFETY: the caller's contract.
            match unsafe { like(path) } {
                // SAFETY: the caller's contract; the other path ends with a NUL too.
                Ok(path) => unsafe { real::$name($($before,)? path, $($after),*) },
                Err(error) => real::fail(error),
            }
        }
    )*};
}

looking! {
    access([], [mode: c_int]);
    faccessat([dir: c_int], [mode: c_int, flags: c_int]);
    stat([], [out: *mut c_void]);
    stat64([], [out: *mut c_void]);
    lstat([], [out: *mut c_void]);
    lstat64([], [out: *mut c_void]);
    fstatat([dir: c_int], [out: *mut c_void, flags: c_int]);
    fstatat64([dir: c_int], [out: *mut c_void, flags: c_int]);
    statx([dir: c_int], [flags: c_int, mask: c_uint, out: *mut c_void]);
}

/// The program to run instead of this one.
///
/// # Safety
///
/// The pointers must be as `execv` demands.
unsafe fn instead(path: *const c_char, args: *const *const c_char) -> *const c_char {
    if path.is_null() || args.is_null() {
        return path;
    }
    // SAFETY: the caller's contract.
    let program = unsafe { CStr::from_ptr(path) }.to_bytes();
    if !(program == b"modprobe" || program.ends_with(b"/modprobe")) {
        return path;
    }
    let mut at = args;
    loop {
        // SAFETY: the caller's contract: the list ends with a null pointer.
        let arg = unsafe { *at };
        if arg.is_null() {
            return path;
        }
        // SAFETY: the caller's contract.
        if unsafe { CStr::from_ptr(arg) }.to_bytes() == b"ip_vs" {
            return c"/bin/true".as_ptr();
        }
        // SAFETY: this was not the last one.
        at = unsafe { at.add(1) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execv(path: *const c_char, args: *const *const c_char) -> c_int {
    // SAFETY: the caller's contract.
    let path = unsafe { instead(path, args) };
    // SAFETY: the caller's contract.
    unsafe { real::execv(path, args) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execvp(path: *const c_char, args: *const *const c_char) -> c_int {
    // SAFETY: the caller's contract.
    let path = unsafe { instead(path, args) };
    // SAFETY: the caller's contract.
    unsafe { real::execvp(path, args) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn execve(
    path: *const c_char,
    args: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    // SAFETY: the caller's contract.
    let path = unsafe { instead(path, args) };
    // SAFETY: the caller's contract.
    unsafe { real::execve(path, args, environment) }
}
