//! The connection to the daemon, and the questions that need only one answer.

use std::env;
use std::ffi::{c_int, c_void};
use std::mem::{offset_of, size_of, zeroed};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libc::{sockaddr, sockaddr_un, socklen_t};

use crate::message::{self, ERROR, HEADER, OPTION, TEXT, messages, u32_at};
use crate::{real, told};

/// Whether a daemon has answered this process before. Then a daemon that is missing is about to
/// come back.
static MET: AtomicBool = AtomicBool::new(false);
/// How often a missing daemon is looked for.
const AGAIN: Duration = Duration::from_millis(50);
/// Longer than any datagram of the daemon.
const LONGEST: usize = 64 << 10;
/// The longest part of a value that the daemon needs to know what is asked for.
const BEGINNING: usize = 256;

/// How long the daemon may take, as for `vipline`.
pub(crate) fn patience() -> Duration {
    let said = env::var("VIPLINE_TIMEOUT").ok().and_then(|said| said.parse().ok());
    Duration::from_secs(said.filter(|seconds| (1..=3600).contains(seconds)).unwrap_or(10))
}

fn path() -> PathBuf {
    let said = env::var_os("VIPLINE_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    Path::new(&said.unwrap_or_else(|| "/run/vipline".into())).join("ipvs.sock")
}

/// Connects to the daemon. If it has answered before and is missing now, this waits for it, but not
/// if the caller is not `patient`. Returns the descriptor, or the errno.
pub(crate) fn connect(patient: bool) -> Result<c_int, c_int> {
    let path = path();
    let begun = Instant::now();
    loop {
        let error = match dial(&path) {
            Ok(fd) => {
                MET.store(true, Ordering::Relaxed);
                told::well();
                return Ok(fd);
            }
            Err(error) => error,
        };
        let comes = match error {
            libc::ENOENT | libc::ECONNREFUSED => MET.load(Ordering::Relaxed),
            // Its queue is full.
            libc::EAGAIN => true,
            _ => false,
        };
        if !comes || !patient || begun.elapsed() >= patience() {
            told::trouble(&match error {
                libc::EACCES | libc::EPERM => format!("permission denied for {}", path.display()),
                _ => format!("no daemon answers at {}: is viplined running?", path.display()),
            });
            return Err(error);
        }
        thread::sleep(AGAIN);
    }
}

/// Connects at once, or fails.
fn dial(path: &Path) -> Result<c_int, c_int> {
    // SAFETY: all zeros is a valid address.
    let mut addr: sockaddr_un = unsafe { zeroed() };
    addr.sun_family = libc::AF_UNIX as u16;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= addr.sun_path.len() {
        return Err(libc::ENAMETOOLONG);
    }
    for (to, from) in addr.sun_path.iter_mut().zip(bytes) {
        *to = *from as _;
    }
    let length = (offset_of!(sockaddr_un, sun_path) + bytes.len() + 1) as socklen_t;
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call has no conditions.
    let fd = unsafe { real::socket(libc::AF_UNIX, kind, 0) };
    if fd < 0 {
        return Err(real::errno());
    }
    // SAFETY: the address and its length are those of `addr`.
    let connected = unsafe { real::connect(fd, (&raw const addr).cast::<sockaddr>(), length) };
    if connected != 0 {
        let error = real::errno();
        real::shut(fd);
        return Err(error);
    }
    // SAFETY: the command changes only flags.
    unsafe { real::fcntl(fd, libc::F_SETFL, 0) };
    Ok(fd)
}

/// Has reading and writing end after `time`.
pub(crate) fn limit(fd: c_int, time: Duration) {
    let value = libc::timeval { tv_sec: time.as_secs() as _, tv_usec: 0 };
    for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let (at, length) = ((&raw const value).cast::<c_void>(), size_of::<libc::timeval>() as socklen_t);
        // SAFETY: the pointer and the length are those of `value`.
        unsafe { real::setsockopt(fd, libc::SOL_SOCKET, name, at, length) };
    }
}

/// A connection for one question.
struct Once(c_int);

impl Drop for Once {
    fn drop(&mut self) {
        real::shut(self.0);
    }
}

/// Asks the daemon, and gives each message of the answer to `take` until it says that the answer is
/// complete.
fn ask(
    question: &[u8],
    mut take: impl FnMut(&message::Message<'_>) -> Result<bool, c_int>,
) -> Result<(), c_int> {
    let once = Once(connect(true)?);
    limit(once.0, patience());
    let at = question.as_ptr().cast::<c_void>();
    // SAFETY: the pointer and the length are those of `question`.
    let sent = unsafe { real::send(once.0, at, question.len(), libc::MSG_NOSIGNAL) };
    if sent < 0 {
        return Err(libc::EBUSY);
    }
    let mut buffer = vec![0_u8; LONGEST];
    loop {
        let at = buffer.as_mut_ptr().cast::<c_void>();
        // SAFETY: the pointer and the length are those of `buffer`.
        let got = unsafe { real::recv(once.0, at, LONGEST, 0) };
        let Some(got) = usize::try_from(got).ok().filter(|got| *got > 0) else {
            if got < 0 && real::errno() == libc::EINTR {
                continue;
            }
            told::trouble("the daemon does not answer");
            return Err(libc::EBUSY);
        };
        for message in messages(&buffer[..got]) {
            if message.kind == ERROR {
                let error = u32_at(message.bytes, HEADER).map_or(libc::EIO, |error| -(error as i32));
                return Err(if error > 0 { error } else { libc::EIO });
            }
            if take(&message)? {
                return Ok(());
            }
        }
    }
}

/// The text of a file, in a file of memory that is read from its beginning.
pub(crate) fn text(name: &str, close_on_exec: bool) -> Result<c_int, c_int> {
    let flags = if close_on_exec { libc::MFD_CLOEXEC } else { 0 };
    // SAFETY: the name ends with a NUL.
    let fd = unsafe { libc::memfd_create(c"ipvs".as_ptr(), flags) };
    if fd < 0 {
        return Err(real::errno());
    }
    let done = ask(&message::own(TEXT, &[name.as_bytes()]), |message| {
        let mut rest = message.bytes.get(HEADER..).filter(|_| message.kind == TEXT).ok_or(libc::EIO)?;
        let ended = rest.is_empty();
        while !rest.is_empty() {
            // SAFETY: the pointer and the length are those of `rest`.
            let written = unsafe { real::write(fd, rest.as_ptr().cast::<c_void>(), rest.len()) };
            let written = usize::try_from(written).map_err(|_| real::errno())?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(ended)
    });
    if let Err(error) = done {
        real::shut(fd);
        return Err(error);
    }
    // SAFETY: the call has no conditions.
    unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
    Ok(fd)
}

/// `setsockopt` for IPVS.
pub(crate) fn set_option(option: c_int, value: &[u8]) -> Result<(), c_int> {
    let length = (value.len() as u32).to_ne_bytes();
    let question = [&1_u32.to_ne_bytes()[..], &option.to_ne_bytes(), &length, value];
    ask(&message::own(OPTION, &question), |answer| part(answer).map(|_| true))
}

/// `getsockopt` for IPVS. Returns how many bytes of the buffer are the value.
pub(crate) fn get_option(option: c_int, buffer: &mut [u8]) -> Result<usize, c_int> {
    let length = (buffer.len() as u32).to_ne_bytes();
    let beginning = &buffer[..buffer.len().min(BEGINNING)];
    let question = [&0_u32.to_ne_bytes()[..], &option.to_ne_bytes(), &length, beginning];
    let mut value = 0;
    ask(&message::own(OPTION, &question), |answer| {
        let (whole, offset, bytes) = part(answer)?;
        let room = buffer.get_mut(offset..offset + bytes.len()).ok_or(libc::EIO)?;
        room.copy_from_slice(bytes);
        value = whole;
        Ok(offset + bytes.len() >= whole)
    })?;
    Ok(value)
}

/// A part of the answer about an option: the length of the whole value, where the part begins, and
/// the part.
fn part<'a>(answer: &message::Message<'a>) -> Result<(usize, usize, &'a [u8]), c_int> {
    let body = answer.bytes.get(HEADER..).filter(|_| answer.kind == OPTION).unwrap_or_default();
    let number = |at| u32_at(body, at).ok_or(libc::EIO);
    match number(0)? {
        0 => Ok((number(4)? as usize, number(8)? as usize, body.get(12..).unwrap_or_default())),
        errno => Err(errno as c_int),
    }
}
