//! The runtime directory: who owns it, and what is in it.
//!
//! The lock is on the directory itself. So there is never a second owner, whatever is deleted in
//! the directory. The directory must belong to the user that the daemon runs as, and nobody else
//! may write to it. Everything that is put into it is made in another place and then moved, so that
//! a link which lies in its place is never followed.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::geteuid;

/// The runtime directory, unless the daemon and the tools are told another.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/vipline";

/// The control socket's name in the runtime directory.
pub const SOCKET: &str = "control.sock";

/// The name of the file with the daemon's process id.
pub const PID_FILE: &str = "viplined.pid";

/// The longest path of a socket (`unix(7)`, without the final NUL).
const LONGEST_SOCKET: usize = 107;

/// How long a daemon that was killed may keep the lock: the kernel frees its tables first.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What a connection to a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// Datagrams, whole and in order (`SOCK_SEQPACKET`).
    Datagrams,
    /// A stream of bytes (`SOCK_STREAM`).
    Stream,
}

/// A runtime directory that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    /// The directory, which is open and locked.
    dir: File,
}

/// Why a runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// Another daemon has it.
    #[error("A viplined already runs in {} (process {pid}): stop it, or choose another --runtime-dir", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
        /// The process id that the file contains; `?` if it contains none.
        pid: String,
    },
    /// The directory cannot be made or looked at.
    #[error("Cannot use runtime directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a directory that only this user can write to.
    #[error("Cannot use runtime directory {}: {why}; mend that, or choose another --runtime-dir", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The paths of its sockets would be longer than the kernel accepts.
    #[error(
        "Cannot use runtime directory {}: the path of its socket has {length} bytes and the most is {LONGEST_SOCKET}; \
         choose a shorter --runtime-dir",
        path.display()
    )]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// The length of the socket's path.
        length: usize,
    },
}

impl RuntimeDir {
    /// Makes the directory if need be, and locks it for this process. Waits up to [`PATIENCE`]
    /// until a daemon that was killed lets go of it.
    pub fn claim(path: &Path) -> Result<Self, RuntimeDirError> {
        Self::claim_within(path, PATIENCE)
    }

    /// The same, but waits as long as `patience` says.
    pub fn claim_within(path: &Path, patience: Duration) -> Result<Self, RuntimeDirError> {
        let io = |source| RuntimeDirError::Io { path: path.to_owned(), source };
        let length = path.join(SOCKET).as_os_str().len();
        if length > LONGEST_SOCKET {
            return Err(RuntimeDirError::TooLong { path: path.to_owned(), length });
        }
        let deadline = Instant::now() + patience;
        loop {
            // Others cannot read the directory, since whoever can open it can lock it. Only
            // somebody else may have made it readable.
            DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(io)?;
            let dir = open(path)?;
            match dir.try_lock() {
                // The directory may have been deleted and made again meanwhile. Then the lock is on
                // the deleted one.
                Ok(()) if is_at(&dir, path) => {
                    let dir = Self { path: path.to_owned(), dir };
                    dir.write_pid().map_err(io)?;
                    return Ok(dir);
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
            }
            if Instant::now() >= deadline {
                return Err(RuntimeDirError::Taken { path: path.to_owned(), pid: pid(path) });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory is still where it was.
    pub fn is_there(&self) -> bool {
        is_at(&self.dir, &self.path)
    }

    /// Writes the file with this process's id into the directory. It replaces whatever has that
    /// name.
    pub fn write_pid(&self) -> io::Result<()> {
        self.aside(|aside| {
            let made = aside.join("pid");
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&made)?;
            writeln!(file, "{}", std::process::id())?;
            fs::rename(made, self.path.join(PID_FILE))
        })
    }

    /// Listens on a Unix socket of this name. From its first moment only the owner may open it: it is
    /// made in a directory that nobody else may enter, and then moved here. It replaces the socket
    /// of a dead daemon.
    pub fn listen(&self, name: &str, kind: SocketKind) -> io::Result<UnixListener> {
        self.aside(|aside| {
            let made = aside.join("s");
            let kind = match kind {
                SocketKind::Datagrams => SockType::SeqPacket,
                SocketKind::Stream => SockType::Stream,
            };
            let listener = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
            bind(listener.as_raw_fd(), &UnixAddr::new(&made)?)?;
            listen(&listener, Backlog::MAXCONN)?;
            fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            fs::rename(&made, self.path.join(name))?;
            Ok(listener.into())
        })
    }

    /// Calls `make` with a directory of its own, which is removed afterwards.
    fn aside<T>(&self, make: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let aside = self.path.join(format!(".{}", std::process::id()));
        let _ = fs::remove_dir_all(&aside);
        DirBuilder::new().mode(0o700).create(&aside)?;
        let made = make(&aside);
        let _ = fs::remove_dir_all(&aside);
        made
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // The file need not go: the lock ends with the directory's descriptor, whatever the file
        // says.
        if self.is_there() && pid(&self.path) == std::process::id().to_string() {
            let _ = fs::remove_file(self.path.join(PID_FILE));
        }
    }
}

/// Opens a directory that only this user can write to.
fn open(path: &Path) -> Result<File, RuntimeDirError> {
    let wrong = |why: String| RuntimeDirError::Unsafe { path: path.to_owned(), why };
    let io = |source| RuntimeDirError::Io { path: path.to_owned(), source };
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let found = fs::symlink_metadata(path).map_err(io)?;
    if found.is_symlink() {
        return Err(wrong("it is a symbolic link".into()));
    }
    let dir = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let found = dir.metadata().map_err(io)?;
    let user = geteuid().as_raw();
    if found.uid() != user {
        return Err(wrong(format!("it belongs to user {}, not to user {user}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(wrong(format!("others may write to it (mode {:o})", found.mode() & 0o7777)));
    }
    // Whoever can open the directory can lock it, and so keep the daemon out.
    if found.mode() & 0o044 != 0 {
        dir.set_permissions(Permissions::from_mode(found.mode() & 0o7733)).map_err(io)?;
    }
    Ok(dir)
}

/// Whether the path leads to this open file.
fn is_at(open: &File, path: &Path) -> bool {
    let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((open.metadata(), fs::symlink_metadata(path)), (Ok(a), Ok(b)) if same(&a, &b))
}

/// The process id that the file in a directory names; `?` if there is none.
fn pid(path: &Path) -> String {
    let mut options = OpenOptions::new();
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = options.read(true).custom_flags(flags).open(path.join(PID_FILE));
    let text = file.and_then(io::read_to_string).unwrap_or_default();
    text.trim().parse::<u32>().map_or_else(|_| "?".to_owned(), |pid| pid.to_string())
}
